#include "io/relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/check.h"
#include "core/share.h"
#include "io/listener.h"
#include "io/send.h"
#include "io/sock.h"
#include "io/stream.h"
#include "io/suspect.h"
#include "io/upstream.h"
#include "io/watch.h"

enum {
    EXPIRE_BATCH = 1024, /* timeouts handled in one turn of the loop; the rest follow in the next */
    BUSY_TURN = 40,      /* completions handled in a turn; beyond that the waiting wait longer */
    CROWD_BATCH = 2,     /* sockets that became writable and are served in one turn while many wait */
    WATCH_BATCH = 8,     /* sockets that became writable, likewise */
    LINGER_MAX_MS = 5000,
    LINGER_LOOK_MS = 20,
    RESUMED_LOOK_MS = 50,
    MULTISHOT_BURST = 32, /* the kernel's limit of receives in one go: MULTISHOT_MAX_RETRY */
};

static struct ring_tag tag_of(const struct worker *worker, const struct session *session, enum side side,
                              enum ring_op op)
{
    return (struct ring_tag){
        .op = op,
        .side = (uint8_t)side,
        .generation = (uint16_t)session->generation,
        .index = relay_index(worker, session),
    };
}

uint32_t relay_share(const struct worker *worker)
{
    const struct buffer_stack *large = &worker->bank.stacks[BUFFER_LARGE];

    /* Of the large buffers only: when they run out a direction may hold one small buffer and no more, which leaves
     * the small ones to those that hold nothing yet. */
    return share_bytes((uint64_t)large->total * BUFFER_LARGE_BYTES,
                       (uint64_t)large->count * BUFFER_LARGE_BYTES, worker->active_directions);
}

/* A byte that a peer acknowledges has moved, though no room for another may come of it for long: TCP sends anew
 * what was lost before. */
static uint64_t heard_ms(const struct worker *worker, const struct session *session)
{
    uint32_t ago_ms = UINT32_MAX;

    for (int side = 0; side < SIDE_COUNT; side++) {
        uint32_t unheard_ms = sock_unheard_ms(session->conn[side].fd);
        ago_ms = unheard_ms < ago_ms ? unheard_ms : ago_ms;
    }
    return ago_ms < worker->now_ms ? worker->now_ms - ago_ms : 0;
}

static struct relay_env env_of(const struct worker *worker, const struct session *session,
                               enum relay_event_kind kind)
{
    struct relay_env env = {
        .table = worker->bank.table,
        .share_bytes = relay_share(worker),
        .pipes = worker->pipes_free > 0,
        .now_ms = worker->now_ms,
        .now_us = worker->now_us,
        .adopting = worker->adopting,
    };

    if (kind == RELAY_TIMED_OUT) {
        env.timeouts = upstream_timeouts(worker, session);
        if (session_silence(session, &env.timeouts, env.now_ms) != CLOSE_NONE) {
            env.heard_ms = heard_ms(worker, session);
        }
    }
    if (kind == RELAY_CONNECTED || kind == RELAY_POLLED || kind == RELAY_TIMED_OUT) {
        env.retries = upstream_retries(worker, session);
    }
    return env;
}

/* The tag of the input operation that is in flight on a side: what a cancel names. */
static struct ring_tag input_tag(const struct worker *worker, const struct session *session, enum side side)
{
    uint8_t in_flight = session->conn[side].in_flight;
    enum ring_op op = RING_OP_POLL;

    if (in_flight & CONN_OP_RECV) {
        op = RING_OP_RECV;
    } else if (in_flight & CONN_OP_CONNECT) {
        op = RING_OP_CONNECT;
    }
    struct ring_tag tag = tag_of(worker, session, side, op);
    if (op == RING_OP_RECV) {
        tag.group = (session->conn[side].flags & CONN_SMALL) != 0 ? BUFFER_SMALL : BUFFER_LARGE;
    }
    return tag;
}

/* The class the next receive takes from: small only where large ones have run out. Several small ones to a direction
 * while there are large ones would leave those that come later without either. */
