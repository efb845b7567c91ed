/* Penstock that owns TIME_WAIT: starts, says so, answers; what it leaves at a stop, and for how long. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_conversation.h"
#include "tests/e2e/harness_http.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_metrics.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"
#include "tests/e2e/harness_waiting.h"

TestSuite(owned, .init = product_begin, .fini = product_fini, .timeout = 90);

#define BUCKETS "net/ipv4/tcp_max_tw_buckets"

static bool has_pin(const char *prefix)
{
    const char *said;
    struct bed_process process;
    const char *argv[] = {"/bin/ls", product_pins(), NULL};

    cr_assert_eq(bed_run(argv, &process), 0);
    said = bed_read_file(process.out);
    return strstr(said, prefix) != NULL;
}

/* The kernel ends programs some moments after their last pin has gone. Then nobody knows the connection. */
static void await_silence(const struct conversation *conversation)
{
    WAIT_UNTIL((waiting_ask(conversation).flags & LAB_RST) != 0);
}

Test(owned, is_said_and_seen)
{
    product_own(NO_BUCKETS);
    owned_open(product_pins());
    cr_expect(has_pin("flow_tags") && has_pin("flow_entries") && has_pin("publisher:") &&
              has_pin("responder:"));
    struct conversation conversations[2] = {waiting_begin(false), waiting_begin(true)};
    const char *status = penstock_status();
    cr_expect_eq(json_number(status, "flows.time_wait"), 2);
    cr_expect(strstr(status, "\"time_wait\":{\"mode\":\"owned\",\"why\":\"\"") != NULL, "%s", status);
    cr_expect_eq(json_number(status, "time_wait.two_msl_ms"), 60000);
    cr_expect_eq(json_number(status, "time_wait.interfaces"), 2);
    WAIT_UNTIL(penstock_number("time_wait.counters.published") == 2);
    for (int i = 0; i < 2; i++) {
        const char *said;
        waiting_expect_answer(&conversations[i]);
        cr_assert_eq(product_command("flows", NULL, &said), 0, "%s", said);
        const char *address = i == 0 ? LAB_PEER : "[" LAB_PEER6 "]";
        cr_expect(strstr(said, bed_format("%s:%u ", address, conversations[i].peer.port)) != NULL, "%s",
                  said);
        cr_expect_eq(bed_count(said, "\ntime_wait "), 2, "%s", said);
    }
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(owned, is_seen_by_the_exporter)
{
    uint16_t port = bed_reserve_port("127.0.0.1");
    struct penstock_config config = {
        .before_exec = product_enter_cgroup,
        .more = bed_format("exporter: { listen: 127.0.0.1:%u }\n", port),
    };

    product_configure(&config, NO_BUCKETS);
    penstock_start(&config);
    owned_open(product_pins());
    (void)waiting_begin(false);
    WAIT_UNTIL(http_status(port, "/metrics") == 200);
    WAIT_UNTIL(metrics_value(http_body(port, "/metrics"), "penstock_flow_entries{state=\"time_wait\"}") >= 1);
    cr_expect_eq(metrics_value(http_body(port, "/metrics"), "penstock_time_wait_owned"), 1);
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

/* What may be an answer itself is not answered each time (RFC 5961, 7). */
Test(owned, answers_few_bare_acks)
{
    product_own(NO_BUCKETS);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    struct lab_segment old = lab_segment(&conversation.peer, LAB_ACK, 0);
    old.seq--;
    WAIT_UNTIL((lab_tell(&conversation.peer, &old), owned_counters().acks_suppressed > 0));
    cr_expect_gt(owned_counters().acks, 0);
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

/* --- The end --- */

Test(owned, lingers_until_the_last_entry_has_expired)
{
    const char *said;

    product_own(NO_BUCKETS ", two_msl: 3s");
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    product_stop(NULL);
    WAIT_UNTIL(product_lingerer() != 0);
    waiting_expect_answer(&conversation);
    cr_expect_eq(product_command("status", NULL, &said), 1);
    cr_expect(strstr(said, "its last TIME_WAITs are answered still") != NULL, "%s", said);
    product_expect_gone();
    cr_expect_eq(product_command("status", NULL, &said), 1);
    cr_expect(strstr(said, "answered still") == NULL, "%s", said);
    await_silence(&conversation);
    cr_expect_neq(lab_sysctl_now(BUCKETS), 0);
    bed_end();
}

Test(owned, does_not_linger_without_entries)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);

    product_own(NO_BUCKETS);
    cr_expect_eq(lab_sysctl_now(BUCKETS), 0);
    product_stop(NULL);
    cr_expect_eq(product_lingerer(), 0);
    product_expect_gone();
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    bed_end();
}

Test(owned, ends_at_once_if_told_so)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);

    product_own(NO_BUCKETS);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    product_stop("--now");
    cr_expect_eq(product_lingerer(), 0);
    product_expect_gone();
    await_silence(&conversation);
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    bed_end();
}

Test(owned, ends_at_once_if_told_so_while_it_lingers)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);
    const char *said;

    product_own(NO_BUCKETS);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    product_stop(NULL);
    WAIT_UNTIL(product_lingerer() != 0);
    waiting_expect_answer(&conversation);
    cr_assert_eq(product_command("stop", "--now", &said), 0, "%s", said);
    cr_expect_neq(access(product_pins(), F_OK), 0);
    product_expect_gone();
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    cr_expect_neq(product_command("stop", "--now", &said), 0, "%s", said);
    bed_end();
}

