#include "core/relay.h"

#include <errno.h>

#include "core/check.h"
#include "core/lent.h"

static enum side other_side(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_SERVER : SIDE_CLIENT;
}

static enum close_reason reset_reason(enum side side)
{
    return side == SIDE_CLIENT ? CLOSE_CLIENT_RESET : CLOSE_SERVER_RESET;
}

static void op_ended(struct conn *conn, enum conn_op op)
{
    CHECK(conn->in_flight & op);
    conn->in_flight &= (uint8_t)~op;
    if (op & CONN_OP_INPUT) {
        conn->flags &= (uint16_t)~CONN_CANCEL_INPUT;
    }
}

static void cancel_input(struct session *session, enum side side, struct relay_actions *actions)
{
    struct conn *conn = &session->conn[side];

    if ((conn->in_flight & CONN_OP_INPUT) && !(conn->flags & CONN_CANCEL_INPUT)) {
        conn->flags |= CONN_CANCEL_INPUT;
        actions->todo |= RELAY_DO_CANCEL_INPUT << side;
    }
}

static void give_back_pipe(struct session *session, enum side side, struct relay_actions *actions)
{
    struct conn *conn = &session->conn[side];

    if (conn->pipe != PIPE_NONE) {
        actions->pipes[side].pipe = conn->pipe;
        actions->pipes[side].bytes = conn->queued_bytes;
        conn->pipe = PIPE_NONE;
        conn->queued_bytes = 0;
    }
}

/* Gives back what cannot be sent any more, unless a send still refers to it: then its end does. Buffers
 * released in this step before are the list's front, so the lists join. */
static void drop_undeliverable(struct session *session, enum side to, const struct relay_env *env,
                               struct relay_actions *actions)
{
    struct conn *from = &session->conn[other_side(to)];

    if (session->conn[to].sink != SINK_DEAD || (session->conn[to].in_flight & CONN_OP_SEND) ||
        session->lent[to].count > 0) {
        return;
    }
    give_back_pipe(session, other_side(to), actions);
    struct buffer_list rest = chain_clear(from, &env->table);
    if (actions->released.count == 0) {
        actions->released.first = rest.first;
    }
    actions->released.count += rest.count;
}

/* The connection of `side` is gone: what it sent is still passed on, then the other side is reset. */
static void conn_died(struct session *session, enum side side, const struct relay_env *env,
                      struct relay_actions *actions)
{
    session->conn[side].sink = SINK_DEAD;
    drop_undeliverable(session, side, env, actions);
}

static enum close_reason connect_reason(int result)
{
    switch (-result) {
    case ECONNREFUSED:
    case ENOENT: /* a unix socket that is not there */
        return CLOSE_CONNECT_REFUSED;
    case ECANCELED:
    case ETIMEDOUT:
        return CLOSE_CONNECT_TIMEOUT;
    case EADDRNOTAVAIL:
        return CLOSE_NO_SOURCE_PORT;
    case EHOSTUNREACH:
    case ENETUNREACH:
        return CLOSE_CONNECT_UNREACHABLE;
    default:
        return CLOSE_CONNECT_ERROR;
    }
}

static void connect_failed(struct session *session, int result, const struct relay_env *env,
                           struct relay_actions *actions)
{
    session->reason = (uint8_t)connect_reason(result);
    if (session->tries < IMAGE_RETRIES_MAX) {
        session->tried[session->tries] = session->server_row;
    }
    session->tries++;
    actions->todo |= RELAY_DO_DROP_SERVER;
    if (session->tries > env->retries) {
        session_close(session, session->reason, true, env->now_ms);
    } else {
        session_set_phase(session, SESSION_CHOOSING, env->now_ms);
    }
}

static void wait_for_port(struct session *session, struct relay_actions *actions)
{
    session->conn[SIDE_SERVER].flags |= CONN_NO_PORT;
    actions->todo |= RELAY_DO_PAUSE;
}

