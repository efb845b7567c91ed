/* How sessions are spread over servers. */
#include <stdlib.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { LOADED = 600, HELD = 20, WORKERS = 2 };

BED_SUITE(balance, 60);

static long connects(const char *status, unsigned server)
{
    return (long)json_number(status, bed_format("servers.%u.connects", server));
}

Test(balance, round_robin_follows_weights)
{
    struct origin origins[3] = {origin_start("auto"), origin_start("auto"), origin_start("auto")};

    penstock_start(&(struct penstock_config){
        .servers =
            bed_format("{ address: \"127.0.0.1:%u\", weight: 3 }, { address: \"127.0.0.1:%u\", weight: 2 }, "
                       "127.0.0.1:%u",
                       origins[0].port, origins[1].port, origins[2].port)});
    load_run(bed_format("connect --count %d --connections 8", LOADED));
    const char *status = penstock_status();
    cr_assert_eq(connects(status, 0) + connects(status, 1) + connects(status, 2), LOADED);
    /* Each worker goes round by itself and stops anywhere. */
    cr_assert(labs(connects(status, 0) - LOADED / 2) <= 2 * WORKERS, "%s", status);
    cr_assert(labs(connects(status, 1) - LOADED / 3) <= 2 * WORKERS, "%s", status);
    bed_end();
}

Test(balance, backup_waits_for_need)
{
    struct origin first = origin_start("auto");
    struct origin backup = origin_start("auto");

    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, { address: \"127.0.0.1:%u\", backup: true }", first.port,
                              backup.port)});
    load_run("connect --count 100 --connections 4");
    const char *status = penstock_status();
    cr_assert_eq(connects(status, 0), 100);
    cr_assert_eq(connects(status, 1), 0);
    origin_stop(&first);
    load_run("connect --count 100 --connections 4");
    status = penstock_status();
    cr_assert_eq(connects(status, 0), 100);
    cr_assert_eq(connects(status, 1), 100);
    cr_assert_eq(json_number(status, "servers.0.failures"), 100);
    bed_end();
}

static void open_sessions(int listeners[2], struct net_pair *pairs, unsigned counts[2])
{
    for (int i = 0; i < HELD; i++) {
        pairs[i].client = net_connect(bed.port);
        WAIT_UNTIL(net_has_connection(listeners[0]) || net_has_connection(listeners[1]));
        int which = net_has_connection(listeners[0]) ? 0 : 1;
        pairs[i].server = net_accept(listeners[which]);
        counts[which]++;
    }
}

Test(balance, least_sessions_fills_up_the_emptier)
{
    uint16_t ports[2];
    int listeners[2] = {net_listen(&ports[0], 64), net_listen(&ports[1], 64)};
    struct net_pair held[HELD];
    struct net_pair more[HELD];
    unsigned counts[2] = {0};

    penstock_start(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u", ports[0], ports[1]),
                                  .pool = "balance: least_sessions"});
    open_sessions(listeners, held, counts);
    cr_assert_eq(counts[0], HELD / 2);
    /* All of one server end: the next as many are all its own. */
    const char *status = penstock_status();
    cr_assert_eq(json_number(status, "servers.0.sessions"), HELD / 2);
    uint16_t emptied = ports[0];
    for (int i = 0; i < HELD; i++) {
        if (net_local_port(held[i].server) == emptied) {
            close(held[i].client);
            close(held[i].server);
        }
    }
    WAIT_UNTIL(penstock_number("servers.0.sessions") == 0);
    counts[0] = counts[1] = 0;
    open_sessions(listeners, more, counts);
    cr_assert_eq(counts[0], HELD / 2 + HELD / 4, "10 to draw level, then in turn: %u and %u", counts[0],
                 counts[1]);
    bed_end();
}
