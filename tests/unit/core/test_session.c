/* Sessions: how they begin, every step between phases, what the check of a record refuses, when one is due. */
#include "core/session.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(session);

/* A session in `phase`, reached by legal steps. */
static struct session session_in(enum session_phase phase)
{
    static const enum session_phase path[] = {SESSION_CHOOSING, SESSION_CONNECTING, SESSION_OPEN};
    struct session session = {.generation = 7, .serial = 9};

    if (phase == SESSION_FREE) {
        return session;
    }
    session_init(&session, 5, 55, 1000000);
    for (size_t i = 1; i < sizeof(path) / sizeof(path[0]) && session.phase != phase && phase <= SESSION_OPEN;
         i++) {
        session_set_phase(&session, path[i], 1000);
        session.conn[SIDE_SERVER].fd = 6;
    }
    if (phase == SESSION_CLOSING) {
        session_close(&session, CLOSE_STOPPED, false, 1000);
    }
    cr_assert_eq(session.phase, phase);
    return session;
}

Test(session, init_makes_a_fresh_session_and_keeps_what_counts_on)
{
    struct session session;

    memset(&session, 0xaa, sizeof(session));
    session.phase = SESSION_FREE;
    session.generation = 41;
    session.serial = 12;
    session_init(&session, 3, 0x1234, 5000500);
    cr_expect_eq(session.generation, 41);
    cr_expect_eq(session.serial, 12);
    cr_expect_eq(session.phase, SESSION_CHOOSING);
    cr_expect_eq(session.reason, CLOSE_NONE);
    cr_expect_eq(session.flags, 0);
    cr_expect_eq(session.tries, 0);
    cr_expect_eq(session.accepted_us, 5000500);
    cr_expect_eq(session.active_ms, 5000);
    cr_expect_eq(session.server_row, ROW_NONE);
    cr_expect_eq(session.wheel_slot, SESSION_NONE);
    cr_expect_eq(session.conn[SIDE_CLIENT].fd, 3);
    cr_expect_eq(session.conn[SIDE_CLIENT].cookie, 0x1234);
    cr_expect_eq(session.conn[SIDE_SERVER].fd, -1);
    for (int side = 0; side < SIDE_COUNT; side++) {
        cr_expect_eq(session.conn[side].flow, FLOW_NONE);
        cr_expect_eq(session.conn[side].chain_head, BUFFER_NONE);
        cr_expect_eq(session.conn[side].chain_tail, BUFFER_NONE);
        cr_expect_eq(session.conn[side].queued_bytes, 0);
        cr_expect_eq(session.conn[side].in_flight, 0);
    }
    cr_expect(session_check(&session));
}

Test(session, init_of_a_session_in_use_dies, .signal = SIGABRT)
{
    struct session session = session_in(SESSION_OPEN);

    session_init(&session, 3, 1, 1);
}

/* Said a second time, apart from session.def. */
static bool step_is_legal(enum session_phase from, enum session_phase to)
{
    static const char *const legal[SESSION_PHASE_COUNT] = {
        /* one letter a phase: Free cHoosing connEcting Open Closing */
        [SESSION_FREE] = "h", [SESSION_CHOOSING] = "ec", [SESSION_CONNECTING] = "hoc",
        [SESSION_OPEN] = "c", [SESSION_CLOSING] = "f",
    };
    static const char letters[] = "fheoc";

    return strchr(legal[from], letters[to]) != NULL;
}

Test(session, every_legal_step_is_taken_and_dated)
{
    for (int from = 0; from < SESSION_PHASE_COUNT; from++) {
        for (int to = 0; to < SESSION_PHASE_COUNT; to++) {
            if (!step_is_legal(from, to)) {
                continue;
            }
            struct session session = session_in(from);
            session_set_phase(&session, to, 4711);
            cr_expect_eq(session.phase, to);
            cr_expect_eq(session.active_ms, 4711);
        }
    }
}

