/* One death at a time of each kind of process. Many at random moments: tests/chaos. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

enum { SESSIONS = 20 };

static int listener;
static struct net_pair pairs[SESSIONS];

static void begin(void)
{
    bed_begin();
    listener = penstock_start_to_test(NULL);
    for (int i = 0; i < SESSIONS; i++) {
        pairs[i] = net_pair(listener);
    }
}

TestSuite(death, .init = begin, .fini = bed_fini, .timeout = 60);

static void kill_workers(int signal)
{
    net_exchange_all(pairs, SESSIONS);
    for (unsigned slot = 0; slot < 2; slot++) {
        cr_assert_eq(kill(penstock_worker(slot), signal), 0);
    }
    net_exchange_all(pairs, SESSIONS);
    WAIT_UNTIL(penstock_number("workers.0.incarnation") == 2 &&
               penstock_number("workers.1.incarnation") == 2);
    cr_assert_eq(penstock_number("sessions"), SESSIONS);
    struct net_pair new = net_pair(listener); /* accepted as before */
    net_pass(new.client, new.server, "new");
    close(new.client);
    close(new.server);
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    cr_assert_eq(json_number(status, "stats.accepted"), SESSIONS + 1);
    cr_assert_eq(json_number(status, "closes.client_closed"), SESSIONS + 1, "%s", status);
    cr_assert_eq(json_number(status, "workers.0.deaths") + json_number(status, "workers.1.deaths"), 2);
    bed_end();
}

Test(death, of_workers_by_sigkill)
{
    kill_workers(SIGKILL);
}

Test(death, of_workers_by_sigsegv)
{
    kill_workers(SIGSEGV);
}

/* The kernel's queue takes connections while there is no worker. */
Test(death, connections_meanwhile_are_served)
{
    pid_t keepers[2] = {penstock_keeper(0), penstock_keeper(1)};
    pid_t workers[2] = {penstock_worker(0), penstock_worker(1)};
    struct net_pair new[SESSIONS];

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(kill(keepers[i], SIGSTOP), 0); /* no successor yet */
        cr_assert_eq(kill(workers[i], SIGKILL), 0);
    }
    for (int i = 0; i < SESSIONS; i++) {
        new[i].client = net_connect(bed.port);
        net_write_text(new[i].client, "in the queue");
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(kill(keepers[i], SIGCONT), 0);
    }
    for (int i = 0; i < SESSIONS; i++) {
        new[i].server = net_accept(listener);
        net_read_text(new[i].server, "in the queue");
    }
    net_exchange_all(pairs, SESSIONS);
    cr_assert_eq(penstock_number("sessions"), 2 * SESSIONS);
    bed_end();
}

/* What client and server do while there is no worker is passed on by the next one. */
Test(death, ends_and_resets_meanwhile_are_passed_on)
{
    pid_t keepers[2] = {penstock_keeper(0), penstock_keeper(1)};

    net_exchange_all(pairs, SESSIONS);
    for (unsigned slot = 0; slot < 2; slot++) {
        cr_assert_eq(kill(keepers[slot], SIGSTOP), 0);
        cr_assert_eq(kill(penstock_worker(slot), SIGKILL), 0);
    }
    net_write_text(pairs[0].client, "last words");
    net_half_close(pairs[0].client);
    net_reset(pairs[1].client);
    net_reset(pairs[2].server);
    net_half_close(pairs[3].server);
    for (unsigned slot = 0; slot < 2; slot++) {
        cr_assert_eq(kill(keepers[slot], SIGCONT), 0);
    }
    net_read_text(pairs[0].server, "last words");
    net_expect_eof(pairs[0].server);
    net_expect_reset(pairs[1].server);
    net_expect_reset(pairs[2].client);
    net_expect_eof(pairs[3].client);
    WAIT_UNTIL(penstock_number("sessions") == SESSIONS - 2);
    bed_end();
}

/* Orphans serve on: old sessions and new ones. The guard ends them. */
Test(death, of_the_supervisor)
{
    cr_assert_eq(kill(bed.penstock, SIGKILL), 0);
    bed_wait(bed.penstock);
    bed.penstock = 0;
    net_exchange_all(pairs, SESSIONS);
    struct net_pair new = net_pair(listener);
    net_pass(new.client, new.server, "new");
    net_close_all(pairs, SESSIONS);
    bed_end();
}

/* The worker goes on, a new keeper takes it over, and cares for it as the old one did. */
Test(death, of_a_keeper)
{
    pid_t keeper = penstock_keeper(0);
    unsigned descriptors = bed_count_descriptors(keeper);
    pid_t writer = net_write_behind(pairs[0].client, 7, 64 << 20);

    for (unsigned i = 1; i <= 5; i++) {
        cr_assert_eq(kill(penstock_keeper(0), SIGKILL), 0);
        WAIT_UNTIL(bed_count(penstock_log(), "event=keeper_replaced slot=0") == i);
        WAIT_UNTIL(bed_count(penstock_log(), "event=adopted slot=0") == i);
    }
    net_read_pattern(pairs[0].server, 7, 64 << 20);
    cr_assert_eq(bed_wait(writer), 0);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    cr_assert_neq(penstock_keeper(0), keeper);
    cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);
    net_exchange_all(pairs, SESSIONS);
    WAIT_UNTIL(bed_count(penstock_log(), "event=adopted slot=0") == 6);
    net_exchange_new(listener, SESSIONS);
    WAIT_UNTIL(bed_count_descriptors(penstock_keeper(0)) == descriptors);
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    bed_end();
}

/* Nobody is there to take the worker's descriptors: its connections are lost, the slot is not. */
Test(death, of_keeper_and_worker)
{
    pid_t keeper = penstock_keeper(0);
    pid_t worker = penstock_worker(0);

    cr_assert_eq(kill(bed.penstock, SIGSTOP), 0);
    cr_assert_eq(kill(keeper, SIGKILL), 0);
    cr_assert_eq(kill(worker, SIGKILL), 0);
    cr_assert_eq(kill(bed.penstock, SIGCONT), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=slot_lost slot=0") != NULL);
    WAIT_UNTIL(penstock_worker(0) != worker);
    net_exchange_new(listener, SESSIONS);
    bed_end();
}

Test(death, of_the_logger)
{
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == SESSIONS);
    pid_t logger = bed_child_named(bed.penstock, "logger");
    cr_assert(logger > 0);
    cr_assert_eq(kill(logger, SIGKILL), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=logger_died") != NULL);
    struct net_pair new = net_pair(listener);
    close(new.client);
    close(new.server);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == SESSIONS + 1);
    bed_end();
}
