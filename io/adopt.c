#include "io/adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/check.h"
#include "io/log.h"
#include "io/relay.h"
#include "io/sock.h"
#include "io/stream.h"
#include "io/suspect.h"
#include "io/upstream.h"

/* Active so shortly before the last turn of the dead worker's loop: resumed before those at rest. */
enum { LATELY_MS = 250 };

static bool flow_in_use(const void *context, uint32_t session_index, uint32_t index)
{
    const struct worker *worker = context;

    if (session_index >= worker->slab.capacity) {
        return false;
    }
    const struct session *session = &worker->slab.sessions[session_index];
    return session->phase != SESSION_FREE &&
           (session->conn[SIDE_CLIENT].flow == index || session->conn[SIDE_SERVER].flow == index);
}

static void settle_claim(struct worker *worker)
{
    flow_table_settle(&worker->flows, worker->slot_index, &worker->slot->flow_claim, flow_in_use, worker);
}

/* Undoes the transaction that was cut short and applies the completions the dead worker had not got to. */
static int settle_ring(struct worker *worker, int ring_fd)
{
    struct ring_completion completion;
    int result = ring_attach(&worker->ring, ring_fd, worker->slot->ring_params[worker->slot->epoch & 1]);

    if (result < 0) {
        return result;
    }
    FAULT_POINT(RING_ATTACHED);
    void *base = worker->region.segments[SEGMENT_TABLES];
    if (undo_rollback(&worker->slot->undo, base, ring_head(worker->ring))) {
        worker->slot->stats.undone++;
    }
    suspect_note(worker);
    FAULT_POINT(SUSPECT_NOTED);
    /* Before the completions are applied again: they claim entries of their own. */
    settle_claim(worker);
    session_slab_rebuild(&worker->slab); /* accepts among the completions need free records */
    while (ring_peek(worker->ring, &completion)) {
        if (completion.result == -EFAULT) { /* the memory of a process that was killed meanwhile */
            completion.result = -ECANCELED;
        }
        if (completion.tag.op >= RING_OP_RECV && suspect_is_poison(worker, completion.tag.index)) {
            ring_advance(worker->ring);
        } else {
            relay_complete(worker, &completion);
        }
        FAULT_POINT(LEFT_APPLIED);
    }
    ring_destroy(worker->ring);
    worker->ring = NULL;
    FAULT_POINT(LEFT_DONE);
    return 0;
}

static bool holds(const struct conn *conn)
{
    return conn->fd >= 0 && conn->cookie != 0 && sock_cookie(conn->fd) == conn->cookie;
}

/* Nothing is in flight any more, and it stands in no queue. */
static void settle_session(struct session *session)
{
    for (int side = 0; side < SIDE_COUNT; side++) {
        struct conn *conn = &session->conn[side];
        conn->in_flight = 0;
        conn->flags &= (uint16_t) ~(CONN_CANCEL_INPUT | CONN_BLOCKED | CONN_WATCHED | CONN_WAITING |
                                    CONN_SMALL | CONN_READABLE);
        conn->wait_next = SESSION_NONE;
        conn->wait_prev = SESSION_NONE;
    }
    session->wheel_slot = SESSION_NONE;
}

/* Every descriptor is what the record says or none. */
static void settle_descriptors(struct worker *worker, struct session *session)
{
    struct conn *client = &session->conn[SIDE_CLIENT];
    struct conn *server = &session->conn[SIDE_SERVER];
    bool client_lost = !holds(client);
    bool server_lost = server->fd >= 0 && !holds(server);
    /* The phase before the descriptors: a death in between leaves a sound record. */
    if (client_lost || (session->phase == SESSION_OPEN && server_lost)) {
        session_close(session, CLOSE_LOST, true, worker->now_ms);
    } else if (session->phase == SESSION_CONNECTING &&
               server_lost) { /* its connect had failed: upstream_drop() */
        session_set_phase(session, SESSION_CHOOSING, worker->now_ms);
    } else if (session->phase == SESSION_CONNECTING) {
        server->flags |= CONN_CONNECT_POLL;
        server->flags &= (uint16_t)~CONN_NO_PORT;
    }
    if (server_lost) {
        FAULT_POINT(SERVER_LOST);
    }
    if (client_lost) {
        client->fd = -1;
    }
    if (server_lost || session->phase == SESSION_CHOOSING) { /* what a failed connect left is nobody's */
        upstream_leave(worker, session);
        server->fd = -1;
    }
    for (int side = 0; side < SIDE_COUNT; side++) { /* a splice may have taken the error of a reset */
        struct conn *conn = &session->conn[side];
        if (session->phase == SESSION_OPEN && (conn->flags & CONN_NONBLOCKING) &&
            conn->source == SOURCE_OPEN && sock_was_reset(conn->fd, conn->received_bytes)) {
            conn->sink = SINK_DEAD;
        }
    }
}