static void on_connected(struct session *session, const struct relay_event *event,
                         const struct relay_env *env, struct relay_actions *actions)
{
    struct conn *server = &session->conn[SIDE_SERVER];
    bool by_us = (server->flags & CONN_CANCEL_INPUT) != 0;

    op_ended(server, CONN_OP_CONNECT);
    if (session->phase != SESSION_CONNECTING) {
        return;
    }
    if (event->result == 0 || event->result == -EISCONN) {
        session->reason = CLOSE_NONE;
        session->connected_us = env->now_us;
        session_set_phase(session, SESSION_OPEN, env->now_ms);
    } else if (event->result == -EADDRNOTAVAIL && server->port_tries < RELAY_PORT_TRIES) {
        server->port_tries++; /* plan asks for the connect again, from another port */
    } else if (event->result == -EADDRNOTAVAIL) {
        wait_for_port(session, actions);
    } else if (event->result == -EALREADY || event->result == -EINPROGRESS ||
               (event->result == -ECANCELED &&
                !by_us)) { /* under way since before a death, or cut off by it */
        server->flags |= CONN_CONNECT_POLL;
    } else {
        connect_failed(session, event->result, env, actions);
    }
}

static void on_chosen(struct session *session, const struct relay_event *event, const struct relay_env *env)
{
    struct conn *server = &session->conn[SIDE_SERVER];

    CHECK(server->fd == -1);
    server->fd = event->fd;
    server->flags = 0; /* of the connect before */
    server->port_tries = 0;
    server->cookie = event->cookie;
    session->server_row = event->row;
    session_set_phase(session, SESSION_CONNECTING, env->now_ms);
}

static void on_no_server(struct session *session, const struct relay_event *event,
                         const struct relay_env *env)
{
    enum close_reason reason = CLOSE_NO_RESOURCES;

    if (event->result == 0) { /* all were tried: the reason of the last failure stands */
        reason = session->reason != CLOSE_NONE ? session->reason : CLOSE_NO_SERVER;
    }
    session_close(session, reason, true, env->now_ms);
}

static void stop_streaming(struct conn *conn)
{
    conn->flags &= (uint16_t) ~(CONN_STREAMING | CONN_READABLE | CONN_TRICKLE | CONN_FULL);
}

/* What the size of a receive says about the messages to come: two large buffers filled in a row are a stream. */
static void note_size(const struct session *session, struct conn *conn, const struct relay_event *event,
                      const struct relay_env *env)
{
    uint32_t otherwise = SESSION_NEVER_STREAMS | SESSION_ZERO_COPY << other_side(event->side);
    bool streams = (conn->flags & CONN_FULL) && env->pipes && !(session->flags & otherwise);

    if ((uint32_t)event->result < buffer_capacity(&env->table, event->buffer)) {
        conn->flags |= CONN_INTERACTIVE;
        conn->flags &= (uint16_t)~CONN_FULL;
        return;
    }
    conn->flags &= (uint16_t)~CONN_INTERACTIVE;
    if (event->result == BUFFER_LARGE_BYTES) {
        conn->flags |= (uint16_t)(streams ? CONN_FULL | CONN_STREAMING : CONN_FULL);
    }
}

static void on_received(struct session *session, const struct relay_event *event, const struct relay_env *env,
                        struct relay_actions *actions)
{
    struct conn *conn = &session->conn[event->side];

    if (!event->more) {
        op_ended(conn, CONN_OP_RECV);
    }
    conn->flags &= (uint16_t)~CONN_DOZING;
    if (event->side == SIDE_SERVER && conn->received_bytes == 0) {
        session->first_byte_us = env->now_us;
    }
    conn->received_bytes += (uint32_t)event->result;
    session->active_ms = env->now_ms;
    note_size(session, conn, event, env);
    chain_append(conn, &env->table, event->buffer, (uint32_t)event->result);
    drop_undeliverable(session, other_side(event->side), env, actions);
}

