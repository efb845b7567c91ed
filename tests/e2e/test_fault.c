/* Sessions whose records are damaged, or which their worker dies of: reset alone, the others go on. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "shm/session_slab.h"
#include "shm/worker_slot.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

enum { SESSIONS = 5, BAD = 2 };

static struct net_pair pairs[SESSIONS];
static struct region region; /* the instance's own, writable */

static void map_region(void)
{
    pid_t worker = penstock_worker(0);
    int fds[SEGMENT_COUNT];

    for (int i = 0; i < SEGMENT_COUNT; i++) { /* cmd/descriptors.h: FD_HEAD and those that follow */
        fds[i] = open(bed_format("/proc/%d/fd/%d", worker, 3 + i), i == SEGMENT_HEAD ? O_RDONLY : O_RDWR);
        cr_assert_geq(fds[i], 0, "root only");
    }
    cr_assert_eq(region_attach(&region, fds, true), 0);
}

static void set_up(void)
{
    uint16_t port;
    int listener;

    bed_begin();
    listener = net_listen(&port, 16);
    penstock_start(&(struct penstock_config){
        .workers = 1, .servers = bed_format("127.0.0.1:%u", port), .more = "watchdog: 2s"});
    map_region();
    for (int i = 0; i < SESSIONS; i++) {
        pairs[i] = net_pair(listener);
        net_pass(pairs[i].client, pairs[i].server, "hello");
    }
}

TestSuite(fault, .init = set_up, .fini = bed_fini, .timeout = 60);

static struct session *record_of(const struct net_pair *pair)
{
    uint16_t port = net_local_port(pair->client);

    for (uint32_t i = 0; i < region_slot(&region, 0)->session_high; i++) {
        struct session *session = region_row(&region, TABLE_SESSIONS, i);
        if (session->phase == SESSION_OPEN && session->source_port == port) {
            return session;
        }
    }
    cr_assert_fail("no session of port %u", port);
    return NULL;
}

static void expect_only_the_bad_one_is_reset(void)
{
    net_expect_reset(pairs[BAD].client);
    net_expect_reset(pairs[BAD].server);
    for (int i = 0; i < SESSIONS; i++) {
        if (i != BAD) {
            net_exchange(&pairs[i]);
        }
    }
    WAIT_UNTIL(penstock_number("sessions") == SESSIONS - 1);
}

/* Each damage a record's check has to find. */
#define DAMAGED(name, damage)                                                \
    Test(fault, name)                                                        \
    {                                                                        \
        struct session *session = record_of(&pairs[BAD]);                    \
                                                                             \
        damage;                                                              \
        cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);                  \
        expect_only_the_bad_one_is_reset();                                  \
        cr_assert_eq(penstock_number("stats.damaged"), 1);                   \
        cr_assert_eq(penstock_number("closes.lost"), 1);                     \
        cr_assert(strstr(penstock_log(), "event=session_given_up") != NULL); \
        bed_end();                                                           \
    }

DAMAGED(source_out_of_range, session->conn[SIDE_SERVER].source = 77)
DAMAGED(bytes_without_a_buffer, session->conn[SIDE_CLIENT].queued_bytes = 5)
DAMAGED(a_buffer_that_is_not_there, session->conn[SIDE_CLIENT].chain_head = 1u << 30)
DAMAGED(a_pipe_that_is_not_there, session->conn[SIDE_CLIENT].pipe = 1000)
DAMAGED(listener_out_of_range, session->listener_row = 60000)
DAMAGED(two_receives_at_once, session->conn[SIDE_CLIENT].in_flight = CONN_OP_RECV | CONN_OP_POLL)

/* A completion that no worker survives: its session is reset at the third fault, whose adoption leaves it out. */
Test(fault, a_session_the_worker_dies_of_is_reset)
{
    struct session *session = record_of(&pairs[BAD]);
    const struct slot_suspect *suspect = &region_slot(&region, 0)->suspect;

    session->conn[SIDE_CLIENT].chain_head = 1; /* with a tail far outside */
    session->conn[SIDE_CLIENT].chain_tail = UINT32_MAX - 1;
    net_write_text(pairs[BAD].client, "the last straw");
    expect_only_the_bad_one_is_reset();
    cr_assert_eq(region_row(&region, TABLE_SESSIONS, suspect->session), session);
    cr_assert_eq(penstock_number("workers.0.deaths"), 3);
    cr_assert_eq(penstock_number("closes.faulty"), 1);
    cr_assert_eq(penstock_number("stats.damaged"), 0);
    bed_end();
}

/* A worker that does not come back is killed, and adopted as any. */
Test(fault, a_worker_that_hangs_is_replaced)
{
    pid_t worker = penstock_worker(0);

    cr_assert_eq(kill(worker, SIGSTOP), 0);
    net_pass(pairs[0].client, pairs[0].server, "is anybody there?");
    cr_assert(strstr(penstock_log(), bed_format("event=worker_hangs slot=0 pid=%d", worker)) != NULL);
    cr_assert_neq(penstock_worker(0), worker);
    cr_assert_eq(penstock_number("workers.0.deaths"), 1);
    cr_assert_eq(penstock_number("sessions"), SESSIONS);
    bed_end();
}

/* Kills from outside are nobody's fault, whatever was being handled. */
Test(fault, kills_from_outside_are_nobodys)
{
    volatile struct worker_slot *slot = region_slot(&region, 0);

    for (int i = 1; i <= 5; i++) {
        cr_assert_eq(kill(penstock_worker(0), SIGSTOP), 0);
        slot->handling = 0;
        cr_assert_eq(kill(penstock_worker(0), i % 2 ? SIGKILL : SIGABRT), 0);
        (void)kill(penstock_worker(0), SIGCONT);
        WAIT_UNTIL(slot->epoch == (uint32_t)i + 1 && slot->state == SLOT_SERVING);
    }
    cr_assert_eq(slot->suspect.faults, 0);
    for (int i = 0; i < SESSIONS; i++) {
        net_pass(pairs[i].client, pairs[i].server, "still here");
    }
    bed_end();
}
