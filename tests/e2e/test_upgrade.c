/* Another program takes the place of the one that runs: no connection is lost, and one that is no good
 * changes nothing. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

enum { SESSIONS = 10 };

static int listener;
static struct net_pair pairs[SESSIONS];

static void install_text(const char *text)
{
    const char *new = bed_path("penstock.new");

    bed_write_file(new, text);
    cr_assert_eq(chmod(new, 0755), 0);
    cr_assert_eq(rename(new, bed_path("penstock")), 0);
}

static void begin(void)
{
    uint16_t port;

    bed_begin();
    listener = net_listen(&port, 64);
    penstock_install(bed_penstock_path());
    penstock_start_to(port);
    for (int i = 0; i < SESSIONS; i++) {
        pairs[i] = net_pair(listener);
    }
}

TestSuite(upgrade, .init = begin, .fini = bed_fini, .timeout = 90);

static bool runs(pid_t pid, const char *path)
{
    char exe[PATH_BYTES * 2];
    ssize_t length = readlink(bed_format("/proc/%d/exe", pid), exe, sizeof(exe) - 1);

    exe[length > 0 ? length : 0] = '\0';
    return strcmp(exe, path) == 0;
}

Test(upgrade, replaces_all_and_loses_nothing)
{
    pid_t supervisor = bed.penstock;
    pid_t workers[2] = {penstock_worker(0), penstock_worker(1)};
    pid_t writer = net_write_behind(pairs[0].client, 7, 64 << 20);

    penstock_install(bed_penstock_path()); /* the old file is gone */
    cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
    net_read_pattern(pairs[0].server, 7, 64 << 20);
    cr_assert_eq(bed_wait(writer), 0);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    cr_assert_eq(penstock_number("upgrades"), 1);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_neq(penstock_worker(i), workers[i]);
        cr_assert(runs(penstock_worker(i), bed_path("penstock")));
        cr_assert(runs(penstock_keeper(i), bed_path("penstock")));
        cr_assert_eq(bed_proc_status(penstock_keeper(i), "PPid"), (uint64_t)supervisor);
    }
    cr_assert(runs(supervisor, bed_path("penstock")));
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 3 * SESSIONS);
    bed_end();
}

static void refuse(void)
{
    pid_t workers[2] = {penstock_worker(0), penstock_worker(1)};

    cr_assert_eq(penstock_upgrade(), 1);
    cr_assert(strstr(penstock_log(), "event=upgrade_failed") != NULL);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(penstock_worker(i), workers[i]);
    }
    cr_assert_eq(penstock_number("upgrades"), 0);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
}

Test(upgrade, to_what_does_not_run_is_refused)
{
    install_text("#!/bin/sh\necho it is broken >&2\nexit 1\n");
    refuse();
    cr_assert(strstr(penstock_log(), "it is broken") != NULL, "%s", penstock_log());
    install_text("\177ELF and nothing else");
    refuse();
    install_text("");
    refuse();
    cr_assert_eq(unlink(bed_path("penstock")), 0);
    refuse();
    penstock_install(bed_penstock_path()); /* and one that is good is taken afterwards */
    cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
    net_exchange_all(pairs, SESSIONS);
    net_close_all(pairs, SESSIONS);
    bed_end();
}

Test(upgrade, to_what_refuses_the_file_is_refused)
{
    const char *right = bed_read_file(bed_path("penstock.yaml"));

    bed_write_file(bed_path("penstock.yaml"), bed_format("%s\nlimitz: 1\n", right));
    refuse();
    cr_assert(strstr(penstock_log(), "limitz") != NULL, "%s", penstock_log());
    bed_write_file(bed_path("penstock.yaml"), right);
    net_close_all(pairs, SESSIONS);
    bed_end();
}

Test(upgrade, again_and_again_by_signal)
{
    for (unsigned i = 1; i <= 10; i++) {
        cr_assert_eq(kill(bed.penstock, SIGUSR2), 0);
        WAIT_UNTIL(penstock_number("upgrades") == i);
        net_exchange_all(pairs, SESSIONS);
    }
    net_exchange_new(listener, SESSIONS);
    net_close_all(pairs, SESSIONS);
    bed_end();
}