static enum buffer_class receive_class(const struct worker *worker)
{
    return worker->ring_filled[BUFFER_LARGE] > 0 || worker->ring_filled[BUFFER_SMALL] == 0 ? BUFFER_LARGE
                                                                                           : BUFFER_SMALL;
}

static void arm_receive(struct worker *worker, struct session *session, enum side side)
{
    struct conn *conn = &session->conn[side];
    struct ring_tag tag = tag_of(worker, session, side, RING_OP_RECV);
    uint32_t share = relay_share(worker);
    bool large = receive_class(worker) == BUFFER_LARGE;
    /* A multishot receive may bring this many buffers before it can be stopped. A stream gets it only where that is
     * within its share, small messages always; while others wait, one buffer each. */
    bool multishot = large && worker->waiting.count == 0 &&
                     ((conn->flags & CONN_INTERACTIVE) || share >= MULTISHOT_BURST * BUFFER_LARGE_BYTES);

    tag.group = large ? BUFFER_LARGE : BUFFER_SMALL;
    conn->flags = (uint16_t)(large ? conn->flags & ~CONN_SMALL : conn->flags | CONN_SMALL);
    ring_receive(worker->ring, tag, conn->fd, multishot);
    FAULT_POINT(RECEIVE_FILLED);
    conn->in_flight |= CONN_OP_RECV;
}

static void watch_side(struct worker *worker, struct session *session, enum side side)
{
    struct conn *conn = &session->conn[side];
    uint64_t handle = (uint64_t)relay_index(worker, session) << 32 |
                      (uint32_t)(uint16_t)session->generation << 16 | (uint32_t)side;

    if (watch_add(worker->watch_fd, conn->fd, handle, (conn->flags & CONN_WATCHED) != 0) == 0) {
        FAULT_POINT(WATCH_ADDED);
        conn->flags |= CONN_WATCHED;
    } else { /* kernel memory is short: try again with the timers, not at once */
        conn->flags &= (uint16_t)~CONN_BLOCKED;
        wheel_set(&worker->wheel, relay_index(worker, session), worker->now_ms);
    }
}

static void arm_poll(struct worker *worker, struct session *session, enum side side)
{
    bool connecting = session->phase == SESSION_CONNECTING;

    ring_poll(worker->ring, tag_of(worker, session, side, RING_OP_POLL), session->conn[side].fd,
              connecting ? POLLOUT : POLLIN | POLLRDHUP);
    FAULT_POINT(POLL_FILLED);
    session->conn[side].in_flight |= CONN_OP_POLL;
}

static struct conn *waiting_conn(struct worker *worker, uint32_t handle)
{
    return &worker->slab.sessions[handle / SIDE_COUNT].conn[handle % SIDE_COUNT];
}

static void queue_receiver(struct worker *worker, struct session *session, enum side side)
{
    struct wait_queue *queue = &worker->waiting;
    uint32_t handle = relay_index(worker, session) * SIDE_COUNT + (uint32_t)side;

    session->conn[side].wait_next = SESSION_NONE;
    session->conn[side].wait_prev = queue->tail;
    if (queue->tail == SESSION_NONE) {
        queue->head = handle;
    } else {
        waiting_conn(worker, queue->tail)->wait_next = handle;
    }
    queue->tail = handle;
    queue->count++;
}

static void unqueue_receiver(struct worker *worker, struct session *session, enum side side)
{
    struct wait_queue *queue = &worker->waiting;
    const struct conn *conn = &session->conn[side];

    if (conn->wait_prev == SESSION_NONE) {
        queue->head = conn->wait_next;
    } else {
        waiting_conn(worker, conn->wait_prev)->wait_next = conn->wait_next;
    }
    if (conn->wait_next == SESSION_NONE) {
        queue->tail = conn->wait_prev;
    } else {
        waiting_conn(worker, conn->wait_next)->wait_prev = conn->wait_prev;
    }
    queue->count--;
}

