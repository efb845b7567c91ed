/*
 * What the fake kernel does with the operations of the ring.
 *
 * An operation is tried when it is submitted and whenever its connection is touched; hot connections are taken in
 * random order. What the kernel decides by chance (pieces, ends of multishot, errors that mean "again") is drawn.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/sim/fake_inbox.h"
#include "tests/sim/fake_lent.h"

/* Writes the completion; where it is the last one of the operation, the kernel forgets that. */
static void complete(struct ring *ring, struct ring_pending *op, struct ring_completion completion)
{
    completion.tag = op->tag;
    if (!completion.more) {
        op->used = false;
    }
    ring_post(ring, &completion, op->conn);
}

static void complete_with(struct ring *ring, struct ring_pending *op, int32_t result)
{
    complete(ring, op, (struct ring_completion){.result = result});
}

static void see_end(struct net_conn *conn)
{
    if (conn->eof_order == 0 && conn->peer_fin) {
        conn->eof_order = ++net.eofs;
    }
    net_moved(conn);
}

/* One receive into the next provided buffer. Returns whether it completed something. */
static bool receive_once(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    struct ring_group *group = &ring->groups[op->tag.group];

    if (group->head == group->tail) { /* the buffer is chosen before the socket is asked */
        const struct ring_group *other = &ring->groups[op->tag.group ^ 1];
        net.refused_buffers++;
        net.refused_beside += op->tag.group == BUFFER_SMALL && other->head != other->tail;
        net.pressed_us = sim.now_us;
        complete_with(ring, op, -ENOBUFS);
        return true;
    }
    if (net_readable(conn) == 0) {
        if (conn->error != 0) {
            complete_with(ring, op, net_take_error(conn));
        } else if (conn->reset || conn->peer_fin) {
            see_end(conn);
            complete_with(ring, op, 0);
        } else {
            return false;
        }
        return true;
    }
    if (ring_world->dying && sim_once_in(2)) {
        complete_with(ring, op, -EFAULT);
        return true;
    }
    if (sim_once_in(3000)) {
        complete_with(ring, op, sim_once_in(2) ? -EAGAIN : -ENOMEM);
        return true;
    }
    struct ring_given given = group->given[group->head % group->entries];
    uint64_t length = net_readable(conn) < given.length ? net_readable(conn) : given.length;
    length = sim_once_in(3) ? 1 + sim_below((uint32_t)length) : length;
    group->head++;
    group->states[given.id] = RING_ID_FILLED;
    net_read(conn, given.address, (uint32_t)length);
    complete(ring, op,
             (struct ring_completion){
                 .result = (int32_t)length,
                 .more = op->multishot && !sim_once_in(16),
                 .has_buffer = true,
                 .buffer = given.id,
             });
    return true;
}

static uint32_t try_receive(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    uint32_t done = 0;

    while (op->used && receive_once(ring, op, conn)) {
        done++;
        if (op->used && sim_once_in(3)) {
            break; /* the rest another time */
        }
    }
    return done;
}

/* A send that took `result` bytes, or -errno. A zero-copy one has a notice, even where it failed; there not always. */
static void end_send(struct ring *ring, struct ring_pending *op, struct net_conn *conn, int32_t result)
{
    bool more = op->tag.zero_copy && (result > 0 || !sim_once_in(4));

    if (more) {
        lent_begin(conn, op, result > 0 ? (uint32_t)result : 0);
    }
    complete(ring, op, (struct ring_completion){.result = result, .more = more});
}

/* Never waits: takes what there is room for, or nothing. */
static uint32_t try_send(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    uint64_t length = 0;

    if (conn->error != 0 || conn->reset) {
        end_send(ring, op, conn, conn->error != 0 ? net_take_error(conn) : -EPIPE);
        return 1;
    }
    if (net_room(conn) == 0) {
        end_send(ring, op, conn, -EAGAIN);
        return 1;
    }
    if (ring_world->dying && sim_once_in(2)) {
        end_send(ring, op, conn, -EFAULT);
        return 1;
    }
    if (sim_once_in(1000)) {
        static const int again[] = {EAGAIN, ENOBUFS, ENOMEM, EINTR, EOPNOTSUPP};
        end_send(ring, op, conn, -again[sim_below(op->tag.zero_copy ? 5 : 4)]);
        return 1;
    }
    for (uint32_t i = 0; i < op->count; i++) {
        length += op->vector[i].iov_len;
    }
    length = length < net_room(conn) ? length : net_room(conn);
    length = sim_once_in(3) ? 1 + sim_below((uint32_t)length) : length;
    net_write(conn, op->vector, op->count, (uint32_t)length);
    end_send(ring, op, conn, (int32_t)length);
    return 1;
}

