#include "io/worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/adopt.h"
#include "io/clock.h"
#include "io/heap.h"
#include "io/listener.h"
#include "io/log.h"
#include "io/relay.h"
#include "io/sock.h"
#include "io/upstream.h"
#include "io/watch.h"
#include "shm/image_box.h"
#include "shm/order.h"

enum {
    REKICK_MS = 20, /* a ring that is being torn down may still take an accept's wake-up, on a busy machine */
    REKICK_LAST_MS = 5120,      /* for seconds: accepts are armed again after pauses that double up to this */
    COMPLETIONS_RESERVE = 8192, /* accepts, buffers, notices, what one turn submits beyond sessions' own */
    COMPLETIONS_PER_SESSION = 4, /* a receive and a send of each side */
    STOP_BATCH = 1024,           /* sessions ended in one turn of the loop */
    COUNT_BUSY_EVERY_US = 1000000,
};

_Static_assert((RING_COMPLETIONS_MAX - COMPLETIONS_RESERVE) / COMPLETIONS_PER_SESSION ==
                   IMAGE_WORKER_SESSIONS_MAX,
               "the configuration's check knows it");

static void tick(struct worker *worker)
{
    worker->now_us = clock_now_us();
    worker->now_ms = worker->now_us / 1000;
}

/* Marks what is lent: to chains and to the receive rings. */
static void mark_lent(const struct worker *worker, uint8_t *held)
{
    const struct buffer_record *records = worker->bank.table.records;

    for (uint32_t i = 0; i < worker->slot->session_high; i++) {
        const struct session *session = &worker->slab.sessions[i];
        for (int side = 0; session->phase != SESSION_FREE && side < SIDE_COUNT; side++) {
            for (uint32_t id = session->conn[side].chain_head; id != BUFFER_NONE; id = records[id].next) {
                held[id] = 1;
            }
        }
    }
    for (int class = 0; class < BUFFER_CLASSES; class ++) {
        for (int i = 0; i < SLOT_RING_BUFFERS; i++) {
            uint32_t id = worker->slot->ring_buffers[class][i];
            if (id != BUFFER_NONE) {
                held[id] = 1;
            }
        }
    }
}

/* This worker's part of the bank, as the image wants it. One that leaves keeps what it has. */
static void follow_bank(struct worker *worker)
{
    uint64_t bytes = worker->image->buffer_bytes_limit / worker->image->workers;

    if (bytes == worker->bank_bytes || worker->slot_index >= worker->image->workers) {
        return;
    }
    uint8_t *held = calloc(worker->bank.table.count, 1);
    if (held == NULL) {
        log_line(LOG_LEVEL_ERROR, "event=bank_kept error=\"out of memory\" what=\"buffers stay as before\"");
        return;
    }
    mark_lent(worker, held);
    worker->bank_bytes = bytes;
    buffer_bank_limit(&worker->bank, bytes);
    buffer_bank_rebuild(&worker->bank, held);
    free(held);
}

static void take_image(struct worker *worker)
{
    const struct image *image = image_box_current(&worker->region);

    FAULT_POINT(IMAGE_TAKING);
    worker->image = image;
    worker->image_drained = false;
    worker->congestion_warned = false;
    log_set_level(image->log_level);
    memset(worker->pool_index, 0xff, sizeof(worker->pool_index)); /* ROW_NONE */
    for (uint32_t i = 0; i < image->pool_count; i++) {
        worker->pool_index[image_pool(image, i)->row] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < image->listener_count; i++) {
        const struct image_listener *listener = image_listener(image, i);
        worker->routes[listener->row] = (struct worker_route){
            .pool = listener->pool,
            .pool_row = (uint16_t)image_pool(image, listener->pool)->row,
            .zero_copy = listener->zero_copy != 0,
            .timeouts = image_timeouts_of(image, i, listener->pool),
        };
    }
    worker->image_complete = false;
}

/* What the image names may have to come first. */
static void follow_image(struct worker *worker)
{
    if (image_box_current(&worker->region) != worker->image) {
        take_image(worker);
        follow_bank(worker);
    }
    if (!worker->image_complete && listener_follow_image(worker)) {
        worker->image_complete = true;
        /* From here on the place of the old image may be written: pairs with image_box_is_free(). */
        __atomic_store_n(&worker->slot->image_generation, worker->image->generation, __ATOMIC_RELEASE);
        FAULT_POINT(IMAGE_TAKEN);
    }
}