static void carry_out_side(struct worker *worker, struct session *session, uint32_t todo, enum side side)
{
    struct conn *conn = &session->conn[side];

    if (todo & RELAY_DO_SHUTDOWN << side) {
        sock_shutdown(conn->fd); /* may be repeated after a death: harmless */
        FAULT_POINT(SHUTDOWN_CALLED);
    }
    if (todo & RELAY_DO_CANCEL_INPUT << side) {
        ring_cancel(worker->ring, input_tag(worker, session, side));
    }
    if (todo & RELAY_DO_WATCH << side) {
        watch_side(worker, session, side);
    }
    if (todo & RELAY_DO_WAIT << side) {
        queue_receiver(worker, session, side);
    }
    if (todo & RELAY_DO_SEND << side) {
        send_submit(worker, session, side, tag_of(worker, session, side, RING_OP_SEND));
    }
    if (todo & RELAY_DO_RECV << side) {
        arm_receive(worker, session, side);
    }
    if (todo & RELAY_DO_POLL << side) {
        arm_poll(worker, session, side);
    }
}

/* Whether the RST has to wait: it would throw away what one side said before its end and the other has not yet
 * acknowledged. A peer that takes nothing is waited for no longer than LINGER_MAX_MS. */
static bool must_linger(const struct worker *worker, const struct session *session)
{
    bool passes_on = session->reason == CLOSE_CLIENT_RESET || session->reason == CLOSE_SERVER_RESET;
    enum side other = session->reason == CLOSE_CLIENT_RESET ? SIDE_SERVER : SIDE_CLIENT;

    return passes_on && session->conn[other].sink == SINK_OPEN &&
           worker->now_ms < session->active_ms + LINGER_MAX_MS &&
           sock_unacknowledged(session->conn[other].fd) > 0;
}

static void carry_out(struct worker *worker, struct session *session, uint32_t todo)
{
    if (todo & RELAY_DO_DROP_SERVER) {
        upstream_drop(worker, session);
    }
    if (todo & RELAY_DO_FINISH) {
        if (must_linger(worker, session)) {
            FAULT_POINT(LINGERING);
            wheel_set(&worker->wheel, relay_index(worker, session), worker->now_ms + LINGER_LOOK_MS);
        } else {
            worker->finishing = relay_index(worker, session);
        }
        return;
    }
    if (todo & RELAY_DO_PAUSE) {
        wheel_set(&worker->wheel, relay_index(worker, session), worker->now_ms + RELAY_PORT_PAUSE_MS);
    }
    if (todo & (RELAY_DO_RESET << SIDE_CLIENT | RELAY_DO_RESET << SIDE_SERVER)) {
        worker->resetting = relay_index(worker, session);
    }
    stream_prepare(worker, session, todo);
    for (int side = 0; side < SIDE_COUNT; side++) {
        carry_out_side(worker, session, todo, side);
    }
    if (todo & RELAY_DO_CONNECT) {
        upstream_connect(worker, session, tag_of(worker, session, SIDE_SERVER, RING_OP_CONNECT));
    }
    if (todo & RELAY_DO_CHOOSE) {
        upstream_choose(worker, session); /* answers by another step */
    }
}

static uint32_t directions_with_data(const struct session *session)
{
    return (session->conn[SIDE_CLIENT].held_bytes > 0) + (session->conn[SIDE_SERVER].held_bytes > 0);
}

static uint32_t sinks_of(const struct session *session)
{
    return (uint32_t)session->conn[SIDE_CLIENT].sink << 8 | session->conn[SIDE_SERVER].sink;
}