Test(owned, ends_by_a_signal_to_who_lingers)
{
    product_own(NO_BUCKETS);
    owned_open(product_pins());
    (void)waiting_begin(false);
    product_stop(NULL);
    WAIT_UNTIL(product_lingerer() != 0);
    cr_assert_eq(kill(product_lingerer(), SIGTERM), 0);
    product_expect_gone();
    cr_expect_neq(lab_sysctl_now(BUCKETS), 0);
    bed_end();
}

/* The new instance has the table, and he who lingered removes nothing. */
Test(owned, goes_on_where_another_lingers)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);

    product_own(NO_BUCKETS);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    product_stop(NULL);
    WAIT_UNTIL(product_lingerer() != 0);
    pid_t lingerer = product_lingerer();
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    cr_assert_eq(bed_wait(lingerer), 0);
    waiting_expect_answer(&conversation);
    cr_expect_eq(penstock_number("flows.time_wait"), 1);
    struct conversation second = waiting_begin(true);
    waiting_expect_answer(&second);
    waiting_expect_answer(&conversation);
    cr_expect_eq(lab_sysctl_now(BUCKETS), 0);
    product_stop("--now");
    product_expect_gone();
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    bed_end();
}

/* What was set stays set when all are killed; whoever starts next knows what it was. */
Test(owned, puts_back_what_a_killed_one_had_set)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);

    product_own(NO_BUCKETS);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    product_kill_all();
    cr_expect_eq(lab_sysctl_now(BUCKETS), 0);
    waiting_expect_answer(&conversation);
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    cr_expect_eq(lab_sysctl_now(BUCKETS), 0);
    waiting_expect_answer(&conversation);
    product_stop("--now");
    product_expect_gone();
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    bed_end();
}

/* A start that is not to own TIME_WAIT puts it back, too. */
Test(owned, is_cleaned_up_by_one_that_does_not_own)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);

    product_own(NO_BUCKETS);
    owned_open(product_pins());
    (void)waiting_begin(false);
    product_kill_all();
    product_start("mode: kernel");
    cr_assert(strstr(penstock_log(), "event=time_wait mode=kernel") != NULL, "%s", penstock_log());
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    cr_expect_neq(access(product_pins(), F_OK), 0);
    product_stop(NULL);
    product_expect_gone();
    bed_end();
}

/* All are dead, and an operator wants nothing of it left. */
Test(owned, is_cleaned_up_after_all_were_killed)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);
    const char *said;

    product_own(NO_BUCKETS);
    owned_open(product_pins());
    (void)waiting_begin(false);
    product_kill_all();
    cr_assert_eq(product_command("stop", "--now", &said), 0, "%s", said);
    product_expect_gone();
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    bed_end();
}

/* --- Others --- */

Test(owned, leaves_nothing_of_a_start_that_fails)
{
    unsigned buckets = lab_sysctl_now(BUCKETS);
    uint16_t taken;
    struct penstock_config config = {.before_exec = product_enter_cgroup};

    net_listen(&taken, 1);
    config.bind = bed_format("'127.0.0.1:%u'", taken);
    product_configure(&config, NO_BUCKETS);
    struct bed_process process = penstock_spawn(bed_path("penstock.yaml"), product_enter_cgroup);
    cr_expect_eq(bed_wait(process.pid), 1);
    cr_expect(strstr(bed_read_file(process.err), "event=time_wait mode=") != NULL);
    product_expect_gone();
    cr_expect_eq(lab_sysctl_now(BUCKETS), buckets);
    bed_end();
}

/* One that fails while another lingers leaves that one's entries to be answered. */
Test(owned, lingers_on_after_a_start_that_fails)
{
    uint16_t taken;
    struct penstock_config config = {.before_exec = product_enter_cgroup};

    net_listen(&taken, 1);
    product_own(NO_BUCKETS ", two_msl: 4s");
    owned_open(product_pins());
    struct conversation conversation = waiting_begin(false);
    product_stop(NULL);
    config.bind = bed_format("'127.0.0.1:%u'", taken);
    product_configure(&config, NO_BUCKETS ", two_msl: 4s");
    struct bed_process process = penstock_spawn(bed_path("penstock.yaml"), product_enter_cgroup);
    cr_expect_eq(bed_wait(process.pid), 1);
    waiting_expect_answer(&conversation);
    WAIT_UNTIL(access(product_pins(), F_OK) != 0);
    WAIT_UNTIL(lab_sysctl_now(BUCKETS) != 0);
    product_expect_gone();
    bed_end();
}

/* Two instances in one cgroup: each publishes what is its own. */
Test(owned, is_each_ones_own)
{
    struct bed both = bed;
    uint16_t port = bed_reserve_port(LAB_SERVER);
    char pins[REGION_PINS_MAX];

    product_own(NULL);
    snprintf(pins, sizeof(pins), "%s", product_pins());
    owned_open(pins);
    both.penstock = bed.penstock;
    snprintf(bed.name, sizeof(bed.name), "%.40s-b", both.name);
    bed.port = port;
    product_own(NULL);
    struct conversation conversation = conversation_through(both.port, product_listener(), false, true);
    waiting_close(&conversation);
    waiting_expect_answer(&conversation);
    cr_expect_eq(penstock_number("flows.time_wait"), 0);
    product_stop("--now");
    cr_expect_neq(access(product_pins(), F_OK), 0);
    bed = both;
    waiting_expect_answer(&conversation);
    cr_expect_eq(penstock_number("flows.time_wait"), 1);
    product_stop("--now");
    product_expect_gone();
    bed_end();
}
