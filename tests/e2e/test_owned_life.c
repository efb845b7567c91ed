/* TIME_WAIT that Penstock owns outlives its processes: whoever dies or is replaced, entries live on and are
 * answered. */
#include <linux/capability.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"
#include "tests/e2e/harness_waiting.h"

TestSuite(owned_life, .init = product_begin, .fini = product_fini, .timeout = 90);

enum { BEFORE, ACROSS, CONVERSATIONS };

static struct conversation conversations[CONVERSATIONS];

/* One connection waits, one lives. */
static void begin_with(const char *time_wait)
{
    product_own(time_wait);
    owned_open(product_pins());
    conversations[BEFORE] = waiting_begin(false);
    conversations[ACROSS] = waiting_connect(true);
}

static void begin(void)
{
    begin_with(NO_BUCKETS);
}

static void expect_answers(void)
{
    waiting_expect_answer(&conversations[BEFORE]);
}

/* The one that lived through it waits like the others, and so does a new one. */
static void end(void)
{
    expect_answers();
    if (conversations[ACROSS].server >= 0) {
        waiting_close(&conversations[ACROSS]);
        waiting_expect_answer(&conversations[ACROSS]);
    }
    struct conversation after = waiting_begin(false);
    waiting_expect_answer(&after);
    expect_answers();
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(owned_life, without_a_supervisor)
{
    begin();
    penstock_kill();
    expect_answers();
    waiting_close(&conversations[ACROSS]);
    waiting_expect_answer(&conversations[ACROSS]);
    struct conversation meanwhile = waiting_begin(false);
    waiting_expect_answer(&meanwhile);
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=taken_over") != NULL, "%s", penstock_log());
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    waiting_expect_answer(&meanwhile);
    end();
}

/* TIME_WAITs of Penstock's listener that the kernel has. */
static unsigned kernels_own(void)
{
    const char *line = bed_read_file("/proc/net/tcp");
    unsigned count = 0;
    unsigned port;
    unsigned state;

    while ((line = strchr(line, '\n')) != NULL) {
        line++;
        count += sscanf(line, "%*u: %*8x:%x %*8x:%*x %x", &port, &state) == 2 && port == bed.port &&
                 state == TCP_TIME_WAIT;
    }
    return count;
}

/* What the kernel kept while nobody destroyed it goes with the next supervisor. */
Test(owned_life, beside_the_kernel_without_a_supervisor)
{
    begin_with(NULL);
    WAIT_UNTIL(kernels_own() == 0);
    penstock_kill();
    struct conversation meanwhile = waiting_begin(false);
    cr_expect_eq(kernels_own(), 1);
    penstock_start_again();
    WAIT_UNTIL(kernels_own() == 0);
    waiting_expect_answer(&meanwhile);
    end();
}

Test(owned_life, supervisors_again_and_again)
{
    begin();
    for (int i = 0; i < 10; i++) {
        penstock_kill();
        expect_answers();
        penstock_start_again();
        expect_answers();
    }
    cr_expect_eq(penstock_number("flows.time_wait"), 1);
    end();
}

static bool without_net_admin(void)
{
    return product_enter_cgroup() && prctl(PR_CAPBSET_DROP, CAP_NET_ADMIN, 0, 0, 0) == 0;
}

/* One that may not own TIME_WAIT takes over: from then on the kernel keeps it, and what runs goes on. */
Test(owned_life, until_a_supervisor_may_not)
{
    char byte[CONVERSATION_BYTES];

    begin_with(NULL);
    penstock_kill();
    struct bed_process process = penstock_spawn(bed_path("penstock.yaml"), without_net_admin);
    bed.penstock = process.pid;
    WAIT_UNTIL(strstr(bed_read_file(process.err), "event=ready") != NULL);
    cr_assert(strstr(bed_read_file(process.err), "mode=kernel why=\"CAP_NET_ADMIN is missing\"") != NULL,
              "%s", bed_read_file(process.err));
    cr_expect_neq(access(product_pins(), F_OK), 0);
    struct lab_segment more = lab_segment(&conversations[ACROSS].peer, LAB_ACK, sizeof(byte));
    lab_send(&conversations[ACROSS].peer, &more);
    net_read(conversations[ACROSS].server, byte, sizeof(byte));
    struct conversation after = waiting_connect(false);
    conversation_end(&after, END_ORPHANED);
    cr_expect_eq(waiting_ask(&after).flags, LAB_ACK);
    product_stop(NULL);
    product_expect_gone();
    bed_end();
}

Test(owned_life, without_keepers)
{
    begin();
    for (unsigned slot = 0; slot < 2; slot++) {
        cr_assert_eq(kill(penstock_keeper(slot), SIGKILL), 0);
        WAIT_UNTIL(penstock_number(bed_format("workers.%u.incarnation", slot)) == 2);
        expect_answers();
    }
    end();
}

Test(owned_life, without_workers)
{
    begin();
    for (unsigned slot = 0; slot < 2; slot++) {
        cr_assert_eq(kill(penstock_worker(slot), SIGKILL), 0);
        expect_answers();
        WAIT_UNTIL(penstock_number(bed_format("workers.%u.incarnation", slot)) == 2);
    }
    end();
}

/* Only the programs are left, and their pins. */
Test(owned_life, without_anybody)
{
    begin();
    product_kill_all();
    expect_answers();
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=taken_over") == NULL, "%s", penstock_log());
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    cr_expect_eq(penstock_number("flows.time_wait"), 1);
    cr_expect_eq(penstock_number("flows.active") + penstock_number("flows.orphaned"), 1);
    struct lab_segment reset = lab_segment(&conversations[ACROSS].peer, LAB_RST, 0);
    lab_tell(&conversations[ACROSS].peer, &reset); /* the kernel still closes what they had */
    WAIT_UNTIL(penstock_number("flows.active") + penstock_number("flows.orphaned") == 0);
    conversations[ACROSS].server = -1;
    end();
}

Test(owned_life, across_a_reload)
{
    begin();
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
        expect_answers();
    }
    end();
}