void relay_step_in(struct worker *worker, struct session *session, const struct relay_event *event)
{
    struct relay_env env = env_of(worker, session, event->kind);
    uint32_t before = directions_with_data(session);
    uint32_t sinks = sinks_of(session);
    struct relay_actions actions = relay_step(session, event, &env);

    if (worker->adopting) {
        for (int side = 0; side < SIDE_COUNT; side++) {
            stream_count(worker, &session->conn[side], actions.pipes[side].pipe, actions.pipes[side].bytes);
        }
        return; /* what is derived is rebuilt, what is to be done is asked again, when all completions are applied */
    }
    FAULT_POINT(STEP_CHANGED);
    worker->active_directions += directions_with_data(session) - before;
    buffer_bank_release_list(&worker->bank, actions.released);
    for (int side = 0; side < SIDE_COUNT; side++) {
        if (actions.pipes[side].pipe != PIPE_NONE) {
            stream_take_back(worker, actions.pipes[side].pipe, actions.pipes[side].bytes);
        }
    }
    FAULT_POINT(STEP_RELEASED);
    carry_out(worker, session, actions.todo);
    FAULT_POINT(STEP_CARRIED_OUT);
    /* A half-closed session has less time, and one that had no deadline may have one now. */
    if (session->phase == SESSION_OPEN &&
        (sinks != sinks_of(session) || session->wheel_slot == SESSION_NONE)) {
        relay_schedule(worker, session);
    }
}

static void schedule_from(struct worker *worker, const struct session *session, uint64_t soonest_ms)
{
    struct image_timeouts timeouts = upstream_timeouts(worker, session);
    uint64_t due_ms = session_due_ms(session, &timeouts);
    uint64_t look_ms = send_look_ms(worker, session);

    due_ms = due_ms < look_ms ? due_ms : look_ms;
    wheel_set(&worker->wheel, relay_index(worker, session), due_ms > soonest_ms ? due_ms : soonest_ms);
}

void relay_schedule(struct worker *worker, const struct session *session)
{
    schedule_from(worker, session, 0);
}

void relay_resume(struct worker *worker, uint32_t index)
{
    const struct session *session = &worker->slab.sessions[index];

    relay_revisit(worker, index, RELAY_PLAN);
    if (session->phase == SESSION_OPEN && session->wheel_slot != SESSION_NONE) {
        schedule_from(worker, session, worker->now_ms + RESUMED_LOOK_MS);
    }
}

/* Writes the session's line into the log ring, within a transaction. */
static void log_session(struct worker *worker, const struct session *session)
{
    struct worker_slot *slot = worker->slot;
    uint64_t tail = __atomic_load_n(&slot->log_tail, __ATOMIC_ACQUIRE); /* pairs with the logger's release */

    if ((int64_t)(slot->log_head - tail) >=
        LOG_RING_RECORDS) { /* signed: see take_records() in cmd/logger.c */
        relay_count(worker, &slot->stats.log_dropped, 1);
        return;
    }
    struct log_record *record = region_log_record(&worker->region, worker->slot_index, slot->log_head);
    *record = (struct log_record){
        .serial = session->serial,
        .accepted_us = session->accepted_us,
        .connected_us = session->connected_us,
        .first_byte_us = session->first_byte_us,
        .closed_us = worker->now_us,
        .bytes_from_client = session->conn[SIDE_CLIENT].received_bytes,
        .bytes_from_server = session->conn[SIDE_SERVER].received_bytes,
        .listener_row = session->listener_row,
        .pool_row = session->pool_row,
        .server_row = session->server_row,
        .source_port = session->source_port,
        .reason = session->reason,
        .tries = session->tries,
        .source_family = session->source_family,
    };
    memcpy(record->source_address, session->source_address, sizeof(record->source_address));
    relay_save(worker, &slot->log_head, sizeof(slot->log_head));
    FAULT_POINT(LOG_WRITTEN);
    __atomic_store_n(&slot->log_head, slot->log_head + 1,
                     __ATOMIC_RELEASE); /* pairs with the logger's acquire */
    FAULT_POINT(LOG_PUBLISHED);
}

