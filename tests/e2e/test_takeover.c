/* Those who take over: a keeper for another's worker, a supervisor for another's keepers. */
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

BED_SUITE(takeover, 90);

static bool without_ptrace(void)
{
    return prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) == 0;
}

/* As in most containers: the worker serves on and one line says what is missing. */
Test(takeover, of_a_worker_that_may_not_be_copied)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    if (geteuid() != 0) {
        cr_skip("workers of the same user may be copied");
    }
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", port), .workers = 1, .before_exec = without_ptrace});
    struct net_pair pair = net_pair(listener);
    pid_t worker = penstock_worker(0);
    cr_assert_eq(kill(penstock_keeper(0), SIGKILL), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=keeper_missing slot=0") != NULL);
    cr_assert(strstr(penstock_log(), "CAP_SYS_PTRACE") != NULL);
    net_exchange(&pair);
    struct net_pair new = net_pair(listener);
    net_exchange(&new);
    cr_assert_eq(penstock_worker(0), worker);
    cr_assert_eq(kill(worker, SIGKILL), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=slot_lost slot=0") != NULL);
    struct net_pair newer = net_pair(listener);
    net_exchange(&newer);
    bed_end();
}

/* --- Of a supervisor -------------------------------------------------------------------------------------- */

enum { SESSIONS = 10 };

static int listener;
static struct net_pair pairs[SESSIONS];

static void start(void)
{
    listener = penstock_start_to_test(NULL);
    for (int i = 0; i < SESSIONS; i++) {
        pairs[i] = net_pair(listener);
    }
}

static void close_all(void)
{
    net_close_all(pairs, SESSIONS);
    WAIT_UNTIL(penstock_number("sessions") == 0);
}

/* Old sessions go on, new ones come; and the end. */
static void expect_service(void)
{
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    close_all();
    bed_end();
}

/* Nothing is restarted; all the supervisor is for works as before. */
Test(takeover, of_keepers_and_workers)
{
    start();
    pid_t workers[2] = {penstock_worker(0), penstock_worker(1)};
    pid_t keepers[2] = {penstock_keeper(0), penstock_keeper(1)};
    pid_t writer = net_write_behind(pairs[0].client, 7, 64 << 20);
    penstock_kill();
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=taken_over") != NULL, "%s", penstock_log());
    net_read_pattern(pairs[0].server, 7, 64 << 20);
    cr_assert_eq(bed_wait(writer), 0);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(penstock_worker(i), workers[i]);
        cr_assert_eq(penstock_keeper(i), keepers[i]);
    }
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    cr_assert_eq(kill(workers[0], SIGKILL), 0);
    net_exchange_all(pairs, SESSIONS);
    cr_assert_eq(kill(keepers[1], SIGKILL), 0);
    WAIT_UNTIL(penstock_worker(1) != workers[1] && penstock_number("workers.1.incarnation") == 2);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    close_all();
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 3 * SESSIONS);
    cr_assert_eq(penstock_stop(SIGTERM), 0);
    cr_assert_neq(access(bed_format("/run/penstock/%s.pid", bed.name), F_OK), 0);
    bed_end();
}

Test(takeover, again_and_again)
{
    start();
    for (int i = 0; i < 20; i++) {
        penstock_kill();
        penstock_start_again();
        net_exchange(&pairs[i % SESSIONS]);
    }
    expect_service();
}

/* A keeper that dies while there is no supervisor is replaced when there is one. */
Test(takeover, of_a_worker_without_keeper)
{
    start();
    pid_t keeper = penstock_keeper(0);
    penstock_kill();
    cr_assert_eq(kill(keeper, SIGKILL), 0);
    net_exchange_all(pairs, SESSIONS);
    penstock_start_again();
    WAIT_UNTIL(penstock_number("workers.0.incarnation") == 2);
    net_exchange_all(pairs, SESSIONS);
    cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);
    WAIT_UNTIL(penstock_number("workers.0.incarnation") == 3);
    expect_service();
}

/* All of a slot is dead: it begins anew, with sockets of its own. */
Test(takeover, of_a_slot_that_is_lost)
{
    start();
    pid_t members[2] = {penstock_keeper(0), penstock_worker(0)};
    penstock_kill();
    cr_assert_eq(kill(members[0], SIGKILL), 0);
    cr_assert_eq(kill(members[1], SIGKILL), 0);
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=slot_lost slot=0") != NULL, "%s", penstock_log());
    WAIT_UNTIL(penstock_worker(0) != members[1]);
    net_exchange_new(listener, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    bed_end();
}

/* All are dead, and nobody has cleaned up. */
Test(takeover, of_nobody)
{
    start();
    pid_t members[] = {penstock_keeper(0), penstock_keeper(1), penstock_worker(0), penstock_worker(1)};
    penstock_kill();
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(kill(members[i], SIGKILL), 0);
        bed_wait(members[i]);
    }
    /* Rings are torn down some time after their processes have ended. */
    WAIT_UNTIL(!net_can_connect(bed_format("127.0.0.1:%u", bed.port)));
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=taken_over") == NULL);
    net_exchange_new(listener, SESSIONS);
    bed_end();
}

