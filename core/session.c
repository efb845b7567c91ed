#include "core/session.h"

#include <string.h>

#include "core/check.h"
#include "core/lent.h"

static const uint8_t step_allowed[SESSION_PHASE_COUNT][SESSION_PHASE_COUNT] = {
#define SESSION_STEP(from, to) [SESSION_##from][SESSION_##to] = 1,
#include "core/session.def"
#undef SESSION_STEP
};

static void conn_init(struct conn *conn, int fd, uint64_t cookie)
{
    *conn = (struct conn){
        .cookie = cookie,
        .fd = fd,
        .flow = FLOW_NONE,
        .chain_head = BUFFER_NONE,
        .chain_tail = BUFFER_NONE,
        .wait_next = SESSION_NONE,
        .wait_prev = SESSION_NONE,
        .pipe = PIPE_NONE,
    };
}

void session_init(struct session *session, int fd, uint64_t cookie, uint64_t now_us)
{
    uint32_t generation = session->generation;
    uint64_t serial = session->serial;

    CHECK(session->phase == SESSION_FREE);
    memset(session, 0, sizeof(*session));
    session->generation = generation;
    session->serial = serial;
    session->accepted_us = now_us;
    session->server_row = ROW_NONE;
    session->wheel_next = SESSION_NONE;
    session->wheel_prev = SESSION_NONE;
    session->wheel_slot = SESSION_NONE;
    conn_init(&session->conn[SIDE_CLIENT], fd, cookie);
    conn_init(&session->conn[SIDE_SERVER], -1, 0);
    session_set_phase(session, SESSION_CHOOSING, now_us / 1000);
}

void session_set_phase(struct session *session, enum session_phase phase, uint64_t now_ms)
{
    CHECK(session->phase < SESSION_PHASE_COUNT && step_allowed[session->phase][phase]);
    __atomic_store_n(&session->active_ms, now_ms, __ATOMIC_RELAXED);
    /* Readers that see it, acquire, see what was stored before. */
    __atomic_store_n(&session->phase, (uint8_t)phase, __ATOMIC_RELEASE);
}

void session_close(struct session *session, enum close_reason reason, bool abort, uint64_t now_ms)
{
    if (session->phase == SESSION_CLOSING) {
        return;
    }
    __atomic_store_n(&session->reason, (uint8_t)reason, __ATOMIC_RELAXED); /* readers may be copying */
    if (abort) {
        session->flags |= SESSION_ABORT;
    }
    session_set_phase(session, SESSION_CLOSING, now_ms);
}

static bool conn_check(const struct conn *conn)
{
    return conn->fd >= -1 && conn->source < SOURCE_COUNT && conn->sink < SINK_COUNT &&
           (conn->in_flight & ~CONN_OP_ALL) == 0 &&
           __builtin_popcount(conn->in_flight & CONN_OP_INPUT) <= 1 &&
           (conn->pipe == PIPE_NONE ? (conn->queued_bytes > 0) == (conn->chain_head != BUFFER_NONE)
                                    : conn->chain_head == BUFFER_NONE) &&
           (conn->fd >= 0 || conn->in_flight == 0);
}

bool session_check(const struct session *session)
{
    const struct conn *client = &session->conn[SIDE_CLIENT];
    const struct conn *server = &session->conn[SIDE_SERVER];

    if (session->phase >= SESSION_PHASE_COUNT || session->reason >= CLOSE_REASON_COUNT ||
        session->tries > IMAGE_RETRIES_MAX + 1) {
        return false;
    }
    if (session->phase != SESSION_FREE &&
        (!conn_check(client) || !conn_check(server) || !lent_check(session, SIDE_CLIENT) ||
         !lent_check(session, SIDE_SERVER))) {
        return false; /* a record never used is all zeros */
    }
    switch ((enum session_phase)session->phase) {
    case SESSION_FREE:
        return true;
    case SESSION_CHOOSING:
        return client->fd >= 0 && server->in_flight == 0 && client->received_bytes == 0;
    case SESSION_CONNECTING:
        return client->fd >= 0 && server->fd >= 0 && client->received_bytes == 0;
    case SESSION_OPEN:
        return client->fd >= 0 && server->fd >= 0;
    default:
        return session->reason != CLOSE_NONE;
    }
}

static bool is_half_closed(const struct session *session)
{
    return session->conn[SIDE_CLIENT].sink != SINK_OPEN || session->conn[SIDE_SERVER].sink != SINK_OPEN;
}

uint64_t session_due_ms(const struct session *session, const struct image_timeouts *timeouts)
{
    uint64_t due = UINT64_MAX;

    if (session->phase == SESSION_CONNECTING) {
        return timeouts->connect_ms == 0 ? UINT64_MAX : session->active_ms + timeouts->connect_ms;
    }
    if (session->phase != SESSION_OPEN) {
        return UINT64_MAX;
    }
    if (timeouts->idle_ms != 0) {
        due = session->active_ms + timeouts->idle_ms;
    }
    if (is_half_closed(session) && timeouts->half_closed_ms != 0 &&
        session->active_ms + timeouts->half_closed_ms < due) {
        due = session->active_ms + timeouts->half_closed_ms;
    }
    bool may_doze = conn_may_doze(&session->conn[SIDE_CLIENT]) || conn_may_doze(&session->conn[SIDE_SERVER]);
    if (may_doze && session->active_ms + SESSION_DOZE_AFTER_MS < due) {
        due = session->active_ms + SESSION_DOZE_AFTER_MS;
    }
    return due;
}

enum close_reason session_silence(const struct session *session, const struct image_timeouts *timeouts,
                                  uint64_t now_ms)
{
    uint64_t silent_ms = now_ms - session->active_ms;

    if (session->phase != SESSION_OPEN) {
        return CLOSE_NONE;
    }
    if (timeouts->idle_ms != 0 && silent_ms >= timeouts->idle_ms) {
        return CLOSE_IDLE_TIMEOUT;
    }
    return is_half_closed(session) && timeouts->half_closed_ms != 0 && silent_ms >= timeouts->half_closed_ms
               ? CLOSE_HALF_CLOSED_TIMEOUT
               : CLOSE_NONE;
}

const char *session_phase_text(enum session_phase phase)
{
    static const char *const texts[] = {
#define SESSION_PHASE(name, text) [SESSION_##name] = text,
#include "core/session.def"
#undef SESSION_PHASE
    };
    return (unsigned)phase < SESSION_PHASE_COUNT ? texts[phase] : "damaged";
}

const char *close_reason_text(enum close_reason reason)
{
    static const char *const texts[] = {
#define CLOSE_REASON(name, text, meaning) [CLOSE_##name] = text,
#include "core/close_reason.def"
#undef CLOSE_REASON
    };
    return (unsigned)reason < CLOSE_REASON_COUNT ? texts[reason] : "damaged";
}