static void count_session(struct worker *worker, const struct session *session)
{
    struct slot_stats *stats = &worker->slot->stats;
    struct listener_counters *listener = relay_listener(worker, session);
    uint64_t client_bytes = session->conn[SIDE_CLIENT].received_bytes;
    uint64_t server_bytes = session->conn[SIDE_SERVER].received_bytes;

    relay_count(worker, &stats->closes[session->reason], 1);
    relay_count(worker, &stats->client_bytes, client_bytes);
    relay_count(worker, &stats->server_bytes, server_bytes);
    relay_count(worker, &listener->closes[session->reason], 1);
    relay_count_time(worker, &listener->durations, worker->now_us - session->accepted_us);
    if (session->server_row != ROW_NONE) {
        struct server_counters *counters =
            region_server_counters(&worker->region, worker->slot_index, session->server_row);
        relay_count(worker, &counters->bytes_to, client_bytes);
        relay_count(worker, &counters->bytes_from, server_bytes);
    }
}

/* The entry may be another's already if a death interrupted this before. */
static bool has_flow(const struct worker *worker, const struct session *session, enum side side)
{
    return flow_table_owned(&worker->flows, session->conn[side].flow, worker->slot_index,
                            relay_index(worker, session));
}

void relay_leave_flow(struct worker *worker, const struct session *session, enum side side, int fd)
{
    uint32_t flow = session->conn[side].flow;

    if (!worker->flows.owned || !has_flow(worker, session, side)) {
        return;
    }
    if (sock_is_closed(fd)) { /* the publisher came before the claim, or there was nothing to publish */
        flow_table_release(&worker->flows, flow, worker->slot_index, &worker->slot->flow_claim);
    } else {
        flow_table_orphan(&worker->flows, flow, worker->slot_index, worker->now_ms);
    }
}

/* Where the kernel keeps TIME_WAIT: it is on our end where our FIN went first. */
static void retire_flow(struct worker *worker, const struct session *session, enum side side)
{
    const struct conn *conn = &session->conn[side];

    if (!has_flow(worker, session, side)) {
        return;
    }
    bool time_wait =
        !(session->flags & SESSION_ABORT) && ((conn->flags & CONN_FIN_FIRST) || conn->source == SOURCE_OPEN);
    if (time_wait) {
        flow_table_time_wait(&worker->flows, conn->flow, worker->slot_index, worker->now_ms,
                             &worker->slot->flow_claim);
    } else {
        flow_table_release(&worker->flows, conn->flow, worker->slot_index, &worker->slot->flow_claim);
    }
}

/* The end of a session that is CLOSING, committed, with nothing in flight: its connection blocks go, its flow entries
 * stay as long as TIME_WAIT needs them. */
static void finish(struct worker *worker, uint32_t index)
{
    struct session *session = &worker->slab.sessions[index];

    FAULT_POINT(FINISH_DUE);
    for (int side = SIDE_SERVER; side >= SIDE_CLIENT; side--) {
        int fd = session->conn[side].fd;
        relay_leave_flow(worker, session, side, fd);
        if (fd < 0) {
            continue;
        }
        if (session->flags & SESSION_ABORT) {
            sock_abort(fd);
            FAULT_POINT(FINISH_ABORTING);
        }
        sock_close(fd);
        FAULT_POINT(FINISH_CLOSED);
    }
    undo_begin(&worker->slot->undo);
    relay_save(worker, session, sizeof(*session));
    FAULT_POINT(FINISH_SAVED);
    worker->active_directions -= directions_with_data(session);
    for (int side = 0; side < SIDE_COUNT; side++) {
        struct conn *conn = &session->conn[side];
        if (conn->pipe != PIPE_NONE) {
            stream_take_back(worker, conn->pipe, conn->queued_bytes);
        } else {
            buffer_bank_release_list(&worker->bank, chain_clear(conn, &worker->bank.table));
        }
        retire_flow(worker, session, side);
        if (side == SIDE_SERVER) {
            upstream_ended(worker, session);
        }
        if (conn->flags & CONN_WAITING) {
            unqueue_receiver(worker, session, side);
        }
    }
    FAULT_POINT(FINISH_RETIRED);
    count_session(worker, session);
    FAULT_POINT(FINISH_COUNTED);
    log_session(worker, session);
    upstream_leave(worker, session);
    wheel_remove(&worker->wheel, index);
    session_set_phase(session, SESSION_FREE, worker->now_ms);
    FAULT_POINT(FINISH_FREED);
    undo_commit(&worker->slot->undo);
    FAULT_POINT(FINISH_COMMITTED);
    session_slab_release(&worker->slab, index);
}