/* A session that cannot go on is reset alone; its descriptors are closed with those nobody owns. */
static void give_up(struct worker *worker, struct session *session, enum close_reason reason)
{
    log_line(LOG_LEVEL_ERROR, "event=session_given_up reason=%s serial=%lu index=%u",
             close_reason_text(reason), (unsigned long)session->serial, relay_index(worker, session));
    worker->slot->stats.damaged += reason == CLOSE_LOST;
    worker->slot->stats.closes[reason]++;
    if (session->listener_row < IMAGE_LISTENERS_MAX) {
        relay_listener(worker, session)->closes[reason]++;
    }
    for (int side = 0; side < SIDE_COUNT; side++) {
        uint32_t flow = session->conn[side].flow;
        int fd = holds(&session->conn[side]) ? session->conn[side].fd : -1;
        if (fd >= 0) {
            sock_abort(fd);
        }
        relay_leave_flow(worker, session, side, fd);
        if (flow_table_owned(&worker->flows, flow, worker->slot_index, relay_index(worker, session))) {
            flow_table_release(&worker->flows, flow, worker->slot_index, &worker->slot->flow_claim);
        }
    }
    uint32_t generation = session->generation;
    memset(session, 0, sizeof(*session));
    session->generation = generation;
}

/* Marks the buffers of a session's chains; false where one is held twice. */
static bool mark_buffers(const struct worker *worker, const struct session *session, uint8_t *held)
{
    for (int side = 0; side < SIDE_COUNT; side++) {
        for (uint32_t id = session->conn[side].chain_head; id != BUFFER_NONE;
             id = worker->bank.table.records[id].next) {
            if (held[id]) {
                return false;
            }
            held[id] = 1;
        }
    }
    return true;
}

static bool is_sound(const struct worker *worker, const struct session *session)
{
    return session_check(session) && chain_check(&session->conn[SIDE_CLIENT], &worker->bank.table) &&
           chain_check(&session->conn[SIDE_SERVER], &worker->bank.table) &&
           session->listener_row < IMAGE_LISTENERS_MAX && session->pool_row < IMAGE_POOLS_MAX &&
           (session->server_row < IMAGE_SERVERS_MAX || session->server_row == ROW_NONE);
}

static void count_server(struct worker *worker, const struct session *session)
{
    if (session->conn[SIDE_SERVER].fd >= 0 && session->server_row != ROW_NONE) {
        region_server_counters(&worker->region, worker->slot_index, session->server_row)->sessions++;
    }
}

static bool is_urgent(const struct worker *worker, const struct session *session)
{
    if (worker->slot->unresumed > 0) { /* the order in which they starved the others */
        return false;
    }
    return session->phase != SESSION_OPEN || session->conn[SIDE_CLIENT].queued_bytes > 0 ||
           session->conn[SIDE_SERVER].queued_bytes > 0 ||
           session->active_ms + LATELY_MS >= worker->slot->beat_ms;
}

/* After an incarnation that did not live to resume all, another place each time: however short the lives,
 * every session's turn comes. */
static uint32_t first_to_resume(const struct worker *worker)
{
    const struct worker_slot *slot = worker->slot;

    if (slot->unresumed == 0 || slot->session_high == 0) {
        return 0;
    }
    return slot->epoch * 2654435761u % slot->session_high; /* Knuth's hash */
}

/* What is urgent comes before what is at rest. */
static void queue_session(struct worker *worker, struct session *session)
{
    struct resume_queue *queue = &worker->resuming;
    uint32_t index = relay_index(worker, session);

    session->wheel_next = SESSION_NONE;
    if (queue->count == 0) {
        queue->head = index;
        queue->tail = index;
    } else if (is_urgent(worker, session)) {
        session->wheel_next = queue->head;
        queue->head = index;
    } else {
        worker->slab.sessions[queue->tail].wheel_next = index;
        queue->tail = index;
    }
    queue->count++;
}

