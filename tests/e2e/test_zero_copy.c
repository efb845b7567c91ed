/* zero_copy: every byte arrives, in its place, whatever comes while the kernel reads the buffers. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum {
    BULK_BYTES = 32 << 20,
    KILLS = 30,
};

BED_SUITE(zero_copy, 120);

static int listener;

static void start(const char *servers, unsigned workers)
{
    penstock_start(&(struct penstock_config){
        .servers = servers,
        .workers = workers,
        .listener = "zero_copy: true",
        .pool = "zero_copy: true",
    });
    if (strstr(penstock_log(), "feature=io_uring_zero_copy have=no") != NULL) {
        cr_assert(strstr(penstock_log(), "event=zero_copy_off") != NULL);
        cr_skip_test("this kernel has no zero-copy sends that report");
    }
}

static struct net_pair begin_pair(void)
{
    uint16_t port;

    listener = net_listen(&port, 64);
    start(bed_format("127.0.0.1:%u", port), 1);
    return net_pair(listener);
}

static void expect_zero_copy(void)
{
    uint64_t copied = penstock_number("stats.zero_copy_copied");
    uint64_t sends = penstock_number("stats.zero_copy_sends"); /* afterwards: both grow */

    cr_assert_gt(sends, 0);
    cr_assert_leq(copied, sends);
}

Test(zero_copy, bulk_both_ways)
{
    struct net_pair pair = begin_pair();
    uint64_t idle_lent = penstock_number("buffer_lent_bytes");

    net_stream_both_ways(&pair, BULK_BYTES);
    expect_zero_copy();
    cr_assert_eq(penstock_number("stats.spliced_bytes"), 0);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == idle_lent);
    penstock_end_session(&pair);
}

Test(zero_copy, small_messages_are_copied)
{
    struct net_pair pair = begin_pair();

    for (int i = 0; i < 100; i++) {
        net_exchange(&pair);
    }
    cr_assert_eq(penstock_number("stats.zero_copy_sends"), 0);
    penstock_end_session(&pair);
}

/* The other direction streams as ever. */
Test(zero_copy, of_a_listener_alone_is_one_way)
{
    listener = penstock_start_to_test(&(struct penstock_config){.workers = 1, .listener = "zero_copy: true"});
    struct net_pair pair = net_pair(listener);
    net_stream(pair.client, pair.server, 1, BULK_BYTES);
    cr_assert_eq(penstock_number("stats.zero_copy_sends"), 0);
    cr_assert_gt(penstock_number("stats.spliced_bytes"), 0);
    penstock_end_session(&pair);
}

/* A session keeps what was configured when it came. */
Test(zero_copy, follows_a_reload)
{
    uint16_t port;

    listener = net_listen(&port, 64);
    const char *servers = bed_format("127.0.0.1:%u", port);
    start(servers, 1);
    struct net_pair first = net_pair(listener);
    penstock_reload_with(&(struct penstock_config){.servers = servers, .workers = 1});
    struct net_pair second = net_pair(listener);
    net_stream(second.server, second.client, 1, BULK_BYTES);
    cr_assert_eq(penstock_number("stats.zero_copy_sends"), 0);
    net_stream(first.server, first.client, 2, BULK_BYTES);
    expect_zero_copy();
    bed_end();
}

/* A reader that stands still: its session is stopped all the same, and the buffers come back. */
Test(zero_copy, of_one_who_reads_nothing_can_be_stopped)
{
    struct net_pair pair = begin_pair();
    pid_t writer = net_write_behind(pair.server, 3, BULK_BYTES);

    WAIT_UNTIL(penstock_number("stats.zero_copy_sends") > 0);
    bed_pause_ms(100); /* until nothing moves any more */
    cr_assert_eq(kill(writer, SIGKILL), 0);
    bed_wait(writer);
    cr_assert_eq(penstock_number("sessions"), 1);
    cr_assert_eq(penstock_stop(SIGINT), 0);
    net_expect_reset(pair.server);
    bed_end();
}

Test(zero_copy, of_one_who_reads_nothing_times_out)
{
    listener = penstock_start_to_test(&(struct penstock_config){
        .workers = 1,
        .listener = "zero_copy: true",
        .timeouts = "idle: 1s",
    });
    struct net_pair pair = net_pair(listener);
    uint64_t idle_lent = penstock_number("buffer_lent_bytes");
    pid_t writer = net_write_behind(pair.server, 3, BULK_BYTES);

    WAIT_UNTIL(penstock_number("closes.idle_timeout") == 1);
    cr_assert_neq(bed_wait(writer), 0);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == idle_lent);
    close(pair.client);
    bed_end();
}

Test(zero_copy, many_paces_at_once)
{
    struct origin origin = origin_start("auto");

    start(bed_format("127.0.0.1:%u", origin.port), 1);
    struct bed_process load =
        load_start("streams --connections 120 --seconds 4 --max-bytes 8M --slow-readers 60 "
                   "--slow-origin 30 --early-fin 20 --late-fin 20");
    (void)loads_expect(&load, 1);
    expect_zero_copy();
    bed_end();
}

/* --- Deaths ----------------------------------------------------------------------------------------------- */

Test(zero_copy, workers_die_in_the_middle)
{
    struct origin origin = origin_start("auto");
    struct killer killer;

    start(bed_format("127.0.0.1:%u", origin.port), 2);
    killer_begin(&killer, 2);
    struct bed_process load =
        load_start("streams --connections 16 --seconds 4 --max-bytes 64M --slow-readers 20 --slow-origin 20");
    killer_run(&killer, KILLS, 30, 120, 0);
    (void)loads_expect(&load, 1);
    expect_zero_copy();
    killer_expect_all_back(&killer);
    bed_end();
}

/* What the peer has not acknowledged stays as it is while its worker dies, over and over. */
Test(zero_copy, a_worker_dies_while_the_reader_stands_still)
{
    struct net_pair pair = begin_pair();

    killer_stop_reading(&pair, BULK_BYTES);
    expect_zero_copy();
    cr_assert_eq(penstock_number("server_bytes"), BULK_BYTES);
    penstock_end_session(&pair);
}