/* Only now that the end and its reason are committed: rolled back, the session would take the reset for a peer's. */
static void reset_lent(struct worker *worker)
{
    const struct session *session = &worker->slab.sessions[worker->resetting];

    worker->resetting = SESSION_NONE;
    for (int side = 0; side < SIDE_COUNT; side++) {
        if (session->lent[side].count > 0) {
            sock_reset(session->conn[side].fd);
        }
    }
}

/* What follows a transaction outside of one. */
static void follow_up(struct worker *worker)
{
    stream_run(worker);
    if (worker->resetting != SESSION_NONE) {
        reset_lent(worker);
    }
    uint32_t index = worker->finishing;
    if (index != SESSION_NONE) {
        worker->finishing = SESSION_NONE;
        finish(worker, index);
    }
    stream_empty(worker);
}

void relay_transact(struct worker *worker, uint32_t index, const struct relay_event *event)
{
    struct session *session = &worker->slab.sessions[index];

    if (ring_space(worker->ring) < WORKER_TXN_SUBMISSIONS) {
        (void)ring_submit(worker->ring);
    }
    undo_begin(&worker->slot->undo);
    relay_save(worker, session, sizeof(*session));
    uint16_t row = session->server_row;
    uint8_t tries = session->tries;
    relay_step_in(worker, session, event);
    if (session->tries != tries) { /* no source port came free */
        upstream_failed(worker, row);
    }
    undo_commit(&worker->slot->undo);
}

void relay_dispatch(struct worker *worker, uint32_t index, const struct relay_event *event)
{
    suspect_enter(worker, index);
    relay_transact(worker, index, event);
    follow_up(worker);
    suspect_leave(worker);
}

/* Puts a free buffer behind id `id` of a receive ring. */
static bool refill_id(struct worker *worker, enum buffer_class class, uint16_t id)
{
    uint32_t buffer = buffer_bank_acquire(&worker->bank, class);

    worker->slot->ring_buffers[class][id] = buffer;
    if (buffer == BUFFER_NONE) {
        return false;
    }
    ring_buffers_add(worker->ring, (uint8_t) class, id, buffer_bank_address(&worker->bank, buffer),
                     buffer_capacity(&worker->bank.table, buffer));
    worker->ring_filled[class]++;
    return true;
}

/* Takes the buffer a receive filled out of its ring, under the current transaction. */
static uint32_t take_ring_buffer(struct worker *worker, const struct ring_completion *completion)
{
    enum buffer_class class = completion->tag.group;
    uint16_t id = completion->buffer;

    CHECK(id < SLOT_RING_BUFFERS);
    uint32_t *place = &worker->slot->ring_buffers[class][id];
    uint32_t buffer = *place;
    CHECK(buffer != BUFFER_NONE);
    relay_save(worker, place, sizeof(*place));
    *place = BUFFER_NONE;
    FAULT_POINT(BUFFER_TAKEN);
    if (!worker->adopting) {
        worker->ring_filled[class]--;
        refill_id(worker, class, id);
        FAULT_POINT(BUFFER_REPLACED);
    }
    return buffer;
}

