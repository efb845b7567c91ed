/* Sessions that are given up for their silence. */
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

BED_SUITE(timeouts, 60);

static struct net_pair begin_pair(const char *timeouts)
{
    int listener = penstock_start_to_test(&(struct penstock_config){.timeouts = timeouts});
    struct net_pair pair = net_pair(listener);

    net_pass(pair.client, pair.server, "hello");
    return pair;
}

static void expect_end(const char *reason)
{
    WAIT_UNTIL(strstr(penstock_access_log(), bed_format(" 5 0 %s ", reason)) != NULL);
    penstock_expect_end(reason);
}

Test(timeouts, idle)
{
    struct net_pair pair = begin_pair("idle: 200ms");

    net_expect_eof(pair.client);
    net_expect_eof(pair.server);
    expect_end("idle_timeout");
}

Test(timeouts, half_closed_by_the_client)
{
    struct net_pair pair = begin_pair("half_closed: 200ms");

    net_half_close(pair.client);
    net_expect_eof(pair.server);
    net_expect_eof(pair.client); /* not of the server's doing */
    expect_end("half_closed_timeout");
}

Test(timeouts, half_closed_by_the_server)
{
    struct net_pair pair = begin_pair("half_closed: 200ms");

    net_half_close(pair.server);
    net_expect_eof(pair.client);
    net_expect_eof(pair.server);
    expect_end("half_closed_timeout");
}

/* An open session lives by `idle` alone, and the pool's own value wins over the others. */
Test(timeouts, of_the_pool_win)
{
    int listener = penstock_start_to_test(&(struct penstock_config){.timeouts = "idle: 1h, half_closed: 1h",
                                                                    .pool = "timeouts: { idle: 200ms }"});
    struct net_pair pair = net_pair(listener);

    net_pass(pair.client, pair.server, "hello");
    net_expect_eof(pair.client);
    net_expect_eof(pair.server);
    expect_end("idle_timeout");
}

/* After five silent seconds a receive becomes a poll: what comes then is passed on as ever. */
Test(timeouts, silence_for_long_costs_nothing)
{
    struct net_pair pair = begin_pair("idle: 1h");

    bed_pause_ms(6000);
    for (int i = 0; i < 3; i++) {
        net_pass(pair.server, pair.client, "still there?");
        net_pass(pair.client, pair.server, "yes");
    }
    bed_pause_ms(6000);
    penstock_end_session(&pair);
}