/* It dies in the middle: whoever comes next finds keepers and workers of both. */
Test(upgrade, is_survived_by_those_who_serve)
{
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_eq(kill(bed.penstock, SIGUSR2), 0);
        bed_pause_ms(i * 5);
        penstock_kill();
        penstock_start_again();
        net_exchange_all(pairs, SESSIONS);
    }
    net_exchange_new(listener, SESSIONS);
    net_close_all(pairs, SESSIONS);
    bed_end();
}

/* The elder generation serves its sessions to their end; the new one all others. */
Test(upgrade, to_another_layout)
{
    pid_t workers[2] = {penstock_worker(0), penstock_worker(1)};
    pid_t writer = net_write_behind(pairs[0].client, 7, 64 << 20);

    penstock_install(penstock_other_layout());
    cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
    cr_assert(strstr(penstock_log(), "event=elder ") != NULL, "%s", penstock_log());
    net_exchange_new(listener, SESSIONS);
    net_read_pattern(pairs[0].server, 7, 64 << 20);
    cr_assert_eq(bed_wait(writer), 0);
    net_exchange_all(pairs, SESSIONS);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(kill(workers[i], 0), 0, "it serves its sessions");
    }
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(strstr(penstock_log(), "event=elder_ended") != NULL);
    net_exchange_new(listener, SESSIONS);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 3 * SESSIONS);
    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    bed_end();
}

/* SIGUSR1 is for the logs of both generations. */
Test(upgrade, to_another_layout_reopens_both_logs)
{
    penstock_install(penstock_other_layout());
    cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
    cr_assert_eq(rename(bed_path("access.log"), bed_path("access.log.1")), 0);
    cr_assert_eq(kill(bed.penstock, SIGUSR1), 0);
    WAIT_UNTIL(access(bed_path("access.log"), F_OK) == 0);
    for (unsigned i = 0; i < SESSIONS; i++) {
        net_close(&pairs[i]);
        WAIT_UNTIL(bed_count_lines(bed_path("access.log")) + bed_count_lines(bed_path("access.log.1")) ==
                   i + 1);
    }
    cr_assert_gt(bed_count_lines(bed_path("access.log")), 0, "the elder logger's");
    WAIT_UNTIL(strstr(penstock_log(), "event=elder_ended") != NULL);
    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    bed_end();
}

/* A stop ends both generations; the supervisor of the new one may have died meanwhile. */
Test(upgrade, to_another_layout_and_stop)
{
    pid_t workers[2] = {penstock_worker(0), penstock_worker(1)};

    penstock_install(penstock_other_layout());
    cr_assert_eq(penstock_upgrade(), 0, "%s", penstock_log());
    penstock_kill();
    penstock_start_again();
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    cr_assert_eq(kill(bed.penstock, SIGINT), 0);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    for (int i = 0; i < SESSIONS; i++) {
        net_expect_reset(pairs[i].client);
    }
    for (unsigned i = 0; i < 2; i++) {
        WAIT_UNTIL(kill(workers[i], 0) != 0);
    }
    bed_end();
}

/* Connections that come while one generation hands over to the other. */
Test(upgrade, to_another_layout_loses_no_connection)
{
    penstock_install(penstock_other_layout());
    cr_assert_eq(kill(bed.penstock, SIGUSR2), 0);
    for (unsigned i = 0; i < 300 && strstr(penstock_log(), "event=elder ") == NULL; i++) {
        net_exchange_new(listener, SESSIONS);
    }
    for (unsigned i = 0; i < 100; i++) {
        net_exchange_new(listener, SESSIONS);
    }
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(strstr(penstock_log(), "event=elder_ended") != NULL);
    cr_assert_eq(kill(bed.penstock, SIGINT), 0);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    bed_end();
}