static void complete_receive(struct worker *worker, struct session *session,
                             const struct ring_completion *completion)
{
    const struct buffer_table *table = &worker->bank.table;
    struct relay_event event = {
        .kind = completion->result > 0 ? RELAY_RECEIVED : RELAY_RECEIVE_ENDED,
        .side = completion->tag.side,
        .result = completion->result,
        .more = completion->more,
        .buffer = BUFFER_NONE,
    };

    if (completion->has_buffer) {
        event.buffer = take_ring_buffer(worker, completion);
        uint32_t tail = session->conn[event.side].chain_tail;
        relay_save(worker, &table->records[event.buffer], sizeof(table->records[0]));
        if (tail != BUFFER_NONE) {
            relay_save(worker, &table->records[tail], sizeof(table->records[0]));
        }
        if (completion->result <= 0 && !worker->adopting) {
            buffer_bank_release(&worker->bank, event.buffer);
        }
    }
    if (completion->result == -ENOBUFS) {
        relay_count(worker, &worker->slot->stats.buffers_refused, 1);
    }
    CHECK(completion->result <= 0 || completion->has_buffer);
    bool first = session->first_byte_us == 0;
    relay_step_in(worker, session, &event);
    if (first && session->first_byte_us != 0) {
        relay_count_time(worker, &relay_listener(worker, session)->first_bytes,
                         session->first_byte_us - session->accepted_us);
    }
}

/* What may end a connect: that, or the poll which waits for it after an adoption. Counts the outcome. */
static void complete_connecting(struct worker *worker, struct session *session,
                                const struct relay_event *event)
{
    uint16_t row = session->server_row;
    uint8_t tries = session->tries;
    /* Of another server than the first only the millisecond is known. */
    uint64_t begun_us = tries == 0 ? session->accepted_us : session->active_ms * 1000;

    if (event->kind == RELAY_CONNECTED && event->result == -EADDRNOTAVAIL) {
        upstream_refused(worker, session);
    }
    relay_step_in(worker, session, event);
    if (session->tries != tries) {
        upstream_failed(worker, row);
    } else if (session->phase == SESSION_OPEN) {
        upstream_connected(worker, session, session->connected_us - begun_us);
        if (!worker->adopting) {
            relay_schedule(worker, session);
        }
    }
}

/* A completion of a session, its record saved. */
static void complete_session(struct worker *worker, struct session *session,
                             const struct ring_completion *completion)
{
    struct relay_event event = {.side = completion->tag.side, .result = completion->result};

    switch (completion->tag.op) {
    case RING_OP_RECV:
        complete_receive(worker, session, completion);
        return;
    case RING_OP_CONNECT:
        event.kind = RELAY_CONNECTED;
        break;
    case RING_OP_SEND:
        event.kind = completion->notice ? RELAY_RETURNED : RELAY_SENT;
        event.more = completion->more;
        event.places = (uint8_t)(1u << completion->tag.place);
        if (completion->tag.zero_copy && !completion->more) {
            send_ended(worker, session, completion);
        }
        break;
    default:
        event.kind = RELAY_POLLED;
        event.more = event.result > 0 && (event.result & (POLLIN | POLLERR | POLLHUP)) == POLLIN;
        break;
    }
    if (session->phase == SESSION_CONNECTING) {
        complete_connecting(worker, session, &event);
    } else {
        relay_step_in(worker, session, &event);
    }
}

void relay_complete(struct worker *worker, const struct ring_completion *completion)
{
    undo_begin_completion(&worker->slot->undo, ring_head(worker->ring));
    switch (completion->tag.op) {
    case RING_OP_NONE:
        break;
    case RING_OP_ACCEPT:
    case RING_OP_LISTEN_POLL:
        listener_complete(worker, completion);
        break;
    case RING_OP_WAKE:
        worker->wake_armed = false;
        break;
    case RING_OP_WATCH:
        worker->watch_armed = false;
        break;
    default: {
        CHECK(completion->tag.index < worker->slab.capacity);
        struct session *session = &worker->slab.sessions[completion->tag.index];
        CHECK((uint16_t)session->generation == completion->tag.generation && session->phase != SESSION_FREE);
        suspect_enter(worker, completion->tag.index);
        relay_save(worker, session, sizeof(*session));
        FAULT_POINT(COMPLETION_SAVED);
        complete_session(worker, session, completion);
        break;
    }
    }
    FAULT_POINT(COMPLETION_APPLIED);
    ring_advance(worker->ring); /* commits */
    FAULT_POINT(COMPLETION_COMMITTED);
    follow_up(worker);
    FAULT_POINT(COMPLETION_DONE);
    suspect_leave(worker);
}

