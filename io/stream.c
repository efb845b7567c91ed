#include "io/stream.h"

#include <errno.h>

#include "io/relay.h"
#include "io/sock.h"

static enum side other_side(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_SERVER : SIDE_CLIENT;
}

/* The splice that is done first: out of pipes before into them. */
static uint32_t first_of(uint32_t todo)
{
    uint32_t drains = todo & RELAY_DO_DRAIN * 3u; /* of both sides */
    uint32_t fills = todo & RELAY_DO_FILL * 3u;

    return drains != 0 ? drains & -drains : fills & -fills;
}

/* The steps are asked again after each splice, so one at a time is enough, and a pipe is lent for that alone:
 * a side with a pipe is not asked to fill it. */
void stream_prepare(struct worker *worker, struct session *session, uint32_t todo)
{
    uint32_t first = first_of(todo);

    for (int side = 0; side < SIDE_COUNT; side++) {
        struct conn *conn = &session->conn[side];
        if ((first & RELAY_DO_FILL << side) && conn->pipe == PIPE_NONE && worker->pipes_free > 0) {
            conn->pipe = worker->pipes[--worker->pipes_free];
            FAULT_POINT(PIPE_LENT);
        }
    }
    worker->splices = (struct worker_splices){
        .todo = first,
        .session = relay_index(worker, session),
    };
}

/* A death in between leaves a socket that is made so once more. */
static void make_nonblocking(struct conn *conn)
{
    if (!(conn->flags & CONN_NONBLOCKING)) {
        sock_set_nonblocking(conn->fd);
        FAULT_POINT(SOCKET_NONBLOCKING);
        conn->flags |= CONN_NONBLOCKING;
    }
}

static struct relay_event fill(const struct worker *worker, struct session *session, enum side side)
{
    struct conn *conn = &session->conn[side];
    struct relay_event event = {.kind = RELAY_FILLED, .side = side, .result = -ENOBUFS};

    if (conn->pipe != PIPE_NONE) {
        make_nonblocking(conn);
        FAULT_POINT(FILL_DUE);
        event.result = pipe_fill(worker->pipe_base, conn->pipe, conn->fd);
        FAULT_POINT(FILL_CALLED);
    }
    return event;
}

static struct relay_event drain(const struct worker *worker, struct session *session, enum side side)
{
    const struct conn *from = &session->conn[other_side(side)];
    struct conn *to = &session->conn[side];

    make_nonblocking(to);
    FAULT_POINT(DRAIN_DUE);
    int32_t result = pipe_drain(worker->pipe_base, from->pipe, to->fd, from->queued_bytes);
    FAULT_POINT(DRAIN_CALLED);
    return (struct relay_event){.kind = RELAY_DRAINED, .side = side, .result = result};
}

void stream_run(struct worker *worker)
{
    while (worker->splices.todo != 0) {
        uint32_t todo = worker->splices.todo;
        uint32_t index = worker->splices.session;
        struct session *session = &worker->slab.sessions[index];
        struct relay_event event;

        worker->splices.todo = 0;
        if (todo & RELAY_DO_DRAIN << SIDE_CLIENT) {
            event = drain(worker, session, SIDE_CLIENT);
        } else if (todo & RELAY_DO_DRAIN << SIDE_SERVER) {
            event = drain(worker, session, SIDE_SERVER);
        } else {
            enum side side = todo & RELAY_DO_FILL << SIDE_CLIENT ? SIDE_CLIENT : SIDE_SERVER;
            event = fill(worker, session, side);
        }
        if (event.kind == RELAY_DRAINED && event.result > 0) {
            worker->slot->stats.spliced_bytes += (uint32_t)event.result;
        }
        relay_transact(worker, index, &event);
    }
}

void stream_take_back(struct worker *worker, uint16_t pipe, uint32_t bytes)
{
    if (bytes > 0) {
        worker->pipes[PIPE_COUNT - ++worker->pipes_full] = pipe;
    } else {
        worker->pipes[worker->pipes_free++] = pipe;
    }
}

void stream_empty(struct worker *worker)
{
    for (; worker->pipes_full > 0; worker->pipes_full--) {
        uint16_t pipe = worker->pipes[PIPE_COUNT - worker->pipes_full];
        FAULT_POINT(PIPE_UNWANTED);
        pipe_discard(worker->pipe_base, pipe);
        worker->pipes[worker->pipes_free++] = pipe;
    }
}

void stream_count(const struct worker *worker, struct conn *conn, uint16_t pipe, uint32_t bytes)
{
    uint32_t there = pipe < PIPE_COUNT ? pipe_bytes(worker->pipe_base, pipe) : 0;

    if (there > bytes) {
        conn->received_bytes += there - bytes;
    }
}

/* What `from` sent and `to` has not got yet. */
static void settle(const struct worker *worker, struct session *session, enum side side,
                   uint8_t held[PIPE_COUNT])
{
    struct conn *from = &session->conn[side];
    uint32_t bytes = pipe_bytes(worker->pipe_base, from->pipe);

    if (bytes != from->queued_bytes) {
        session->active_ms = worker->now_ms;
    }
    if (bytes > from->queued_bytes) {
        from->received_bytes += bytes - from->queued_bytes;
    }
    from->queued_bytes = bytes;
    held[from->pipe] = bytes > 0;
    FAULT_POINT(PIPE_SETTLED);
    if (bytes == 0) {
        from->pipe = PIPE_NONE;
    }
}

bool stream_settle(struct worker *worker, struct session *session, uint8_t held[PIPE_COUNT])
{
    struct conn *client = &session->conn[SIDE_CLIENT];
    struct conn *server = &session->conn[SIDE_SERVER];

    for (int side = 0; side < SIDE_COUNT; side++) {
        uint16_t pipe = session->conn[side].pipe;
        if (pipe != PIPE_NONE && (pipe >= PIPE_COUNT || held[pipe])) {
            return false;
        }
    }
    if (client->pipe != PIPE_NONE && client->pipe == server->pipe) {
        return false;
    }
    undo_begin(&worker->slot->undo); /* adoption may die, too: nothing is counted twice */
    relay_save(worker, session, sizeof(*session));
    if (client->pipe != PIPE_NONE) {
        settle(worker, session, SIDE_CLIENT, held);
    }
    if (server->pipe != PIPE_NONE) {
        settle(worker, session, SIDE_SERVER, held);
    }
    undo_commit(&worker->slot->undo);
    return true;
}

void stream_rebuild(struct worker *worker, const uint8_t held[PIPE_COUNT])
{
    worker->pipes_free = 0;
    for (uint32_t pipe = 0; pipe < PIPE_COUNT; pipe++) {
        if (!held[pipe]) {
            pipe_discard(worker->pipe_base, pipe);
            worker->pipes[worker->pipes_free++] = (uint16_t)pipe;
        }
    }
}
