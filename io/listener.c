#include "io/listener.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/check.h"
#include "io/log.h"
#include "io/relay.h"
#include "io/sock.h"

enum { PAUSE_LOG_EVERY_MS = 10000 };

uint32_t listener_room(const struct worker *worker)
{
    uint64_t active = 0;
    uint64_t limit = worker->image->sessions_limit;

    /* Other workers' counts may be a moment old: the limit may be passed by what they accept in one turn. */
    for (uint32_t i = 0; i < worker->region.header->slot_count; i++) {
        active += i == worker->slot_index
                      ? worker->slab.active
                      : __atomic_load_n(&region_slot(&worker->region, i)->sessions_active, __ATOMIC_RELAXED);
    }
    uint64_t room = active < limit ? limit - active : 0;
    uint32_t slab = session_slab_room(&worker->slab);
    uint32_t own =
        worker->slab.active < worker->sessions_max ? worker->sessions_max - worker->slab.active : 0;

    room = room < slab ? room : slab;
    return room < own ? (uint32_t)room : own;
}

static void pause_accepting(struct worker *worker, const char *limit)
{
    if (worker->slot->accept_paused) {
        return;
    }
    worker->slot->accept_paused = 1;
    worker->slot->stats.accept_pauses++;
    if (worker->now_ms >= worker->pause_log_after_ms) {
        worker->pause_log_after_ms = worker->now_ms + PAUSE_LOG_EVERY_MS;
        log_line(
            LOG_LEVEL_WARNING,
            "event=accept_paused limit=%s sessions=%u what=\"new connections wait in the kernel's queue\"",
            limit, worker->slab.active);
    }
}

static struct ring_tag tag_of(uint32_t index, enum ring_op op)
{
    return (struct ring_tag){.op = op, .index = index};
}

static void set_source(struct session *session, const struct flow_key *key)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool v4 = memcmp(key->remote, mapped, sizeof(mapped)) == 0;

    session->source_family = v4 ? ENDPOINT_V4 : ENDPOINT_V6;
    session->source_port = key->remote_port;
    memcpy(session->source_address, v4 ? key->remote + sizeof(mapped) : key->remote, v4 ? 4 : 16);
}

static void accept_session(struct worker *worker, const struct worker_listener *listener, int fd)
{
    uint32_t index = session_slab_peek(&worker->slab);
    struct flow_key key;

    if (index ==
        SESSION_NONE) { /* the limits leave room for what a multishot accept brings; be safe all the same */
        sock_abort(fd);
        sock_close(fd);
        return;
    }
    struct session *session = &worker->slab.sessions[index];
    relay_save(worker, session, sizeof(*session));
    relay_save(worker, &worker->slot->serial, sizeof(worker->slot->serial));
    relay_count(worker, &worker->slot->stats.accepted, 1);
    session_slab_acquire(&worker->slab);
    FAULT_POINT(ACCEPT_ACQUIRED);
    session_init(session, fd, sock_cookie(fd), worker->now_us);
    session->serial = worker->slot->serial++;
    session->listener_row = listener->row;
    session->pool_row = worker->routes[listener->row].pool_row;
    session->source_family =
        listener->local ? ENDPOINT_UNIX : ENDPOINT_NONE; /* gone already: no address to be had */
    session->flags |= listener->local ? SESSION_NEVER_STREAMS : 0;
    FAULT_POINT(ACCEPT_RECORDED);
    struct conn *client = &session->conn[SIDE_CLIENT];
    if (!listener->local && sock_flow_key(fd, &key)) {
        set_source(session, &key);
        client->flow =
            flow_table_claim(&worker->flows, &key, worker->slot_index, index, &worker->slot->flow_claim);
        relay_count(worker, &worker->slot->stats.flow_failures, client->flow == FLOW_NONE);
    }
    relay_step_in(worker, session, &(struct relay_event){.kind = RELAY_PLAN});
}

static void accept_failed(struct worker *worker, int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
        worker->accept_after_ms = worker->now_ms + WORKER_PAUSE_MS;
        pause_accepting(worker, "descriptors");
        break;
    case ENOMEM:
    case ENOBUFS:
        worker->accept_after_ms = worker->now_ms + WORKER_PAUSE_MS;
        pause_accepting(worker, "kernel_memory");
        break;
    default: /* ECONNABORTED and network errors of a connection that is no more: accept(2); EAGAIN, ECANCELED */
        break;
    }
}