static void on_receive_ended(struct session *session, const struct relay_event *event,
                             const struct relay_env *env, struct relay_actions *actions)
{
    struct conn *conn = &session->conn[event->side];

    op_ended(conn, CONN_OP_RECV);
    switch (event->result) {
    case 0:
        conn->source = conn->sink == SINK_DEAD ? SOURCE_RESET : SOURCE_EOF;
        if (conn->sink == SINK_SHUT) {
            conn->flags |= CONN_FIN_FIRST;
        }
        if (event->side == SIDE_SERVER && session->conn[SIDE_CLIENT].source == SOURCE_OPEN) {
            session->flags |= SESSION_SERVER_FIRST;
        }
        session->active_ms = env->now_ms;
        break;
    case -ENOBUFS:
    case -ENOMEM:
        if (session->phase == SESSION_OPEN) {
            conn->flags |= CONN_WAITING;
            actions->todo |= RELAY_DO_WAIT << event->side;
        }
        break;
    case -ECANCELED:
    case -EAGAIN:
    case -EINTR:
        break;
    default: /* ECONNRESET, ETIMEDOUT, EPIPE, EHOSTUNREACH, ...: the connection is gone */
        conn->source = SOURCE_RESET;
        conn_died(session, event->side, env, actions);
        break;
    }
}

/* Bytes went from `side` into its pipe. Where the poll has said that there are some and a splice finds nothing, only a
 * receive can tell what there is: the end, an urgent byte, or nothing. */
static void on_filled(struct session *session, const struct relay_event *event, const struct relay_env *env,
                      struct relay_actions *actions)
{
    struct conn *conn = &session->conn[event->side];

    if (event->result > 0) {
        bool little = event->result < RELAY_STREAM_MIN_BYTES;
        conn->received_bytes += (uint32_t)event->result;
        conn->queued_bytes += (uint32_t)event->result;
        session->active_ms = env->now_ms;
        conn->flags &= (uint16_t)~CONN_READABLE;
        if (!little) {
            conn->flags &= (uint16_t)~CONN_TRICKLE;
        } else if (conn->flags & CONN_TRICKLE) {
            stop_streaming(conn);
        } else {
            conn->flags |= CONN_TRICKLE;
        }
        return;
    }
    give_back_pipe(session, event->side, actions);
    stop_streaming(conn);
    switch (event->result) {
    case 0:
    case -EAGAIN:
    case -EINTR:
    case -EINVAL:
    case -ENOBUFS: /* no pipe */
    case -ENOMEM:
        break;
    default: /* there may be more behind an urgent byte: the end of the receives is its reset */
        conn_died(session, event->side, env, actions);
        break;
    }
}

/* What a send that took nothing means: the kernel's buffer is full, it is worth trying again, or the connection is
 * gone. */
static enum { SEND_BLOCKED, SEND_AGAIN, SEND_FAILED } send_outcome(int error)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
        return SEND_BLOCKED;
    case EINTR:
    case ECANCELED: /* a death cut it off */
        return SEND_AGAIN;
    default:
        return SEND_FAILED;
    }
}

static void wait_until_writable(struct session *session, enum side side, struct relay_actions *actions)
{
    if (session->phase == SESSION_OPEN && session->conn[side].sink == SINK_OPEN) {
        session->conn[side].flags |= CONN_BLOCKED;
        actions->todo |= RELAY_DO_WATCH << side;
    }
}

static void send_failed(struct session *session, enum side side)
{
    struct conn *to = &session->conn[side];
    struct conn *from = &session->conn[other_side(side)];

    to->sink = SINK_DEAD;
    if (to->source == SOURCE_EOF) {
        to->source = SOURCE_RESET;
    }
    if (from->sink == SINK_DEAD && from->source == SOURCE_OPEN) {
        from->source = SOURCE_RESET; /* neither side is received from any more: nothing else would end this */
    }
}

static void on_drained(struct session *session, const struct relay_event *event, const struct relay_env *env,
                       struct relay_actions *actions)
{
    struct conn *from = &session->conn[other_side(event->side)];

    if (event->result > 0) {
        from->queued_bytes -= (uint32_t)event->result;
        session->active_ms = env->now_ms;
        if (from->queued_bytes > 0) {
            wait_until_writable(session, event->side, actions);
        } else {
            give_back_pipe(session, other_side(event->side), actions);
        }
    } else if (send_outcome(-event->result) == SEND_BLOCKED) {
        wait_until_writable(session, event->side, actions);
    } else if (send_outcome(-event->result) == SEND_FAILED) {
        send_failed(session, event->side);
    }
    drop_undeliverable(session, event->side, env, actions);
}

