/*
 * Many long streams with slow readers for minutes, without and with deaths; streams of a gigabyte.
 */
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { GIGABYTE = 1 << 30 };

BED_SUITE(long_streams, 600);

static void run_many(unsigned kill_min_ms, unsigned kill_max_ms)
{
    struct origin origin = origin_start("auto");
    struct killer killer;

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port),
                                             .limits = "sessions: 2000, buffers: 256MiB"});
    killer_begin(&killer, 2);
    struct bed_process load = load_start("streams --connections 500 --seconds 60 --finish-seconds 300 "
                                         "--max-bytes 100M --slow-readers 20 --slow-origin 10");
    if (kill_max_ms > 0) {
        killer_run(&killer, 0, kill_min_ms, kill_max_ms, load.pid);
        cr_assert_gt(killer.kills, 100);
    }
    struct load_totals totals = loads_expect(&load, 1);
    killer_expect_all_back(&killer);
    origin_expect_unharmed(&origin, totals.bytes_up);
    bed_end();
}

Test(long_streams, five_hundred_of_up_to_100_megabytes)
{
    run_many(0, 0);
}

Test(long_streams, five_hundred_under_kills)
{
    run_many(100, 300);
}

/* Both ways at once, each byte compared. With kills where `killer` is given. */
static void run_gigabyte(struct net_pair pair, struct killer *killer)
{
    pid_t others[] = {
        net_write_behind(pair.client, 1, GIGABYTE),
        net_write_behind(pair.server, 2, GIGABYTE),
        net_read_behind(pair.client, 2, GIGABYTE),
        net_read_behind(pair.server, 1, GIGABYTE),
    };

    if (killer != NULL) {
        killer_run(killer, 0, 20, 200, others[3]);
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(bed_wait(others[i]), 0, "process %d of two writers and two readers", i);
    }
    net_end(&pair);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("client_bytes"), GIGABYTE);
    cr_assert_eq(penstock_number("server_bytes"), GIGABYTE);
    bed_end();
}

Test(long_streams, gigabyte_each_way)
{
    int listener = penstock_start_to_test(NULL);

    run_gigabyte(net_pair(listener), NULL);
}

Test(long_streams, gigabyte_each_way_under_kills)
{
    struct killer killer;
    int listener = penstock_start_to_test(NULL);

    killer_begin(&killer, 2);
    run_gigabyte(net_pair(listener), &killer);
}

Test(long_streams, gigabytes_through_unix_sockets)
{
    struct origin origin;
    const char *server = bed_format("unix:%s/server.sock", bed.dir);
    const char *client = bed_format("unix:%s/client.sock", bed.dir);

    origin = origin_start_at("auto", server);
    penstock_start(&(struct penstock_config){.servers = bed_format("\"%s\"", server),
                                             .bind = bed_format("\"%s\"", client)});
    struct bed_process load =
        load_start(bed_format("streams --connect %s --connections 50 --count 400 --max-bytes 100M", client));
    (void)loads_expect(&load, 1);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
}