/* Every process may die but once: the pairs that are left out of session.def, one test each. */
#define ILLEGAL_STEP(from, to)                                      \
    Test(session, no_step_from_##from##_to_##to, .signal = SIGABRT) \
    {                                                               \
        struct session session = session_in(SESSION_##from);        \
        cr_assert_not(step_is_legal(SESSION_##from, SESSION_##to)); \
        session_set_phase(&session, SESSION_##to, 1);               \
    }

ILLEGAL_STEP(FREE, FREE)
ILLEGAL_STEP(FREE, CONNECTING)
ILLEGAL_STEP(FREE, OPEN)
ILLEGAL_STEP(FREE, CLOSING)
ILLEGAL_STEP(CHOOSING, FREE)
ILLEGAL_STEP(CHOOSING, CHOOSING)
ILLEGAL_STEP(CHOOSING, OPEN)
ILLEGAL_STEP(CONNECTING, FREE)
ILLEGAL_STEP(CONNECTING, CONNECTING)
ILLEGAL_STEP(OPEN, FREE)
ILLEGAL_STEP(OPEN, CHOOSING)
ILLEGAL_STEP(OPEN, CONNECTING)
ILLEGAL_STEP(OPEN, OPEN)
ILLEGAL_STEP(CLOSING, CHOOSING)
ILLEGAL_STEP(CLOSING, CONNECTING)
ILLEGAL_STEP(CLOSING, OPEN)
ILLEGAL_STEP(CLOSING, CLOSING)

Test(session, a_damaged_phase_is_not_stepped_from, .signal = SIGABRT)
{
    struct session session = session_in(SESSION_OPEN);

    session.phase = 200;
    session_set_phase(&session, SESSION_CLOSING, 1);
}

Test(session, the_first_close_reason_stays)
{
    struct session session = session_in(SESSION_OPEN);

    session_close(&session, CLOSE_SERVER_RESET, true, 10);
    session_close(&session, CLOSE_STOPPED, false, 20);
    cr_expect_eq(session.phase, SESSION_CLOSING);
    cr_expect_eq(session.reason, CLOSE_SERVER_RESET);
    cr_expect_eq(session.flags & SESSION_ABORT, SESSION_ABORT);
    cr_expect_eq(session.active_ms, 10);
}

Test(session, an_orderly_close_does_not_abort)
{
    struct session session = session_in(SESSION_OPEN);

    session_close(&session, CLOSE_CLIENT_CLOSED, false, 10);
    cr_expect_eq(session.flags & SESSION_ABORT, 0);
}

Test(session, check_accepts_every_phase)
{
    for (int phase = 0; phase < SESSION_PHASE_COUNT; phase++) {
        struct session session = session_in(phase);
        cr_expect(session_check(&session), "%s", session_phase_text(phase));
    }
}

/* One damage at a time: DAMAGE(phase it is done in, what is stored). */
#define DAMAGE(phase, store)                                                                    \
    do {                                                                                        \
        struct session session = session_in(SESSION_##phase);                                   \
        struct conn *client = &session.conn[SIDE_CLIENT], *server = &session.conn[SIDE_SERVER]; \
        (void)client, (void)server;                                                             \
        store;                                                                                  \
        cr_expect_not(session_check(&session), #phase ": " #store);                             \
    } while (0)

Test(session, check_refuses_damage_of_the_shared_part)
{
    DAMAGE(OPEN, session.phase = SESSION_PHASE_COUNT);
    DAMAGE(OPEN, session.reason = CLOSE_REASON_COUNT);
    DAMAGE(OPEN, session.tries = IMAGE_RETRIES_MAX + 2);
    DAMAGE(CLOSING, session.reason = CLOSE_NONE);
}

Test(session, check_refuses_damage_of_a_connection)
{
    DAMAGE(OPEN, client->fd = -1);
    DAMAGE(OPEN, client->fd = -2);
    DAMAGE(OPEN, server->fd = -1);
    DAMAGE(CONNECTING, server->fd = -1);
    DAMAGE(CHOOSING, client->fd = -1);
    DAMAGE(CHOOSING, server->in_flight = CONN_OP_CONNECT);
    DAMAGE(CHOOSING, client->received_bytes = 1);
    DAMAGE(CONNECTING, client->received_bytes = 1);
    DAMAGE(OPEN, client->source = SOURCE_COUNT);
    DAMAGE(OPEN, server->sink = SINK_COUNT);
    DAMAGE(OPEN, client->in_flight = CONN_OP_ALL + 1);
    DAMAGE(OPEN, client->in_flight = CONN_OP_RECV | CONN_OP_POLL);
    DAMAGE(OPEN, server->in_flight = CONN_OP_CONNECT | CONN_OP_POLL);
    DAMAGE(OPEN, client->queued_bytes = 1);
    DAMAGE(OPEN, server->chain_head = 0);
    DAMAGE(CLOSING, server->in_flight = CONN_OP_SEND);
}

Test(session, due_is_never_unless_a_timeout_is_set)
{
    static const struct image_timeouts none = {0};
    static const struct image_timeouts all = {
        .connect_ms = 1, .idle_ms = 2, .half_closed_ms = 3, .drain_ms = 4};

    for (int phase = 0; phase < SESSION_PHASE_COUNT; phase++) {
        struct session session = session_in(phase);
        cr_expect_eq(session_due_ms(&session, &none), UINT64_MAX, "%s", session_phase_text(phase));
        bool timed = phase == SESSION_CONNECTING || phase == SESSION_OPEN;
        cr_expect_eq(session_due_ms(&session, &all) != UINT64_MAX, timed, "%s", session_phase_text(phase));
    }
}

Test(session, due_is_the_earliest_of_what_applies)
{
    static const struct {
        enum session_phase phase;
        struct image_timeouts timeouts;
        enum conn_sink client_sink, server_sink;
        bool armed;
        uint64_t due_ms;
    } cases[] = {
        {SESSION_CONNECTING, {.connect_ms = 300, .idle_ms = 5}, SINK_OPEN, SINK_OPEN, false, 1300},
        {SESSION_OPEN, {.connect_ms = 5, .idle_ms = 700}, SINK_OPEN, SINK_OPEN, false, 1700},
        {SESSION_OPEN, {.idle_ms = 700, .half_closed_ms = 40}, SINK_OPEN, SINK_OPEN, false, 1700},
        {SESSION_OPEN, {.idle_ms = 700, .half_closed_ms = 40}, SINK_SHUT, SINK_OPEN, false, 1040},
        {SESSION_OPEN, {.idle_ms = 700, .half_closed_ms = 40}, SINK_OPEN, SINK_DEAD, false, 1040},
        {SESSION_OPEN, {.idle_ms = 700, .half_closed_ms = 900}, SINK_OPEN, SINK_SHUT, false, 1700},
        {SESSION_OPEN, {.half_closed_ms = 900}, SINK_OPEN, SINK_SHUT, false, 1900},
        {SESSION_OPEN, {.half_closed_ms = 900}, SINK_OPEN, SINK_OPEN, false, UINT64_MAX},
        {SESSION_OPEN, {0}, SINK_OPEN, SINK_OPEN, true, 1000 + SESSION_DOZE_AFTER_MS},
        {SESSION_OPEN, {.idle_ms = 3600000}, SINK_OPEN, SINK_OPEN, true, 1000 + SESSION_DOZE_AFTER_MS},
        {SESSION_OPEN, {.idle_ms = 700}, SINK_OPEN, SINK_OPEN, true, 1700},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct session session = session_in(cases[i].phase);
        session.conn[SIDE_CLIENT].sink = cases[i].client_sink;
        session.conn[SIDE_SERVER].sink = cases[i].server_sink;
        session.conn[SIDE_SERVER].in_flight = cases[i].armed ? CONN_OP_RECV : 0;
        cr_expect_eq(session_due_ms(&session, &cases[i].timeouts), cases[i].due_ms, "case %zu", i);
    }
}

Test(session, only_an_armed_receive_without_data_may_doze)
{
    struct conn conn = {.in_flight = CONN_OP_RECV};

    cr_expect(conn_may_doze(&conn));
    conn.queued_bytes = 1;
    cr_expect_not(conn_may_doze(&conn));
    conn = (struct conn){.in_flight = CONN_OP_POLL};
    cr_expect_not(conn_may_doze(&conn));
    conn = (struct conn){.in_flight = CONN_OP_RECV, .flags = CONN_DOZING};
    cr_expect_not(conn_may_doze(&conn));
}

Test(session, texts_are_there_and_damage_has_one)
{
    cr_expect_str_eq(session_phase_text(SESSION_FREE), "free");
    cr_expect_str_eq(session_phase_text(SESSION_CLOSING), "closing");
    cr_expect_str_eq(session_phase_text(SESSION_PHASE_COUNT), "damaged");
    cr_expect_str_eq(close_reason_text(CLOSE_NONE), "none");
    cr_expect_str_eq(close_reason_text(CLOSE_LOST), "lost");
    cr_expect_str_eq(close_reason_text((enum close_reason)255), "damaged");
    for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
        cr_expect_gt(strlen(close_reason_text(i)), 0);
        for (int j = 0; j < i; j++) {
            cr_expect_str_neq(close_reason_text(i), close_reason_text(j));
        }
    }
}
