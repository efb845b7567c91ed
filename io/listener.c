#include "io/listener.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "core/check.h"
#include "io/inbox.h"
#include "io/log.h"
#include "io/relay.h"
#include "io/sock.h"

enum {
    PAUSE_LOG_EVERY_MS = 10000,
    /* Half-open connections get this long to be established: nobody sends a SYN here any more. */
    LEAVE_MS = 1000,
};

uint32_t listener_room(const struct worker *worker)
{
    uint64_t active = 0;
    uint64_t limit = worker->image->sessions_limit;

    /* Other workers' counts may be a moment old: the limit may be passed by what they accept in one turn. */
    for (uint32_t i = 0; i < region_slots_used(&worker->region); i++) {
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

/* The limit that leaves no room: of all workers together, or this worker's own. */
static const char *limit_reached(const struct worker *worker)
{
    if (worker->slab.active < worker->sessions_max || worker->sessions_max == worker->slab.capacity) {
        return "sessions";
    }
    return worker->sessions_max < IMAGE_WORKER_SESSIONS_MAX ? "descriptors" : "sessions_of_a_worker";
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

static int descriptor(const struct worker *worker, uint32_t place)
{
    return worker->listener_base + (int)place;
}

/* Whoever leaves is not closed within the next `ms`. */
static void keep_open(const struct worker *worker, struct worker_listener *listener, uint32_t ms)
{
    uint64_t until_ms = worker->now_ms + ms;

    listener->closes_ms = listener->closes_ms > until_ms ? listener->closes_ms : until_ms;
}

static void accept_session(struct worker *worker, const struct worker_listener *listener, int fd)
{
    uint32_t index = session_slab_peek(&worker->slab);
    struct session fresh = {0};
    struct flow_key key;

    if (index == SESSION_NONE) { /* the limits leave room for a multishot accept's; be safe all the same */
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
    fresh.generation = session->generation;
    session_init(&fresh, fd, sock_cookie(fd), worker->now_us);
    fresh.serial = worker->slot->serial++;
    fresh.listener_row = listener->row;
    fresh.pool_row = worker->routes[listener->row].pool_row;
    fresh.source_family = listener->local ? ENDPOINT_UNIX : ENDPOINT_NONE; /* until its address is known */
    fresh.flags |= listener->local ? SESSION_NEVER_STREAMS : 0;
    struct conn *client = &fresh.conn[SIDE_CLIENT];
    bool zero_copy = worker->routes[listener->row].zero_copy && !listener->local;
    fresh.flags |= zero_copy ? SESSION_ZERO_COPY << SIDE_CLIENT : 0;
    if (!listener->local && sock_flow_key(fd, &key)) {
        set_source(&fresh, &key);
        client->flow = flow_table_claim(&worker->flows, &key, worker->slot_index, index, worker->now_ms,
                                        &worker->slot->flow_claim);
        relay_count(worker, &worker->slot->stats.flow_failures, client->flow == FLOW_NONE);
    }
    session_slab_publish(&worker->slab, index, &fresh);
    FAULT_POINT(ACCEPT_RECORDED);
    relay_count(worker, &relay_listener(worker, session)->accepted, 1);
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
        keep_open(worker, listener, LEAVE_TURN_MS + 1);
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
        ring_poll(worker->ring, tag_of(index, RING_OP_LISTEN_POLL), descriptor(worker, index), POLLIN);
        listener->pending = 1;
        return;
    }
    uint32_t batch = share < LISTENER_LOCAL_BATCH ? share : LISTENER_LOCAL_BATCH;

    for (uint32_t i = 0; i < batch; i++) {
        ring_accept(worker->ring, tag_of(index, RING_OP_ACCEPT), descriptor(worker, index),
                    RING_ACCEPT_AT_ONCE);
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
    ring_accept(worker->ring, tag_of(index, RING_OP_ACCEPT), descriptor(worker, index),
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

/* The number stays taken: what is below the floor is no session's. The supervisor takes the state's word that the
 * socket is closed; a death in between is made good by listener_adopt(). */
static void close_place(struct worker *worker, uint32_t place)
{
    struct worker_listener *listener = &worker->listeners[place];

    worker->listeners_open -= listener->open;
    worker->listeners_leaving -= listener->leaving;
    *listener = (struct worker_listener){0};
    sock_retire(descriptor(worker, place), worker->wake_fd);
    FAULT_POINT(LISTENER_CLOSED);
    __atomic_store_n(&worker->slot->listeners[place].state, SLOT_LISTENER_NONE, __ATOMIC_RELEASE);
}

static void leave(struct worker *worker, uint32_t place)
{
    struct worker_listener *listener = &worker->listeners[place];

    if (listener->open && !listener->leaving) {
        listener->leaving = true;
        worker->listeners_leaving++;
        keep_open(worker, listener, listener->local ? LEAVE_TURN_MS + 1 : LEAVE_MS);
    }
}

/* At a limit those who wait have to wait for room. */
static bool may_close(const struct worker *worker, const struct worker_listener *listener)
{
    return listener->leaving &&
           (worker->refusing || (!worker->slot->accept_paused && worker->now_ms >= listener->closes_ms));
}

/* The last look: somebody may be there of whom a ring under tear-down was told instead of ours. */
static bool is_deserted(const struct worker *worker, uint32_t place)
{
    return worker->refusing || !sock_has_waiting(descriptor(worker, place));
}

static void turn_listener(struct worker *worker, uint32_t place, bool open, uint32_t share)
{
    struct worker_listener *listener = &worker->listeners[place];
    bool closing = may_close(worker, listener);

    if (!listener->open || ring_space(worker->ring) < WORKER_TXN_SUBMISSIONS) {
        return;
    }
    if (listener->pending == 0) {
        if (closing && is_deserted(worker, place)) {
            close_place(worker, place);
        } else if (open) {
            arm(worker, place, share);
        }
    } else if (!open || closing || (listener->multishot && share <= worker->image->backlog)) {
        listener_cancel(worker, place);
    }
}

void listener_turn(struct worker *worker)
{
    /* Each listener's part of the room: an accepted connection without a record would have to be reset. The last
     * places under the limit go to whoever is first, as long as the slab has a record for each listener. */
    uint32_t room = listener_room(worker);
    uint32_t listeners = worker->listeners_open > 0 ? worker->listeners_open : 1;
    uint32_t share = room / listeners;

    if (share == 0 && room > 0 && session_slab_room(&worker->slab) >= listeners) {
        share = 1;
    }
    bool exhausted = worker->ring_filled[BUFFER_LARGE] + worker->ring_filled[BUFFER_SMALL] == 0;
    bool open = !worker->refusing && worker->now_ms >= worker->accept_after_ms && share > 0 && !exhausted;

    if (open || worker->listeners_open == 0) {
        worker->slot->accept_paused = 0;
    } else if (!worker->refusing && (share == 0 || exhausted)) {
        pause_accepting(worker, exhausted ? "buffers" : limit_reached(worker));
    }
    for (uint32_t i = 0; i < IMAGE_BINDS_MAX && worker->listeners_open > 0; i++) {
        turn_listener(worker, i, open, share);
    }
}

void listener_leave_all(struct worker *worker)
{
    for (uint32_t i = 0; i < IMAGE_BINDS_MAX; i++) {
        leave(worker, i);
    }
}

static void receive(struct worker *worker)
{
    struct inbox_message message;
    int result;

    while ((result = inbox_look(worker->inbox_fd, worker->listener_base, &message)) == 1) {
        FAULT_POINT(INBOX_LOOKED);
        for (uint32_t i = 0; i < message.count; i++) {
            worker->slot->listeners[message.places[i]] =
                (struct slot_listener){.generation = message.generation, .state = SLOT_LISTENER_RECEIVED};
        }
        FAULT_POINT(INBOX_RECORDED);
        inbox_drop(worker->inbox_fd);
        FAULT_POINT(INBOX_DROPPED);
    }
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=inbox_failed slot=%u error=\"%s\" what=\"tried again\"",
                 worker->slot_index, strerror(-result));
    }
}

static void open_place(struct worker *worker, uint32_t place)
{
    const struct slot_listener *shared = &worker->slot->listeners[place];
    struct worker_listener *listener = &worker->listeners[place];

    worker->listeners_open += !listener->open;
    listener->open = true;
    listener->local = shared->local;
    listener->row = shared->row;
}

void listener_adopt(struct worker *worker)
{
    for (uint32_t i = 0; i < IMAGE_BINDS_MAX; i++) {
        struct slot_listener *shared = &worker->slot->listeners[i];
        bool is_socket = sock_cookie(descriptor(worker, i)) != 0;
        if (shared->state != SLOT_LISTENER_NONE && !is_socket) {
            shared->state = SLOT_LISTENER_NONE;
        } else if (shared->state == SLOT_LISTENER_NONE && is_socket) {
            sock_retire(descriptor(worker, i), worker->wake_fd);
        } else if (shared->state == SLOT_LISTENER_OPEN) {
            open_place(worker, i);
        }
    }
}

/* Opens what the image names and marks it in `named`. Returns whether all is there. */
static bool open_named(struct worker *worker, bool named[IMAGE_BINDS_MAX])
{
    const struct image *image = worker->image;
    bool complete = true;

    for (uint32_t i = 0; i < image->bind_count; i++) {
        const struct image_bind *bind = image_bind(image, i);
        struct slot_listener *shared = &worker->slot->listeners[bind->place];
        named[bind->place] = true;
        if (shared->state == SLOT_LISTENER_NONE) {
            complete = false;
            continue;
        }
        shared->row = (uint16_t)image_listener(image, bind->listener)->row;
        shared->local = bind->endpoint.family == ENDPOINT_UNIX;
        shared->state = SLOT_LISTENER_OPEN;
        open_place(worker, bind->place);
    }
    return complete;
}

bool listener_follow_image(struct worker *worker)
{
    bool named[IMAGE_BINDS_MAX] = {false};
    bool complete = true;

    receive(worker);
    if (worker->slot_index < worker->image->workers) {
        complete = open_named(worker, named);
    }
    for (uint32_t i = 0; i < IMAGE_BINDS_MAX; i++) {
        const struct slot_listener *shared = &worker->slot->listeners[i];
        if (named[i]) {
            continue;
        }
        if (shared->state == SLOT_LISTENER_OPEN) {
            leave(worker, i);
        } else if (shared->state == SLOT_LISTENER_RECEIVED &&
                   shared->generation <= worker->image->generation) {
            close_place(worker, i); /* of a reload that was not carried out */
        }
    }
    return complete;
}