static void settle_sessions(struct worker *worker, uint8_t *held, uint8_t *owned, uint32_t descriptors)
{
    uint8_t pipes[PIPE_COUNT] = {0};

    for (uint32_t row = 0; row < IMAGE_SERVERS_MAX; row++) {
        region_server_counters(&worker->region, worker->slot_index, (uint16_t)row)->sessions = 0;
    }
    worker->active_directions = 0;
    uint32_t high = worker->slot->session_high;
    uint32_t first = first_to_resume(worker);
    for (uint32_t n = 0; n < high; n++) {
        uint32_t index = (first + n) % high;
        struct session *session = &worker->slab.sessions[index];
        if (session->phase == SESSION_FREE) {
            continue;
        }
        if (suspect_is_poison(worker, index)) {
            give_up(worker, session, CLOSE_FAULTY);
            continue;
        }
        if (!is_sound(worker, session) || !mark_buffers(worker, session, held) ||
            !stream_settle(worker, session, pipes)) {
            give_up(worker, session, CLOSE_LOST);
            continue;
        }
        settle_session(session);
        FAULT_POINT(SESSION_SETTLED);
        count_server(worker, session);
        if (session->phase !=
            SESSION_OPEN) { /* it may have closed some, whose numbers would be given out again */
            settle_descriptors(worker, session);
        }
        queue_session(worker, session);
        for (int side = 0; side < SIDE_COUNT; side++) {
            worker->active_directions += session->conn[side].held_bytes > 0;
            int fd = session->conn[side].fd;
            if (fd >= 0 && (uint32_t)fd < descriptors) {
                owned[fd] = 1;
            }
        }
    }
    stream_rebuild(worker, pipes);
}

/* Closes every descriptor from the floor up that no session owns: what was opened or accepted and not recorded. */
static void close_orphans(uint32_t floor, const uint8_t *owned, uint32_t descriptors)
{
    uint32_t first = floor;

    for (uint32_t fd = floor; fd < descriptors; fd++) {
        if (!owned[fd]) {
            continue;
        }
        if (fd > first) {
            sock_close_range(first, fd - 1);
        }
        first = fd + 1;
    }
    sock_close_range(first, UINT32_MAX);
}

/* One more than the highest descriptor a session names, within the limit. */
static uint32_t descriptors_named(const struct worker *worker)
{
    uint32_t count = 0;

    for (uint32_t index = 0; index < worker->slot->session_high; index++) {
        const struct session *session = &worker->slab.sessions[index];
        for (int side = 0; session->phase != SESSION_FREE && side < SIDE_COUNT; side++) {
            int fd = session->conn[side].fd;
            if (fd >= 0 && (uint32_t)fd < worker->descriptors_limit && (uint32_t)fd >= count) {
                count = (uint32_t)fd + 1;
            }
        }
    }
    return count;
}

int adopt_state(struct worker *worker, int ring_fd)
{
    uint8_t *held = calloc(worker->bank.table.count, 1);
    uint8_t *owned = NULL;
    int result = held == NULL ? -ENOMEM : 0;

    if (result == 0 && ring_fd >= 0) {
        worker->adopting = true;
        result = settle_ring(worker, ring_fd);
        worker->adopting = false;
    } else if (result == 0) {
        settle_claim(worker);
    }
    uint32_t descriptors = descriptors_named(worker); /* the completions may have brought some */
    owned = calloc(descriptors + 1, 1);
    if (result < 0 || owned == NULL) {
        result = result < 0 ? result : -ENOMEM;
        goto out;
    }
    undo_commit(&worker->slot->undo); /* void: the next ring counts its head from 0 again */
    FAULT_POINT(LOG_VOIDED);
    memset(worker->slot->ring_buffers, 0xff, sizeof(worker->slot->ring_buffers)); /* BUFFER_NONE */
    settle_sessions(worker, held, owned, descriptors);
    worker->slot->unresumed = worker->resuming.count;
    FAULT_POINT(SESSIONS_SETTLED);
    close_orphans(worker->slot->fd_floor, owned, descriptors);
    FAULT_POINT(ORPHANS_CLOSED);
    session_slab_rebuild(&worker->slab);
    buffer_bank_rebuild(&worker->bank, held);
    FAULT_POINT(STATE_REBUILT);
out:
    free(held);
    free(owned);
    return result;
}

void adopt_resume(struct worker *worker)
{
    struct resume_queue *queue = &worker->resuming;

    for (uint32_t n = 0; n < worker->resume_batch && queue->count > 0; n++) {
        uint32_t index = queue->head;
        struct session *session = &worker->slab.sessions[index];
        queue->head = session->wheel_next;
        queue->count--;
        FAULT_POINT(RESUME_TAKEN);
        if (session->phase == SESSION_OPEN) {
            settle_descriptors(worker, session);
        }
        relay_resume(worker, index);
        FAULT_POINT(RESUME_DONE);
    }
    worker->slot->unresumed = queue->count;
    if (queue->count > 0) {
        FAULT_POINT(RESUME_BATCH);
    }
}