/* Fills the ids whose buffer was not there when it was needed. */
static void refill_ring(struct worker *worker, enum buffer_class class)
{
    uint32_t entries = worker->ring_entries[class];

    if (worker->ring_filled[class] == entries || worker->bank.stacks[class].count == 0) {
        return;
    }
    for (uint32_t id = 0; id < entries; id++) {
        if (worker->slot->ring_buffers[class][id] == BUFFER_NONE && !refill_id(worker, class, (uint16_t)id)) {
            return;
        }
    }
}

void relay_refill(struct worker *worker)
{
    struct wait_queue *queue = &worker->waiting;

    refill_ring(worker, BUFFER_LARGE);
    refill_ring(worker, BUFFER_SMALL);
    /* One receiver a buffer, or they would race for it and the queue's order mean nothing. */
    uint32_t grants = worker->ring_filled[receive_class(worker)];
    while (queue->head != SESSION_NONE && grants-- > 0) {
        uint32_t handle = queue->head;
        struct relay_event event = {.kind = RELAY_GRANTED, .side = (enum side)(handle % SIDE_COUNT)};
        unqueue_receiver(worker, &worker->slab.sessions[handle / SIDE_COUNT], event.side);
        FAULT_POINT(GRANT_UNQUEUED);
        relay_dispatch(worker, handle / SIDE_COUNT, &event);
        FAULT_POINT(GRANT_DONE);
    }
}

bool relay_can_grant(const struct worker *worker)
{
    return worker->waiting.count > 0 && worker->ring_filled[receive_class(worker)] > 0;
}

void relay_writable(struct worker *worker, uint32_t completed)
{
    uint64_t handles[WATCH_BATCH];

    if (worker->watch_armed) {
        return;
    }
    /* A batch a turn, or thousands of slow readers would make everybody wait; the rest make the poll fire at once. */
    uint32_t batch = worker->watch_crowded ? CROWD_BATCH : WATCH_BATCH;
    batch = completed < BUSY_TURN ? batch : 1;
    uint32_t count = watch_take(worker->watch_fd, handles, batch);
    worker->watch_crowded = count == batch;
    for (uint32_t i = 0; i < count; i++) {
        FAULT_POINT(WRITABLE_TAKEN);
        uint32_t index = (uint32_t)(handles[i] >> 32);
        const struct session *session = &worker->slab.sessions[index];
        if (session->phase == SESSION_OPEN && (uint16_t)session->generation == (uint16_t)(handles[i] >> 16)) {
            struct relay_event event = {.kind = RELAY_WRITABLE, .side = (enum side)(handles[i] & 1)};
            relay_dispatch(worker, index, &event);
        }
    }
    if (ring_space(worker->ring) < WORKER_TXN_SUBMISSIONS) {
        (void)ring_submit(worker->ring);
    }
    ring_poll(worker->ring, (struct ring_tag){.op = RING_OP_WATCH}, worker->watch_fd, POLLIN);
    worker->watch_armed = true;
}

void relay_revisit(struct worker *worker, uint32_t index, enum relay_event_kind kind)
{
    const struct session *session = &worker->slab.sessions[index];
    uint32_t generation = session->generation;

    send_look(worker, index);
    if (session->phase == SESSION_FREE) {
        return;
    }
    relay_dispatch(worker, index, &(struct relay_event){.kind = kind});
    /* One that could not be watched is to be looked at again soon. */
    if (session->generation == generation && session->phase != SESSION_FREE &&
        session->phase != SESSION_CLOSING && session->wheel_slot == SESSION_NONE) {
        relay_schedule(worker, session);
    }
}

void relay_expire(struct worker *worker)
{
    for (int n = 0; n < EXPIRE_BATCH; n++) {
        uint32_t index = wheel_take(&worker->wheel, worker->now_ms);
        if (index == SESSION_NONE) {
            break;
        }
        FAULT_POINT(TIMER_TAKEN);
        relay_revisit(worker, index, RELAY_TIMED_OUT);
        FAULT_POINT(TIMER_DONE);
    }
}