Test(owned_life, across_a_reload_of_interfaces)
{
    struct penstock_config config = {.before_exec = product_enter_cgroup};

    begin_with("interfaces: [ " LAB_INTERFACE " ], " NO_BUCKETS);
    cr_expect(strstr(penstock_log(), "interfaces=1 ") != NULL, "%s", penstock_log());
    product_configure(&config, "interfaces: [ lo, " LAB_INTERFACE " ], " NO_BUCKETS);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    WAIT_UNTIL(strstr(penstock_log(), "event=time_wait interfaces=2") != NULL);
    expect_answers();
    end();
}

/* Neither responder nor guard stays where the file does not name the interface any more. */
Test(owned_life, until_a_reload_leaves_the_interface_out)
{
    struct penstock_config config = {.before_exec = product_enter_cgroup};

    begin_with("interfaces: [ lo, " LAB_INTERFACE " ], " NO_BUCKETS);
    expect_answers();
    product_configure(&config, "interfaces: [ lo ], " NO_BUCKETS);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    WAIT_UNTIL((waiting_ask(&conversations[BEFORE]).flags & LAB_RST) != 0);
    cr_expect_eq(penstock_number("time_wait.interfaces"), 1);
    config.more = NULL;
    product_configure(&config, "interfaces: [ lo, " LAB_INTERFACE " ], " NO_BUCKETS);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    WAIT_UNTIL(waiting_ask(&conversations[BEFORE]).flags == LAB_ACK);
    end();
}

Test(owned_life, across_upgrades)
{
    begin();
    for (unsigned i = 1; i <= 3; i++) {
        cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
        cr_expect_eq(bed_count(penstock_log(), "event=time_wait mode=owned"), i + 1, "%s", penstock_log());
        expect_answers();
    }
    end();
}

/* The elder generation's end is published in the same table. */
Test(owned_life, across_an_upgrade_to_another_layout)
{
    penstock_install(bed_penstock_path());
    begin();
    penstock_install(penstock_other_layout());
    cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
    cr_assert_eq(setenv("PENSTOCK", penstock_other_layout(), 1), 0);
    cr_assert(strstr(penstock_log(), "event=elder ") != NULL, "%s", penstock_log());
    cr_expect_eq(bed_count(penstock_log(), "event=time_wait mode=owned"), 2, "%s", penstock_log());
    expect_answers();
    struct conversation after = waiting_begin(false);
    waiting_expect_answer(&after);
    waiting_close(&conversations[ACROSS]);
    waiting_expect_answer(&conversations[ACROSS]);
    WAIT_UNTIL(strstr(penstock_log(), "event=elder_ended") != NULL);
    end();
}

/* Who gives less room for entries begins with an empty table; the old one is left to those who use it. */
Test(owned_life, not_with_another_number_of_flows)
{
    struct penstock_config config = {.before_exec = product_enter_cgroup,
                                     .limits = "sessions: 2000, buffers: 64MiB, flows: 10000"};

    begin();
    product_kill_all();
    product_configure(&config, NO_BUCKETS);
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    cr_expect_eq(penstock_number("flows.time_wait"), 0);
    owned_close();
    owned_open(product_pins());
    struct conversation after = waiting_begin(false);
    waiting_expect_answer(&after);
    product_stop("--now");
    product_expect_gone();
    cr_expect_neq(lab_sysctl_now("net/ipv4/tcp_max_tw_buckets"), 0);
    bed_end();
}