/* Where there is no memory for a zero-copy send, or no way, the session goes on with ordinary ones. True:
 * send again. */
static bool forgo_zero_copy(struct session *session, enum side side, int error)
{
    uint8_t flag = (uint8_t)(SESSION_ZERO_COPY << side);
    bool forgo = (session->flags & flag) && (error == ENOMEM || error == ENOBUFS || error == EOPNOTSUPP);

    session->flags &= (uint8_t) ~(forgo ? flag : 0);
    return forgo;
}

static void on_sent(struct session *session, const struct relay_event *event, const struct relay_env *env,
                    struct relay_actions *actions)
{
    struct conn *to = &session->conn[event->side];
    struct conn *from = &session->conn[other_side(event->side)];
    uint32_t bytes = event->result > 0 ? (uint32_t)event->result : 0;

    op_ended(to, CONN_OP_SEND);
    if (event->more) {
        lent_push(session, event->side, bytes);
        to->in_flight |= CONN_OP_NOTICE;
    }
    if (bytes > 0) {
        session->active_ms = env->now_ms;
        if (!event->more && !lent_extend(session, event->side, bytes)) {
            actions->released = chain_consume(from, &env->table, bytes);
        }
        if (bytes < to->offered_bytes) {
            wait_until_writable(session, event->side, actions);
        }
    } else if (forgo_zero_copy(session, event->side, -event->result)) {
        /* plan asks for the send again */
    } else if (send_outcome(-event->result) == SEND_BLOCKED) {
        wait_until_writable(session, event->side, actions);
    } else if (send_outcome(-event->result) == SEND_FAILED) {
        send_failed(session, event->side);
    }
    drop_undeliverable(session, event->side, env, actions);
}

static void on_returned(struct session *session, const struct relay_event *event, const struct relay_env *env,
                        struct relay_actions *actions)
{
    struct conn *from = &session->conn[other_side(event->side)];
    uint32_t bytes = lent_return(session, event->side, event->places);

    if (session->lent[event->side].count == 0) {
        session->conn[event->side].in_flight &= (uint8_t)~CONN_OP_NOTICE;
    }
    if (bytes > 0) {
        session->active_ms = env->now_ms;
        actions->released = chain_consume(from, &env->table, bytes);
    }
    drop_undeliverable(session, event->side, env, actions);
}

/* Asks for the connect again, until it has taken too long. */
static void look_for_port(struct session *session, const struct relay_env *env, struct relay_actions *actions)
{
    uint32_t connect_ms = env->timeouts.connect_ms;
    uint32_t most_ms = connect_ms != 0 && connect_ms < RELAY_PORT_WAIT_MS ? connect_ms : RELAY_PORT_WAIT_MS;

    session->conn[SIDE_SERVER].flags &= (uint16_t)~CONN_NO_PORT;
    session->conn[SIDE_SERVER].port_tries = 0;
    if (env->now_ms - session->active_ms >= most_ms) {
        connect_failed(session, -EADDRNOTAVAIL, env, actions);
    }
}

static void on_timed_out(struct session *session, const struct relay_env *env, struct relay_actions *actions)
{
    const struct image_timeouts *timeouts = &env->timeouts;

    if (session->phase == SESSION_CONNECTING && timeouts->connect_ms != 0 &&
        env->now_ms - session->active_ms >= timeouts->connect_ms) {
        cancel_input(session, SIDE_SERVER, actions);
    }
    if (session->phase == SESSION_CONNECTING && (session->conn[SIDE_SERVER].flags & CONN_NO_PORT)) {
        look_for_port(session, env, actions);
    }
    if (session->phase != SESSION_OPEN) {
        return;
    }
    if (env->heard_ms > session->active_ms) {
        session->active_ms = env->heard_ms;
    }
    enum close_reason silence = session_silence(session, timeouts, env->now_ms);
    if (silence != CLOSE_NONE) {
        session_close(session, silence, false, env->now_ms);
    } else if (env->now_ms - session->active_ms >= SESSION_DOZE_AFTER_MS) {
        for (int side = 0; side < SIDE_COUNT; side++) {
            if (conn_may_doze(&session->conn[side])) {
                session->conn[side].flags |= CONN_DOZING;
            }
        }
    }
}

