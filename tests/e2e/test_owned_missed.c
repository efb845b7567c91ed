/* A supervisor that stands still while more connections end than it can be told of: it finds what it missed. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_crowd.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"

TestSuite(owned_missed, .init = product_begin, .fini = product_fini, .timeout = 120);

enum { SESSIONS = 70000 };

/* Of nobody's in the cgroup. */
static void leave_foreign_time_wait(void)
{
    struct net_pair pair = {
        .client = net_connect_to(bed_format("127.0.0.1:%u", net_local_port(product_listener())))};

    pair.server = net_accept(product_listener());
    close(pair.client);
    net_expect_eof(pair.server);
    close(pair.server);
    WAIT_UNTIL(net_minisockets() == 1);
}

Test(owned_missed, are_destroyed_and_nobody_elses)
{
    struct load_totals totals = {0};
    struct penstock_config config = {
        .before_exec = product_enter_cgroup,
        .limits = "sessions: 2000, buffers: 64MiB, flows: 200000",
        .log = "access: off",
    };

    crowd_begin();
    config.servers = crowd_servers();
    product_configure(&config, NULL);
    penstock_start(&config);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    owned_open(product_pins());
    lab_sysctl("net/ipv4/tcp_max_tw_buckets", 2 * SESSIONS);
    leave_foreign_time_wait();
    cr_assert_eq(kill(bed.penstock, SIGSTOP), 0);
    crowd_start(SESSIONS);
    crowd_finish(&totals);
    WAIT_UNTIL(owned_counters().published == SESSIONS);
    struct time_wait_counters counters = owned_counters();
    uint64_t again = counters.reopened + counters.reconnected; /* tuples, meanwhile */
    cr_expect_gt(counters.publish_overruns, 0);
    cr_expect_eq(net_minisockets(), 1 + SESSIONS - again);
    cr_assert_eq(kill(bed.penstock, SIGCONT), 0);
    WAIT_UNTIL(net_minisockets() == 1);
    WAIT_UNTIL(penstock_number("time_wait.kernel_destroyed") == SESSIONS - again);
    cr_expect_eq(penstock_number("time_wait.counters.publish_overruns"), counters.publish_overruns);
    cr_expect_eq(penstock_number("flows.time_wait"), SESSIONS - again);
    load_totals_expect(&totals);
    crowd_end();
    product_stop("--now");
    product_expect_gone();
    bed_end();
}