static uint32_t try_poll(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    uint32_t events = 0;

    if (conn->state != NET_CONNECTED) {
        events = conn->state == NET_CONNECTING ? 0 : POLLOUT | POLLHUP;
    } else {
        events |= net_readable(conn) > 0 ? POLLIN : 0;
        events |= conn->peer_fin ? POLLIN | POLLRDHUP : 0;
        events |= conn->reset || conn->error != 0 ? POLLIN | POLLERR | POLLHUP : 0;
        events |= net_room(conn) > 0 ? POLLOUT : 0;
    }
    events &= op->events | POLLERR | POLLHUP;
    if (events == 0) {
        return 0;
    }
    complete_with(ring, op, (int32_t)events);
    return 1;
}

/* A connect under way, or just asked for. */
static uint32_t try_connect(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    if (conn->state == NET_CONNECTING) {
        return 0;
    }
    if (conn->state == NET_CONNECTED) {
        conn->told = true;
        complete_with(ring, op, 0);
        return 1;
    }
    conn->failed = conn->connect_result;
    conn->state = NET_UNCONNECTED;
    if (conn->local_port != 0) {
        *net_port_used(conn, conn->local_port) = 0;
        conn->local_port = 0;
    }
    complete_with(ring, op, conn->failed);
    return 1;
}

static void start_connect(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    const struct session *session = &sim.sessions[op->tag.index];
    struct net_conn *client = net_at(session->conn[SIDE_CLIENT].fd);

    SIM_CHECK(client != NULL, "session %u connects without a client", op->tag.index);
    SIM_CHECK(!client->serial_known || client->serial == session->serial, "client %u in two sessions",
              client->id);
    client->serial = session->serial;
    client->serial_known = true;
    int result = net_connect(conn, client, op->to.port, op->to.family == ENDPOINT_UNIX);
    if (result == -EINPROGRESS) {
        net_connects_run();
        try_connect(ring, op, conn);
        return;
    }
    if (result == 0 || result == -EISCONN) {
        conn->told = true;
    } else if (result != -EALREADY) {
        conn->failed = result;
    }
    complete_with(ring, op, result);
}

static uint32_t try_op(struct ring *ring, struct ring_pending *op, struct net_conn *conn)
{
    switch (op->tag.op) {
    case RING_OP_RECV:
        return try_receive(ring, op, conn);
    case RING_OP_POLL:
        return try_poll(ring, op, conn);
    default:
        return try_connect(ring, op, conn);
    }
}

/* Takes one connection from the queue. */
static bool accept_once(struct ring *ring, struct ring_pending *op)
{
    struct net_queue *queue = net_queue(sim.index, op->tag.index);

    if (queue->count == 0 || queue->budget == 0) {
        return false;
    }
    if (sim_once_in(500)) {
        complete_with(ring, op, -ECONNABORTED);
        return true;
    }
    struct net_conn *conn = &net.conns[queue->ids[0]];
    int fd = net_take_fd(conn);
    if (fd < 0) {
        net.pressed_us = sim.now_us;
        complete_with(ring, op, fd);
        return true;
    }
    queue->budget--;
    memmove(queue->ids, queue->ids + 1, --queue->count * sizeof(queue->ids[0]));
    conn->accepted = true;
    net_moved(conn);
    net.accepts++;
    complete(ring, op, (struct ring_completion){.result = fd, .more = op->multishot && !sim_once_in(64)});
    return true;
}

static uint32_t try_accept(struct ring *ring, struct ring_pending *op)
{
    uint32_t done = 0;

    if (op->tag.op == RING_OP_LISTEN_POLL) {
        if (net_queue(sim.index, op->tag.index)->count == 0) {
            return 0;
        }
        complete_with(ring, op, POLLIN);
        return 1;
    }
    if (!op->woken) {
        return 0;
    }
    while (op->used && accept_once(ring, op)) {
        done++;
    }
    op->woken = net_queue(sim.index, op->tag.index)->count > 0;
    return done;
}

static void start_accept(struct ring *ring, const struct ring_pending *submission)
{
    bool local = submission->tag.index >= sim.config->listeners;
    struct ring_pending *places = ring_world->accepts[submission->tag.index];

    for (int i = 0; i < LISTENER_LOCAL_BATCH; i++) {
        if (!places[i].used) {
            places[i] = *submission;
            places[i].woken = true; /* it looks before it waits */
            if (!inbox_is_placed(submission->tag.index)) {
                complete_with(ring, &places[i], -EBADF);
            } else if (!try_accept(ring, &places[i]) && local && submission->tag.op == RING_OP_ACCEPT) {
                complete_with(ring, &places[i], -EAGAIN);
            }
            return;
        }
    }
    sim_fail(SESSION_NONE, "more accepts on listener %u than there should be", submission->tag.index);
}