static uint32_t power_of_two_within(uint32_t value)
{
    return 1u << (31 - (uint32_t)__builtin_clz(value | 1));
}

/* A small ring stays in the cache and takes little memory; a small bank is not to be swallowed by it. */
static int init_buffer_rings(struct worker *worker)
{
    for (int class = 0; class < BUFFER_CLASSES; class ++) {
        uint32_t entries = power_of_two_within(worker->bank.stacks[class].total / 2);
        entries = entries < SLOT_RING_BUFFERS ? entries : SLOT_RING_BUFFERS;
        worker->ring_entries[class] = entries;
        worker->ring_filled[class] = 0;
        int result = ring_buffers_create(worker->ring, (uint8_t) class, entries);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

/* How many sessions the descriptors and the completion queue allow: it must never overflow. */
static uint32_t sessions_for(const struct worker *worker)
{
    uint32_t by_descriptors =
        (worker->descriptors_limit - worker->slot->fd_floor - DESCRIPTORS_SPARE) / SIDE_COUNT;
    uint32_t sessions =
        by_descriptors < IMAGE_WORKER_SESSIONS_MAX ? by_descriptors : IMAGE_WORKER_SESSIONS_MAX;

    return sessions < worker->slab.capacity ? sessions : worker->slab.capacity;
}

/* A new ring under the other parity's descriptor; the epoch's store makes it the slot's. The dead ring is closed
 * before anything is armed: while open it takes every accept's wake-up. */
static int replace_ring(struct worker *worker, const struct worker_setup *setup)
{
    struct worker_slot *slot = worker->slot;
    uint32_t next = (slot->epoch + 1) & 1;
    int result = ring_create(&worker->ring, setup->ring_fds[next],
                             COMPLETIONS_RESERVE + worker->sessions_max * COMPLETIONS_PER_SESSION,
                             slot->ring_params[next]);

    if (result < 0) {
        return result;
    }
    FAULT_POINT(RING_CREATED);
    __atomic_store_n(&slot->epoch, slot->epoch + 1, __ATOMIC_RELEASE);
    FAULT_POINT(EPOCH_STORED);
    sock_retire(setup->ring_fds[next ^ 1], setup->wake_fd); /* closes the old ring */
    FAULT_POINT(OLD_RING_CLOSED);
    result = watch_create(setup->watch_fd);
    return result == 0 ? init_buffer_rings(worker) : result;
}

/* What others read of this worker; any mixture of old and new values is fine. */
static void publish(struct worker *worker)
{
    struct worker_slot *slot = worker->slot;
    const struct buffer_bank *bank = &worker->bank;

    __atomic_store_n(&slot->sessions_active, worker->slab.active, __ATOMIC_RELAXED);
    slot->buffers_large_lent = bank->stacks[BUFFER_LARGE].total - bank->stacks[BUFFER_LARGE].count;
    slot->buffers_small_lent = bank->stacks[BUFFER_SMALL].total - bank->stacks[BUFFER_SMALL].count;
    slot->receivers_waiting = worker->waiting.count;
    slot->share_bytes = relay_share(worker);
    slot->beat_ms = worker->now_ms;
}

/* Times since the process began, which is when its CPU clock did. */
static void count_adoption(struct worker *worker, uint64_t started_us, bool first)
{
    struct worker_slot *slot = worker->slot;

    worker->counted_us = started_us;
    slot->busy_permille = 0;
    slot->adopted_us = worker->now_us;
    slot->adoption_us = worker->now_us - started_us;
    if (!first) {
        undo_begin(&slot->undo);
        relay_count_time(worker, region_adoption_times(&worker->region, worker->slot_index),
                         slot->adoption_us);
        undo_commit(&slot->undo);
    }
}

static void init(struct worker *worker, const struct worker_setup *setup)
{
    memset(worker, 0, sizeof(*worker));
    worker->region = *setup->region;
    worker->slot_index = setup->slot;
    worker->slot = region_slot(setup->region, setup->slot);
    worker->finishing = SESSION_NONE;
    worker->resetting = SESSION_NONE;
    worker->waiting = (struct wait_queue){.head = SESSION_NONE, .tail = SESSION_NONE};
    worker->resuming = (struct resume_queue){.head = SESSION_NONE, .tail = SESSION_NONE};
    worker->resume_batch = setup->resume_batch;
    worker->wake_fd = setup->wake_fd;
    worker->watch_fd = setup->watch_fd;
    worker->pipe_base = setup->pipe_base;
    worker->inbox_fd = setup->inbox_fd;
    worker->listener_base = setup->listener_base;
    worker->descriptors_limit = setup->descriptors_limit;
}

int worker_start(struct worker *worker, const struct worker_setup *setup)
{
    struct worker_slot *slot = region_slot(setup->region, setup->slot);
    bool first = slot->epoch == 0;

#ifdef PENSTOCK_FAULT_POINTS
    fault_point_obey(&slot->fault_choice);
#endif
    init(worker, setup);
    tick(worker);
    uint64_t started_us = worker->now_us;
    slot->pid = (uint32_t)getpid();
    __atomic_store_n(&slot->state, SLOT_ADOPTING, __ATOMIC_RELEASE);
    FAULT_POINT(START_ANNOUNCED);
    take_image(worker);
    flow_table_open(&worker->flows, &worker->region);
    session_slab_open(&worker->slab, &worker->region, setup->slot);
    worker->sessions_max = sessions_for(worker);
    int result = source_port_start(worker); /* later the sandbox forbids it */
    if (result < 0) {
        return result;
    }
    listener_adopt(worker);
    wheel_init(&worker->wheel, worker->slab.sessions, worker->now_ms);
    result = buffer_bank_open(&worker->bank, &worker->region, setup->slot);
    if (result == 0) {
        worker->bank_bytes = worker->image->buffer_bytes_limit / worker->image->workers;
        buffer_bank_limit(&worker->bank, worker->bank_bytes);
        result = adopt_state(worker, first ? -1 : setup->ring_fds[slot->epoch & 1]);
    }
    if (result == 0) {
        result = replace_ring(worker, setup);
    }
    if (result < 0) {
        return result;
    }
    follow_image(worker);
    relay_refill(worker);
    FAULT_POINT(BUFFERS_GIVEN);
    adopt_resume(worker);
    (void)ring_submit(worker->ring); /* what was active need not wait for the next batch */
    tick(worker);
    worker->rekick_pause_ms = REKICK_MS;
    worker->rekick_ms = first ? 0 : worker->now_ms + REKICK_MS;
    count_adoption(worker, started_us, first);
    publish(worker); /* whoever sees it serve may read it */
    __atomic_store_n(&slot->state, SLOT_SERVING, __ATOMIC_RELEASE);
    FAULT_POINT(ADOPTED);
    if (!first) {
        log_line(LOG_LEVEL_WARNING, "event=adopted slot=%u incarnation=%u sessions=%u took_us=%lu resting=%u",
                 setup->slot, slot->epoch, worker->slab.active, (unsigned long)slot->adoption_us,
                 worker->resuming.count);
    }
    return 0;
}

static uint32_t complete_all(struct worker *worker)
{
    struct ring_completion completion;
    uint32_t count = 0;

    while (ring_peek(worker->ring, &completion)) {
        if (ring_space(worker->ring) < WORKER_TXN_SUBMISSIONS) {
            (void)ring_submit(worker->ring); /* never within a transaction */
        }
        relay_complete(worker, &completion);
        worker->completed_us = worker->now_us;
        count++;
    }
    return count;
}

static void arm_wake(struct worker *worker)
{
    uint64_t count;

    if (worker->wake_armed) {
        return;
    }
    while (read(worker->wake_fd, &count, sizeof(count)) > 0) {
    }
    ring_poll(worker->ring, (struct ring_tag){.op = RING_OP_WAKE}, worker->wake_fd, POLLIN);
    worker->wake_armed = true;
}

/* Ends sessions, all or those that the image has no listener or server for any more; a bounded number. Returns whether
 * there were no more. */
static bool stop_sessions(struct worker *worker, bool all)
{
    struct relay_event event = {.kind = RELAY_STOP, .reason = CLOSE_STOPPED};
    uint32_t stopped = 0;

    if (worker->resuming.count > 0) { /* nothing else may come to a session first */
        return false;
    }
    for (uint32_t index = 0; index < worker->slot->session_high && stopped < STOP_BATCH; index++) {
        const struct session *session = &worker->slab.sessions[index];
        bool ends = session->phase != SESSION_FREE && session->phase != SESSION_CLOSING;
        if (ends && (all || !image_has_rows(worker->image, session->listener_row, session->server_row))) {
            relay_dispatch(worker, index, &event);
            stopped++;
        }
    }
    return stopped < STOP_BATCH;
}

/* Ends the session that an operator wants ended, if it has not ended by itself. */
static void follow_orders(struct worker *worker)
{
    const struct relay_event event = {.kind = RELAY_STOP, .reason = CLOSE_KILLED};
    uint32_t index;
    uint32_t generation;

    if (worker->resuming.count > 0 || /* nothing else may come to a session first */
        !order_next(&worker->region, worker->slot_index, &index, &generation)) {
        return;
    }
    const struct session *session = &worker->slab.sessions[index];
    if (index < worker->slot->session_high && session->generation == generation &&
        session->phase != SESSION_FREE && session->phase != SESSION_CLOSING) {
        relay_dispatch(worker, index, &event);
    }
    FAULT_POINT(ORDER_DONE);
    order_answer(&worker->region, worker->slot_index, index, generation);
}

/* After a reload, what it left without a listener or server, and all of a worker that it leaves no place for, has
 * `timeouts.drain` to end by itself. */
static void drain_gone(struct worker *worker)
{
    uint32_t drain_ms = worker->image->timeouts.drain_ms;

    if (drain_ms != 0 && !worker->image_drained &&
        worker->now_ms >= worker->region.header->image_since_ms + drain_ms) {
        worker->image_drained = stop_sessions(worker, worker->slot_index >= worker->image->workers);
    }
}

/* Follows the supervisor's word. A drain first takes what waits in the accept queues, whose connections are
 * established for their clients, then closes the listening sockets and waits for the sessions to end; a
 * handover leaves them to whoever has the same sockets. */
static void follow_run_state(struct worker *worker)
{
    const struct region_header *header = worker->region.header;
    /* Pairs with the supervisor's release. */
    uint32_t state = __atomic_load_n(&header->run_state, __ATOMIC_ACQUIRE);

    if (state == RUN_SERVE) {
        return;
    }
    uint32_t drain_ms = worker->image->timeouts.drain_ms;
    bool late = drain_ms != 0 && worker->now_ms >= header->run_state_since_ms + drain_ms;
    listener_leave_all(worker);
    worker->refusing = worker->refusing || state == RUN_HANDOVER; /* others take who waits */
    if (state == RUN_STOP || (late && state == RUN_DRAIN)) {
        worker->refusing = true;
        (void)stop_sessions(worker, true);
    }
}

/* All is over, or the slot is no more in the configuration, and the last session has ended. Listening sockets are
 * closed before: a ring is torn down some time after its process has ended, and an accept in it would keep
 * one alive. */
static bool is_done(const struct worker *worker)
{
    bool leaves =
        worker->region.header->run_state != RUN_SERVE || worker->slot_index >= worker->image->workers;

    return leaves && worker->slab.active == 0 && worker->listeners_open == 0;
}

/* A ring under tear-down, or a worker that let go of the same socket, may have taken the wake-up of a connection that
 * came meanwhile. */
static void rekick_accept(struct worker *worker)
{
    uint32_t kick = __atomic_load_n(&worker->region.header->accept_kick, __ATOMIC_RELAXED);
    bool due = worker->rekick_ms != 0 && worker->now_ms >= worker->rekick_ms;

    if (!due && kick == worker->accept_kick) {
        return;
    }
    worker->accept_kick = kick;
    if (due) {
        worker->rekick_pause_ms *= 2;
        worker->rekick_ms =
            worker->rekick_pause_ms <= REKICK_LAST_MS ? worker->now_ms + worker->rekick_pause_ms : 0;
    }
    for (uint32_t i = 0; i < IMAGE_BINDS_MAX; i++) {
        listener_cancel(worker, i);
    }
}

static void sweep_flows(struct worker *worker)
{
    if (worker->now_ms < worker->sweep_after_ms || worker->slot_index >= worker->image->workers) {
        return;
    }
    worker->sweep_after_ms = worker->now_ms + flow_table_sweep(&worker->flows, worker->slot_index,
                                                               worker->now_ms, &worker->slot->flow_claim);
}

/* How much of the time went into work. Most of that is the kernel's, within ring_wait(): only the CPU clock
 * knows it. */
static void count_busy(struct worker *worker)
{
    uint64_t span_us = worker->now_us - worker->counted_us;

    if (span_us < COUNT_BUSY_EVERY_US) {
        return;
    }
    worker->slot->heap_bytes = heap_allocated_bytes();
    uint64_t cpu_us = clock_cpu_us();
    uint64_t gained_us = cpu_us - worker->cpu_us;
    uint64_t busy_us = gained_us > worker->spun_us ? gained_us - worker->spun_us : 0;
    worker->cpu_us = cpu_us;
    worker->counted_us = worker->now_us;
    worker->spun_us = 0;
    __atomic_store_n(&worker->slot->busy_us, worker->slot->busy_us + busy_us, __ATOMIC_RELAXED);
    worker->slot->busy_permille = busy_us < span_us ? (uint32_t)(busy_us * 1000 / span_us) : 1000;
}

static uint32_t wait_ms(const struct worker *worker)
{
    uint32_t wait = wheel_wait_ms(&worker->wheel, worker->now_ms);

    if (relay_can_grant(worker) || worker->resuming.count > 0) { /* the queue gets shorter with every turn */
        return 0;
    }

    if (worker->rekick_ms != 0 && worker->now_ms + wait > worker->rekick_ms) { /* to come: rekick_accept() */
        wait = (uint32_t)(worker->rekick_ms - worker->now_ms);
    }
    if (worker->sweep_after_ms > worker->now_ms && worker->now_ms + wait > worker->sweep_after_ms) {
        wait = (uint32_t)(worker->sweep_after_ms - worker->now_ms);
    }
    if ((worker->accept_after_ms > worker->now_ms || worker->slot->accept_paused) && wait > WORKER_PAUSE_MS) {
        wait = WORKER_PAUSE_MS;
    }
    bool ending = worker->region.header->run_state != RUN_SERVE || worker->listeners_leaving > 0;
    if (ending && wait > LEAVE_TURN_MS) {
        wait = LEAVE_TURN_MS;
    }
    return wait < WORKER_TICK_MS ? wait : WORKER_TICK_MS;
}

/* Keeps looking for completions until `spin` has passed since the last one, or until `wait_ms` from now. 1: there is
 * one; 0 or -errno. */
static int spin(struct worker *worker, uint32_t wait_ms)
{
    uint64_t by_wait_us = worker->now_us + (uint64_t)wait_ms * 1000;
    uint64_t by_spin_us = worker->completed_us + worker->image->spin_us;
    uint64_t until_us = by_wait_us < by_spin_us ? by_wait_us : by_spin_us;
    uint64_t now_us = clock_now_us();
    uint64_t from_us = 0; /* the first look submits, the last finds something: those are work */
    int result = 0;

    while (now_us < until_us && (result = ring_look(worker->ring)) == 0) {
        now_us = clock_now_us();
        from_us = from_us == 0 ? now_us : from_us;
    }
    worker->spun_us += from_us != 0 ? now_us - from_us : 0;
    return result;
}

static int wait(struct worker *worker)
{
    uint32_t milliseconds = wait_ms(worker);

    if (worker->image->spin_us > 0) {
        int result = spin(worker, milliseconds);
        if (result != 0) {
            return result < 0 ? result : 0;
        }
    }
    FAULT_POINT(SUBMITTING);
    int result = ring_wait(worker->ring, milliseconds);
    FAULT_POINT(SUBMITTED);
    return result;
}

int worker_turn(struct worker *worker)
{
    tick(worker);
    uint32_t completed = complete_all(worker);
    relay_refill(worker);
    relay_writable(worker, completed);
    relay_expire(worker);
    sweep_flows(worker);
    count_busy(worker);
    rekick_accept(worker);
    adopt_resume(worker);
    arm_wake(worker);
    follow_image(worker);
    follow_orders(worker);
    drain_gone(worker);
    follow_run_state(worker);
    listener_turn(worker);
    __atomic_store_n(&worker->slot->completions, worker->slot->completions + completed, __ATOMIC_RELAXED);
    publish(worker);
    if (is_done(worker)) {
        return WORKER_DONE;
    }
    return wait(worker);
}

int worker_run(struct worker *worker)
{
    int result = 0;

    while (result == 0) {
        result = worker_turn(worker);
    }
    __atomic_store_n(&worker->slot->state, SLOT_DONE, __ATOMIC_RELEASE);
    return result == WORKER_DONE ? 0 : result;
}
