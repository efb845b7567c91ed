/* Many closes through Penstock, half of the final ACKs lost: FINs come again, and no RST answers, whatever
 * befalls Penstock. */
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_closes.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"

TestSuite(owned_closes, .init = product_begin, .fini = product_fini, .timeout = 120);

enum { CLOSES = 10000, CLOSES_IPV6 = 2000 };

#define NO_BUCKETS "tcp_max_tw_buckets: 0"

static pid_t start(const struct closes *closes, const char *time_wait)
{
    struct penstock_config config = {.before_exec = product_enter_cgroup};

    closes_listen(closes);
    config.servers = closes_server(closes);
    lab_use_all_cpus();
    lab_finish_checksums();
    product_configure(&config, time_wait);
    penstock_start(&config);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    owned_open(product_pins());
    return closes_start(closes);
}

static void finish(const struct closes *closes, pid_t pid)
{
    struct closes_result result = closes_finish(closes, pid);
    struct time_wait_counters counters = owned_counters();

    cr_expect_eq(result.resets, 0);
    cr_expect_geq(result.arrived, closes->count);
    cr_expect_gt(result.lost, closes->count / 2);
    cr_expect_eq(counters.published, closes->count);
    cr_expect_eq(counters.insert_failures, 0);
    cr_expect_gt(counters.acks, closes->count / 2);
    WAIT_UNTIL(net_minisockets() == 0); /* they would last longer */
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

static void close_plainly(struct closes closes, const char *time_wait)
{
    finish(&closes, start(&closes, time_wait));
}

Test(owned_closes, of_clients)
{
    close_plainly((struct closes){.count = CLOSES}, NO_BUCKETS);
}

Test(owned_closes, of_clients_beside_the_kernel)
{
    close_plainly((struct closes){.count = CLOSES}, NULL);
}

Test(owned_closes, of_clients_by_ipv6)
{
    close_plainly((struct closes){.count = CLOSES_IPV6, .ipv6 = true}, NO_BUCKETS);
}

Test(owned_closes, of_servers)
{
    close_plainly((struct closes){.count = CLOSES, .of_servers = true}, NO_BUCKETS);
}

Test(owned_closes, of_servers_beside_the_kernel)
{
    close_plainly((struct closes){.count = CLOSES, .of_servers = true}, NULL);
}

Test(owned_closes, of_servers_by_ipv6)
{
    close_plainly((struct closes){.count = CLOSES_IPV6, .of_servers = true, .ipv6 = true}, NO_BUCKETS);
}

/* --- While something befalls Penstock --- */

static void close_while_workers_die(struct closes closes, const char *time_wait)
{
    struct killer killer;
    pid_t pid = start(&closes, time_wait);

    killer_begin(&killer, 2);
    killer_run(&killer, 0, 20, 120, pid);
    cr_expect_gt(killer.kills, 10);
    finish(&closes, pid);
}

Test(owned_closes, of_clients_while_workers_die)
{
    close_while_workers_die((struct closes){.count = CLOSES}, NO_BUCKETS);
}

Test(owned_closes, of_clients_while_workers_die_beside_the_kernel)
{
    close_while_workers_die((struct closes){.count = CLOSES}, NULL);
}

Test(owned_closes, of_servers_while_workers_die)
{
    close_while_workers_die((struct closes){.count = CLOSES, .of_servers = true}, NO_BUCKETS);
}

/* A reload, an upgrade, a death of the supervisor, and again. */
static void close_across_changes(struct closes closes, const char *time_wait)
{
    pid_t pid = start(&closes, time_wait);
    unsigned rounds = 0;

    while (!bed_has_ended(pid)) {
        size_t texts = bed_mark();
        cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
        cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
        penstock_kill();
        penstock_start_again();
        cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
        rounds++;
        bed_release(texts);
    }
    cr_expect_gt(rounds, 1);
    finish(&closes, pid);
}

Test(owned_closes, of_clients_across_changes)
{
    close_across_changes((struct closes){.count = CLOSES}, NO_BUCKETS);
}

Test(owned_closes, of_servers_across_changes)
{
    close_across_changes((struct closes){.count = CLOSES, .of_servers = true}, NULL);
}