static struct ring_pending *place_of(struct ring_tag tag)
{
    return &ring_world->inputs[tag.index * SIDE_COUNT + tag.side];
}

/* The operation a cancel names, NULL: not there, or done. */
static struct ring_pending *find(struct ring_tag tag)
{
    if (tag.op == RING_OP_ACCEPT || tag.op == RING_OP_LISTEN_POLL) {
        for (int i = 0; i < LISTENER_LOCAL_BATCH; i++) {
            struct ring_pending *op = &ring_world->accepts[tag.index][i];
            if (op->used && op->tag.op == tag.op) {
                return op;
            }
        }
        return NULL;
    }
    struct ring_pending *op = place_of(tag);
    bool same = op->used && op->tag.op == tag.op && op->tag.group == tag.group &&
                op->tag.generation == tag.generation;
    return same ? op : NULL;
}

static void cancel(struct ring *ring, struct ring_tag tag)
{
    struct ring_pending *op = find(tag);
    struct ring_completion outcome = {.tag = {.op = RING_OP_NONE}, .result = op != NULL ? 0 : -ENOENT};

    if (op != NULL && op->conn != 0 && sim_once_in(4)) {
        try_op(ring, op, &net.conns[op->conn]); /* it was about to complete */
    }
    ring_post(ring, &outcome, 0);
    if (op != NULL && op->used) {
        struct net_conn *conn = &net.conns[op->conn];
        if (tag.op == RING_OP_CONNECT || (tag.op == RING_OP_POLL && conn->server && !conn->told)) {
            conn->failed = -ECANCELED; /* took too long */
        }
        complete_with(ring, op, -ECANCELED);
    }
}

static void start_poll(struct ring_pending *place, const struct ring_pending *submission)
{
    SIM_CHECK(!place->used, "two polls for the wake-up or the set");
    *place = *submission;
}

static void start_input(struct ring *ring, const struct ring_pending *submission)
{
    struct ring_pending *op = place_of(submission->tag);
    struct net_conn *conn = &net.conns[submission->conn];
    SIM_CHECK(!op->used, "operation %u of session %u side %u is there already", submission->tag.op,
              submission->tag.index, submission->tag.side);
    *op = *submission;
    conn->place = op->tag.index * SIDE_COUNT + op->tag.side;
    if (op->tag.op == RING_OP_CONNECT) {
        start_connect(ring, op, conn);
    } else if (sim_once_in(2)) {
        try_op(ring, op, conn);
    }
    if (op->used) {
        ring_touch(conn);
    }
}

void ring_op_start(struct ring *ring, const struct ring_pending *submission)
{
    if (submission->cancelled) {
        cancel(ring, submission->tag);
        return;
    }
    switch (submission->tag.op) {
    case RING_OP_ACCEPT:
    case RING_OP_LISTEN_POLL:
        start_accept(ring, submission);
        return;
    case RING_OP_WAKE:
        start_poll(&ring_world->wake, submission);
        return;
    case RING_OP_WATCH:
        start_poll(&ring_world->watch, submission);
        return;
    case RING_OP_SEND: {
        struct ring_pending op = *submission;
        try_send(ring, &op, &net.conns[op.conn]);
        return;
    }
    default:
        start_input(ring, submission);
        return;
    }
}

uint32_t ring_ops_run(struct ring *ring, uint32_t count)
{
    uint32_t done = 0;

    for (uint32_t n = 0; n < count && ring_world->hot_count > 0; n++) {
        uint32_t at = sim_below(ring_world->hot_count);
        struct net_conn *conn = &net.conns[ring_world->hot[at]];
        ring_world->hot[at] = ring_world->hot[--ring_world->hot_count];
        conn->hot = false;
        if (conn->error != 0 && sim_once_in(2)) { /* a splice may find it first */
            ring_touch(conn);
            continue;
        }
        done += lent_notify(ring, conn);
        struct ring_pending *op = &ring_world->inputs[conn->place];
        if (op->used && op->conn == conn->id && try_op(ring, op, conn) > 0) {
            done++;
            ring_touch(conn); /* there may be more */
        }
    }
    for (uint32_t i = 0; i < sim.config->listeners + sim.config->local_listeners; i++) {
        for (int n = 0; n < LISTENER_LOCAL_BATCH; n++) {
            struct ring_pending *op = &ring_world->accepts[i][n];
            done += op->used ? try_accept(ring, op) : 0;
        }
    }
    if (ring_world->wake.used && (ring_world->wake_wanted || sim_once_in(5000))) {
        ring_world->wake_wanted = false;
        complete_with(ring, &ring_world->wake, POLLIN);
        done++;
    }
    if (ring_world->watch.used && net_watch_ready()) {
        complete_with(ring, &ring_world->watch, POLLIN);
        done++;
    }
    return done;
}