static void on_polled(struct session *session, const struct relay_event *event, const struct relay_env *env,
                      struct relay_actions *actions)
{
    struct conn *conn = &session->conn[event->side];
    bool by_us = (conn->flags & CONN_CANCEL_INPUT) != 0;

    op_ended(conn, CONN_OP_POLL);
    if (event->result != -ECANCELED) {
        conn->flags &= (uint16_t) ~(CONN_DOZING | CONN_CONNECT_POLL);
        if (!event->more) {
            stop_streaming(conn); /* a receive tells what it is */
        } else if (conn->flags & CONN_STREAMING) {
            conn->flags |= CONN_READABLE;
        }
    } else if (session->phase == SESSION_CONNECTING && by_us) {
        connect_failed(session, -ETIMEDOUT, env, actions);
    }
}

static void plan_connecting(const struct session *session, struct relay_actions *actions)
{
    const struct conn *server = &session->conn[SIDE_SERVER];

    if (server->in_flight == 0 && !(server->flags & CONN_NO_PORT)) {
        actions->todo |= server->flags & CONN_CONNECT_POLL ? RELAY_DO_POLL << SIDE_SERVER : RELAY_DO_CONNECT;
    }
}

/* How a side is received from next. A stream's pipe is filled when what was received before is through. */
static uint32_t arm_or_splice(const struct conn *from)
{
    if (!(from->flags & CONN_STREAMING)) {
        return from->flags & CONN_DOZING ? RELAY_DO_POLL : RELAY_DO_RECV;
    }
    if (from->queued_bytes > 0) {
        return 0;
    }
    return from->flags & CONN_READABLE ? RELAY_DO_FILL : RELAY_DO_POLL;
}

/* One direction of an open session: receive from `side`, send to the other, pass on EOF. */
static void plan_direction(struct session *session, enum side side, const struct relay_env *env,
                           struct relay_actions *actions)
{
    struct conn *from = &session->conn[side];
    struct conn *to = &session->conn[other_side(side)];
    bool armed = (from->in_flight & (CONN_OP_RECV | CONN_OP_POLL)) != 0;
    /* Stop at the share, start again at half of it: without the gap every send would cancel and re-arm. */
    uint32_t limit = armed ? env->share_bytes : env->share_bytes / 2;
    bool room = from->held_bytes == 0 || from->held_bytes < limit;
    bool want = from->source == SOURCE_OPEN && to->sink == SINK_OPEN && room && !(from->flags & CONN_WAITING);

    if (want && !armed && from->pipe == PIPE_NONE) {
        actions->todo |= arm_or_splice(from) << side;
    }
    bool rest = (from->flags & (CONN_DOZING | CONN_STREAMING)) && (from->in_flight & CONN_OP_RECV);
    if (armed && (!want || rest)) {
        cancel_input(session, side, actions);
    }
    bool sends = (to->in_flight & CONN_OP_SEND) || lent_blindly(session, other_side(side));
    if (to->sink == SINK_OPEN && !sends && !(to->flags & CONN_BLOCKED)) {
        if (from->queued_bytes > lent_bytes(session, other_side(side))) {
            actions->todo |= (from->pipe != PIPE_NONE ? RELAY_DO_DRAIN : RELAY_DO_SEND) << other_side(side);
        } else if (from->source == SOURCE_EOF) {
            to->sink = SINK_SHUT;
            actions->todo |= RELAY_DO_SHUTDOWN << other_side(side);
        }
    }
}