void listener_complete(struct worker *worker, const struct ring_completion *completion)
{
    CHECK(completion->tag.index < IMAGE_BINDS_MAX);
    struct worker_listener *listener = &worker->listeners[completion->tag.index];

    if (!completion->more && listener->pending > 0) {
        listener->pending--;
        listener->cancelling = listener->cancelling && listener->pending > 0;
    }
    if (completion->tag.op == RING_OP_LISTEN_POLL) {
        listener->readable = completion->result > 0;
        return;
    }
    if (completion->result >= 0) {
        listener->accepted++;
        accept_session(worker, listener, completion->result);
        return;
    }
    listener->readable = false;
    listener->waits = listener->waits || (listener->local && completion->result == -EINVAL);
    accept_failed(worker, -completion->result);
}

/* A unix listener is shared by all workers: whoever is woken takes some, without waiting. */
static void arm_local(struct worker *worker, struct worker_listener *listener, uint32_t index, uint32_t share)
{
    if (!listener->readable) {
        ring_poll(worker->ring, tag_of(index, RING_OP_LISTEN_POLL), listener->fd, POLLIN);
        listener->pending = 1;
        return;
    }
    uint32_t batch = share < LISTENER_LOCAL_BATCH ? share : LISTENER_LOCAL_BATCH;

    for (uint32_t i = 0; i < batch; i++) {
        ring_accept(worker->ring, tag_of(index, RING_OP_ACCEPT), listener->fd, RING_ACCEPT_AT_ONCE);
    }
    listener->pending = batch;
}

static void arm(struct worker *worker, uint32_t index, uint32_t share)
{
    struct worker_listener *listener = &worker->listeners[index];

    if (listener->local && !listener->waits) {
        arm_local(worker, listener, index, share);
        return;
    }
    /* A multishot accept takes the whole queue at once: only where there is room for all of it. */
    listener->multishot = !listener->local && share > worker->image->backlog;
    ring_accept(worker->ring, tag_of(index, RING_OP_ACCEPT), listener->fd,
                listener->multishot ? RING_ACCEPT_MANY : RING_ACCEPT_ONE);
    listener->pending = 1;
}

void listener_cancel(struct worker *worker, uint32_t index)
{
    struct worker_listener *listener = &worker->listeners[index];

    if (listener->pending > 0 && !listener->cancelling) {
        if (ring_space(worker->ring) == 0) {
            (void)ring_submit(worker->ring);
        }
        bool polled = listener->local && !listener->waits && !listener->readable;
        ring_cancel(worker->ring, tag_of(index, polled ? RING_OP_LISTEN_POLL : RING_OP_ACCEPT));
        listener->cancelling = true;
    }
}

void listener_turn(struct worker *worker)
{
    /* Each listener's part of the room: an accepted connection without a record would have to be reset. The last
     * places under the limit go to whoever is first, as long as the slab has a record for each listener. */
    uint32_t room = listener_room(worker);
    uint32_t listeners = worker->listener_count > 0 ? worker->listener_count : 1;
    uint32_t share = room / listeners;

    if (share == 0 && room > 0 && session_slab_room(&worker->slab) >= listeners) {
        share = 1;
    }
    bool exhausted = worker->ring_filled[BUFFER_LARGE] + worker->ring_filled[BUFFER_SMALL] == 0;
    bool open = !worker->stopping && worker->now_ms >= worker->accept_after_ms && share > 0 && !exhausted;

    if (open) {
        worker->slot->accept_paused = 0;
    } else if (!worker->stopping && (share == 0 || exhausted)) {
        pause_accepting(worker, exhausted ? "buffers" : "sessions");
    }
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        struct worker_listener *listener = &worker->listeners[i];
        if (listener->closed || ring_space(worker->ring) < WORKER_TXN_SUBMISSIONS) {
            continue;
        }
        if (open && listener->pending == 0) {
            arm(worker, i, share);
        }
        if (!open || (listener->multishot && share <= worker->image->backlog)) {
            listener_cancel(worker, i);
        }
    }
}

void listener_drain(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->listener_count; i++) {
        struct worker_listener *listener = &worker->listeners[i];
        if (!listener->closed && listener->pending == 0) {
            /* Its number stays taken: the next incarnation believes it to be a listener, not a session's. */
            sock_retire(listener->fd, worker->wake_fd);
            listener->closed = true;
        }
    }
}
