/* Interfaces that come and go while Penstock owns TIME_WAIT. */
#include <net/if_arp.h>
#include <string.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_closes.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"
#include "tests/e2e/harness_waiting.h"

TestSuite(owned_interfaces, .init = product_begin, .fini = product_fini, .timeout = 60);

enum { CLOSES = 200 };

#define LATE "10.8.0.1"

static void add_interface(void)
{
    lab_ip("link add late0 type veth peer name late1");
    lab_give_to_peer("late1");
    lab_ip("link set late0 up");
    lab_ip("addr add " LATE "/24 dev late0");
    lab_enter_peer();
    lab_ip("link set late1 up");
    lab_ip("addr add 10.8.0.2/24 dev late1");
    lab_enter_server();
}

static void start(const struct closes *closes)
{
    struct penstock_config config = {
        .before_exec = product_enter_cgroup,
        .bind = bed_format("'0.0.0.0:%u'", bed.port),
    };

    closes_listen(closes);
    config.servers = closes_server(closes);
    product_configure(&config, NO_BUCKETS);
    penstock_start(&config);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    owned_open(product_pins());
}

static void expect_answered(const struct closes *closes)
{
    struct closes_result result = closes_finish(closes, closes_start(closes));

    cr_expect_eq(result.resets, 0);
    cr_expect_geq(result.arrived, closes->count);
    cr_expect_gt(result.lost, 0);
}

static void end(void)
{
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(owned_interfaces, that_appear_later)
{
    struct closes closes = {.count = CLOSES, .interface = "late1", .address = LATE};

    start(&closes);
    cr_expect(strstr(penstock_log(), "interfaces=2 ") != NULL, "%s", penstock_log());
    add_interface();
    WAIT_UNTIL(strstr(penstock_log(), "event=time_wait interfaces=3") != NULL);
    expect_answered(&closes);
    end();
}

/* Its pins go with it; the same name is another interface then. */
Test(owned_interfaces, that_go_and_come_again)
{
    struct closes closes = {.count = CLOSES, .interface = "late1", .address = LATE};

    add_interface();
    start(&closes);
    cr_expect(strstr(penstock_log(), "interfaces=3 ") != NULL, "%s", penstock_log());
    lab_ip("link del late0");
    WAIT_UNTIL(strstr(penstock_log(), "event=time_wait interfaces=2") != NULL);
    add_interface();
    WAIT_UNTIL(strstr(penstock_log(), "event=time_wait interfaces=3") != NULL);
    expect_answered(&closes);
    end();
}

/* One comes that cannot be answered at: the others are as before, and it is said once. */
Test(owned_interfaces, of_an_unknown_kind_that_appear_later)
{
    product_own(NO_BUCKETS);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    lab_add_tun("tun0", ARPHRD_INFINIBAND);
    WAIT_UNTIL(strstr(penstock_log(), "interface tun0 is of a kind that cannot be answered at") != NULL);
    waiting_expect_answer(&conversation);
    add_interface();
    WAIT_UNTIL(strstr(penstock_log(), "event=time_wait interfaces=3") != NULL);
    cr_expect_eq(bed_count(penstock_log(), "interface tun0 is of a kind that cannot be answered at"), 1);
    waiting_expect_answer(&conversation);
    end();
}

/* As WireGuard's are. */
Test(owned_interfaces, without_ethernet_header)
{
    lab_go_bare();
    product_own(NO_BUCKETS);
    owned_open(product_pins());
    cr_expect(strstr(penstock_log(), "interfaces=2 ") != NULL, "%s", penstock_log());
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        struct conversation conversation = waiting_begin(ipv6 != 0);
        waiting_expect_answer(&conversation);
    }
    end();
}