/* Ends an open session whose directions are through. */
static void conclude(struct session *session, const struct relay_env *env)
{
    bool through = true;

    for (int side = 0; side < SIDE_COUNT; side++) {
        const struct conn *conn = &session->conn[side];
        if (conn->source == SOURCE_RESET && conn->queued_bytes == 0) {
            session_close(session, reset_reason(side), true, env->now_ms);
            return;
        }
        through = through && conn->source == SOURCE_EOF && conn->sink == SINK_SHUT && conn->queued_bytes == 0;
    }
    if (through) {
        bool server_first = (session->flags & SESSION_SERVER_FIRST) != 0;
        session_close(session, server_first ? CLOSE_SERVER_CLOSED : CLOSE_CLIENT_CLOSED, false, env->now_ms);
    }
}

/* Buffers that are lent come back when the peer has acknowledged them, or at once by a reset; an orderly
 * close would leave the kernel reading them. */
static void plan_closing(struct session *session, struct relay_actions *actions)
{
    const uint32_t splices = (RELAY_DO_FILL | RELAY_DO_DRAIN) * 3u; /* of both sides */
    uint32_t resets = 0;
    uint8_t in_flight = 0;

    actions->todo &= ~splices;
    for (int side = 0; side < SIDE_COUNT; side++) {
        const struct conn *conn = &session->conn[side];
        in_flight |= conn->in_flight;
        cancel_input(session, side, actions);
        if (session->lent[side].count > 0) {
            session->flags |= SESSION_ABORT;
            resets |= RELAY_DO_RESET << side;
        }
    }
    if (in_flight != 0) {
        actions->todo |= resets;
    } else {
        actions->todo |= RELAY_DO_FINISH;
        actions->todo &= ~(uint32_t)(RELAY_DO_SHUTDOWN << SIDE_CLIENT | RELAY_DO_SHUTDOWN << SIDE_SERVER);
    }
}

static void plan(struct session *session, const struct relay_env *env, struct relay_actions *actions)
{
    if (session->phase == SESSION_OPEN) {
        for (int side = 0; side < SIDE_COUNT; side++) {
            plan_direction(session, side, env, actions);
        }
        conclude(session, env);
    }
    switch ((enum session_phase)session->phase) {
    case SESSION_CHOOSING:
        actions->todo |= RELAY_DO_CHOOSE;
        break;
    case SESSION_CONNECTING:
        plan_connecting(session, actions);
        break;
    case SESSION_CLOSING:
        plan_closing(session, actions);
        break;
    default:
        break;
    }
}

struct relay_actions relay_step(struct session *session, const struct relay_event *event,
                                const struct relay_env *env)
{
    struct relay_actions actions = {.pipes = {{.pipe = PIPE_NONE}, {.pipe = PIPE_NONE}}};

    switch (event->kind) {
    case RELAY_PLAN:
        break;
    case RELAY_CHOSEN:
        on_chosen(session, event, env);
        break;
    case RELAY_NO_SERVER:
        on_no_server(session, event, env);
        break;
    case RELAY_NO_PORT:
        wait_for_port(session, &actions);
        break;
    case RELAY_CONNECTED:
        on_connected(session, event, env, &actions);
        break;
    case RELAY_RECEIVED:
        on_received(session, event, env, &actions);
        break;
    case RELAY_RECEIVE_ENDED:
        on_receive_ended(session, event, env, &actions);
        break;
    case RELAY_SENT:
        on_sent(session, event, env, &actions);
        break;
    case RELAY_RETURNED:
        on_returned(session, event, env, &actions);
        break;
    case RELAY_POLLED:
        on_polled(session, event, env, &actions);
        break;
    case RELAY_FILLED:
        on_filled(session, event, env, &actions);
        break;
    case RELAY_DRAINED:
        on_drained(session, event, env, &actions);
        break;
    case RELAY_WRITABLE:
        session->conn[event->side].flags &= (uint16_t)~CONN_BLOCKED;
        break;
    case RELAY_GRANTED:
        session->conn[event->side].flags &= (uint16_t)~CONN_WAITING;
        break;
    case RELAY_TIMED_OUT:
        on_timed_out(session, env, &actions);
        break;
    case RELAY_STOP:
        session_close(session, event->reason, true, env->now_ms);
        break;
    }
    if (!env->adopting) {
        plan(session, env, &actions);
    }
    return actions;
}
