#include "tests/e2e/harness_reloader.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_penstock.h"

enum { PERIOD = 10, PAUSE_MS = 20 };

/* What the file says in turn `turn`. Workers and listeners change once a period: a socket takes a moment to close. */
static const char *write_turn(const struct reloader *reloader, unsigned turn)
{
    static const unsigned workers[] = {1, 4, 2};
    static const char *const limits[] = {"sessions: 2000, buffers: 64MiB", "sessions: 3000, buffers: 32MiB"};
    unsigned period = turn / PERIOD;

    return penstock_configure(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", reloader->server_port),
        .bind = period % 2 == 0 ? bed_format("127.0.0.1:%u", bed.port)
                                : bed_format("127.0.0.1:%u, 127.0.0.1:%u", bed.port, reloader->spare_port),
        .limits = limits[turn / 2 % 2],
        .timeouts = bed_format("connect: %us", 5 + turn / 3 % 2),
        .workers = workers[period % 3]});
}

void reloader_begin(struct reloader *reloader, uint16_t server_port)
{
    *reloader = (struct reloader){.server_port = server_port, .spare_port = bed_reserve_port("127.0.0.1")};
    penstock_start_to(server_port);
}

static void refuse_broken(struct reloader *reloader, const char *path)
{
    bed_write_file(path, "name: [");
    cr_assert_neq(penstock_reload(), 0);
    reloader->refused++;
}

void reloader_run(struct reloader *reloader, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned turn = reloader->reloads;
        size_t mark = bed_mark();
        const char *path = write_turn(reloader, turn);
        if (turn % PERIOD == 0) { /* refused while sockets of the period before are being closed */
            WAIT_UNTIL(penstock_reload() == 0);
        } else {
            cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
        }
        reloader->reloads++;
        if (turn % PERIOD == PERIOD / 2) {
            refuse_broken(reloader, path);
        }
        bed_release(mark);
        bed_pause_ms(PAUSE_MS);
    }
}