static int command(const char *name, const char **said)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), name, "-c", bed_path("penstock.yaml"), NULL};
    int result = bed_run(argv, &process);

    *said = bed_read_file(process.err);
    return result;
}

/* What commands say while nobody supervises is true. */
Test(takeover, is_what_commands_advise)
{
    static const char *const names[] = {"reload", "drain", "stop"};
    const char *said;

    start();
    penstock_kill();
    cr_assert_eq(penstock_number("sessions"), SESSIONS);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(command(names[i], &said), 1);
        cr_assert(strstr(said, "serves without its supervisor") != NULL, "%s", said);
    }
    penstock_start_again();
    close_all();
    bed_end();
}

/* The file as it is now is followed. */
Test(takeover, follows_the_file)
{
    uint16_t port;
    int other = net_listen(&port, 64);

    start();
    penstock_kill();
    penstock_configure(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port)});
    penstock_start_again();
    net_exchange_all(pairs, SESSIONS);
    struct net_pair new = net_pair(other);
    net_exchange(&new);
    close(new.client);
    close(new.server);
    close_all();
    bed_end();
}

/* One that cannot be is not followed: what runs is kept. */
Test(takeover, keeps_what_runs_where_the_file_cannot_be_followed)
{
    uint16_t taken;

    net_listen(&taken, 1);
    start();
    penstock_kill();
    penstock_configure(&(struct penstock_config){
        .servers = "127.0.0.1:1", .bind = bed_format("127.0.0.1:%u, 127.0.0.1:%u", bed.port, taken)});
    penstock_start_again();
    cr_assert(strstr(penstock_log(), "event=reload_failed") != NULL, "%s", penstock_log());
    expect_service();
}

Test(takeover, carries_a_drain_on)
{
    start();
    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=draining") != NULL);
    penstock_kill();
    net_exchange_all(pairs, SESSIONS);
    penstock_start_again();
    net_exchange_all(pairs, SESSIONS);
    cr_assert(!net_can_connect(bed_format("127.0.0.1:%u", bed.port)));
    net_close_all(pairs, SESSIONS); /* the end of the last session is Penstock's */
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    cr_assert_eq(bed_count_lines(bed_path("access.log")), SESSIONS);
    bed_end();
}

/* Killed at any moment of a reload that swaps listeners. */
Test(takeover, in_the_middle_of_reloads)
{
    start();
    const char *own = bed_format("127.0.0.1:%u", net_local_port(listener));
    const char *binds[2] = {bed_format("127.0.0.1:%u", bed.port),
                            bed_format("127.0.0.1:%u", bed_reserve_port("127.0.0.1"))};
    for (unsigned i = 1; i <= 30; i++) {
        const char *bind = i % 2 ? bed_format("%s, %s", binds[0], binds[1]) : binds[0];
        penstock_configure(&(struct penstock_config){.servers = own, .bind = bind});
        cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
        bed_pause_ms(i % 7);
        penstock_kill();
        penstock_start_again();
        net_exchange(&pairs[i % SESSIONS]);
    }
    expect_service();
}

/* One that has less than a keeper keeps may not look at it. */
static bool with_less_than_keepers(void)
{
    return without_ptrace() && prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0) == 0;
}

/* Somebody else may not look at the keepers: those serve on, nothing is begun beside them. */
Test(takeover, that_is_not_permitted)
{
    if (geteuid() != 0) {
        cr_skip("keepers of the same user may be copied");
    }
    start();
    penstock_kill();
    struct bed_process second = penstock_spawn(bed_path("penstock.yaml"), with_less_than_keepers);
    cr_assert_eq(bed_wait(second.pid), 1);
    const char *said = bed_read_file(second.err);
    cr_assert(strstr(said, "event=takeover_failed") != NULL && strstr(said, "CAP_SYS_PTRACE") != NULL, "%s",
              said);
    net_exchange_all(pairs, SESSIONS);
    net_exchange_new(listener, SESSIONS);
    penstock_start_again();
    net_exchange_all(pairs, SESSIONS);
    close_all();
    bed_end();
}
