#include "io/worker.h"

#include <errno.h>
#include <poll.h>
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

enum {
    REKICK_MS = 20,        /* a ring that is being torn down may still take an accept's wake-up */
    SWEEP_EVERY_MS = 1000, /* a sixteenth of the slot's flow groups each time: once round well within 2MSL */
    SWEEP_PARTS = 16,
    COMPLETIONS_RESERVE = 8192,  /* accepts, buffers, and what one turn submits beyond the sessions' own */
    COMPLETIONS_PER_SESSION = 4, /* a receive and a send of each side */
    STOP_BATCH = 1024,           /* sessions ended in one turn of the loop */
};

_Static_assert((RING_COMPLETIONS_MAX - COMPLETIONS_RESERVE) / COMPLETIONS_PER_SESSION ==
                   IMAGE_WORKER_SESSIONS_MAX,
               "the configuration's check knows it");

static void tick(struct worker *worker)
{
    worker->now_us = clock_now_us();
    worker->now_ms = worker->now_us / 1000;
}

static void take_image(struct worker *worker)
{
    const struct image *image = image_box_current(&worker->region);

    worker->image = image;
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
    }
    if (!worker->image_complete && listener_follow_image(worker)) {
        worker->image_complete = true;
        /* From here on the place of the old image may be written: pairs with image_box_is_free(). */
        __atomic_store_n(&worker->slot->image_generation, worker->image->generation, __ATOMIC_RELEASE);
    }
}

static uint32_t power_of_two_within(uint32_t value)
{
    return 1u << (31 - (uint32_t)__builtin_clz(value | 1));
}

/* A small ring stays in the cache; a small bank is not to be swallowed by it. */
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
    __atomic_store_n(&slot->epoch, slot->epoch + 1, __ATOMIC_RELEASE);
    sock_retire(setup->ring_fds[next ^ 1], setup->wake_fd); /* closes the old ring */
    result = watch_create(setup->watch_fd);
    return result == 0 ? init_buffer_rings(worker) : result;
}

int worker_start(struct worker *worker, const struct worker_setup *setup)
{
    struct worker_slot *slot = region_slot(setup->region, setup->slot);
    bool first = slot->epoch == 0;

    memset(worker, 0, sizeof(*worker));
    worker->region = *setup->region;
    worker->slot_index = setup->slot;
    worker->slot = slot;
    worker->finishing = SESSION_NONE;
    worker->waiting = (struct wait_queue){.head = SESSION_NONE, .tail = SESSION_NONE};
    worker->wake_fd = setup->wake_fd;
    worker->watch_fd = setup->watch_fd;
    worker->pipe_base = setup->pipe_base;
    worker->inbox_fd = setup->inbox_fd;
    worker->listener_base = setup->listener_base;
    worker->descriptors_limit = setup->descriptors_limit;
    worker->sweep_cursor = setup->slot;
    tick(worker);
    uint64_t started_us = worker->now_us;
    slot->pid = (uint32_t)getpid();
    __atomic_store_n(&slot->state, SLOT_ADOPTING, __ATOMIC_RELEASE);
    take_image(worker);
    upstream_init_ports(worker);
    flow_table_open(&worker->flows, &worker->region);
    session_slab_open(&worker->slab, &worker->region, setup->slot);
    worker->sessions_max = sessions_for(worker);
    listener_adopt(worker);
    wheel_init(&worker->wheel, worker->slab.sessions, worker->now_ms);
    int result = buffer_bank_open(&worker->bank, &worker->region, setup->slot);
    if (result == 0) {
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
    adopt_resume(worker);
    tick(worker);
    worker->rekick_ms = first ? 0 : worker->now_ms + REKICK_MS;
    slot->adopted_us = worker->now_us;
    slot->adoption_us = worker->now_us - started_us;
    __atomic_store_n(&slot->state, SLOT_SERVING, __ATOMIC_RELEASE);
    if (!first) {
        log_line(LOG_LEVEL_WARNING, "event=adopted slot=%u incarnation=%u sessions=%u took_us=%lu",
                 setup->slot, slot->epoch, worker->slab.active, (unsigned long)slot->adoption_us);
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

static void stop_sessions(struct worker *worker)
{
    struct relay_event event = {.kind = RELAY_STOP, .reason = CLOSE_STOPPED};
    uint32_t stopped = 0;

    for (uint32_t index = 0; index < worker->slot->session_high && stopped < STOP_BATCH; index++) {
        uint8_t phase = worker->slab.sessions[index].phase;
        if (phase != SESSION_FREE && phase != SESSION_CLOSING) {
            relay_dispatch(worker, index, &event);
            stopped++;
        }
    }
}

/* Follows the supervisor's word. A drain first takes what waits in the accept queues, whose connections are
 * established for their clients, then closes the listening sockets and waits for the sessions to end; a handover leaves them
 * to whoever has the same sockets. */
static void follow_run_state(struct worker *worker)
{
    const struct region_header *header = worker->region.header;
    uint32_t state =
        __atomic_load_n(&header->run_state, __ATOMIC_ACQUIRE); /* pairs with the supervisor's release */

    if (state == RUN_SERVE) {
        return;
    }
    uint32_t drain_ms = worker->image->timeouts.drain_ms;
    bool late = drain_ms != 0 && worker->now_ms >= header->run_state_since_ms + drain_ms;
    listener_leave_all(worker);
    worker->refusing = worker->refusing || state == RUN_HANDOVER; /* others take who waits */
    if (state == RUN_STOP || (late && state == RUN_DRAIN)) {
        worker->refusing = true;
        stop_sessions(worker);
    }
}

/* All is over, or the slot is no more in the configuration, and the last session has ended. Listening sockets are
 * closed before: a ring is torn down some time after its process has ended, and an accept in it would keep one alive. */
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
    worker->rekick_ms = due ? 0 : worker->rekick_ms;
    for (uint32_t i = 0; i < IMAGE_BINDS_MAX; i++) {
        listener_cancel(worker, i);
    }
}

static void sweep_flows(struct worker *worker)
{
    uint32_t slots = worker->region.header->slot_count;

    if (worker->now_ms < worker->sweep_after_ms) {
        return;
    }
    worker->sweep_after_ms = worker->now_ms + SWEEP_EVERY_MS;
    flow_table_sweep(&worker->flows, &worker->sweep_cursor, slots,
                     worker->flows.groups / slots / SWEEP_PARTS + 1, worker->now_ms,
                     &worker->slot->flow_claim);
    worker->slot->heap_bytes = heap_allocated_bytes();
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

static uint32_t wait_ms(const struct worker *worker)
{
    uint32_t wait = wheel_wait_ms(&worker->wheel, worker->now_ms);

    if (relay_can_grant(worker)) { /* the queue gets shorter with every turn */
        return 0;
    }

    if (worker->rekick_ms != 0 && wait > REKICK_MS) {
        wait = REKICK_MS;
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
    int result = 0;

    while (result == 0 && clock_now_us() < until_us) {
        result = ring_look(worker->ring);
    }
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
    return ring_wait(worker->ring, milliseconds);
}

int worker_turn(struct worker *worker)
{
    tick(worker);
    uint32_t completed = complete_all(worker);
    relay_refill(worker);
    relay_writable(worker, completed);
    relay_expire(worker);
    sweep_flows(worker);
    rekick_accept(worker);
    arm_wake(worker);
    follow_image(worker);
    follow_run_state(worker);
    listener_turn(worker);
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
