/*
 * The event loop. All memory is taken by loop_create; afterwards only epoll_ctl can fail (ENOMEM, ENOSPC).
 */
#include "bench/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256

struct loop {
    int epoll_fd;
    bool stopped;
    size_t timer_count;
    size_t timer_max;
    struct loop_timer **heap; /* from 1 */
};

uint64_t loop_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * LOOP_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* --- timers ------------------------------------------------------------------------------------------ */

static void place(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    for (; slot > 1 && timer->due_ns < loop->heap[slot / 2]->due_ns; slot /= 2)
        place(loop, slot, loop->heap[slot / 2]);
    place(loop, slot, timer);
}

static void sift_down(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    for (;;) {
        size_t child = slot * 2;
        if (child > loop->timer_count)
            break;
        if (child < loop->timer_count && loop->heap[child + 1]->due_ns < loop->heap[child]->due_ns)
            child++;
        if (timer->due_ns <= loop->heap[child]->due_ns)
            break;
        place(loop, slot, loop->heap[child]);
        slot = child;
    }
    place(loop, slot, timer);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    size_t slot = timer->slot;
    if (slot == 0)
        return;
    timer->slot = 0;
    struct loop_timer *last = loop->heap[loop->timer_count--];
    if (last == timer)
        return;
    if (slot > 1 && last->due_ns < loop->heap[slot / 2]->due_ns)
        sift_up(loop, slot, last);
    else
        sift_down(loop, slot, last);
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns)
{
    loop_timer_cancel(loop, timer);
    if (loop->timer_count == loop->timer_max)
        abort(); /* every timer belongs to a bounded object: a programmer's error */
    timer->due_ns = loop_clock_ns() + delay_ns;
    sift_up(loop, ++loop->timer_count, timer);
}

/* Fires what was due when the call began: a timer that arms itself anew with no delay cannot hold the loop.
 */
static void fire_due(struct loop *loop)
{
    if (loop->timer_count == 0)
        return;
    uint64_t now_ns = loop_clock_ns();
    while (loop->timer_count > 0 && loop->heap[1]->due_ns <= now_ns && !loop->stopped) {
        struct loop_timer *timer = loop->heap[1];
        loop_timer_cancel(loop, timer);
        timer->fire(timer);
    }
}

/* Milliseconds until the next timer, rounded up so that the loop never spins in front of it; -1: none. */
static int wait_ms(const struct loop *loop)
{
    if (loop->timer_count == 0)
        return -1;
    uint64_t now_ns = loop_clock_ns();
    uint64_t due_ns = loop->heap[1]->due_ns;
    if (due_ns <= now_ns)
        return 0;
    uint64_t ms = (due_ns - now_ns + LOOP_NS_PER_MS - 1) / LOOP_NS_PER_MS;
    return ms < 60000 ? (int)ms : 60000;
}

/* --- sources ----------------------------------------------------------------------------------------- */

int loop_source_watch(struct loop *loop, struct loop_source *source, uint32_t events)
{
    if (source->events == events)
        return 0;
    struct epoll_event event = {.events = events, .data.ptr = source};
    int operation = source->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    if (epoll_ctl(loop->epoll_fd, operation, source->fd, &event) < 0)
        return -errno;
    source->events = events;
    return 0;
}

void loop_source_close(struct loop *loop, struct loop_source *source)
{
    (void)loop; /* close takes the descriptor out of the epoll set: it is never duplicated */
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
    source->events = 0;
}

int loop_signal_open(struct loop *loop, struct loop_source *source, const int *signals, size_t count)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    source->events = 0;
    source->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (source->fd < 0)
        return -errno;
    return loop_source_watch(loop, source, EPOLLIN);
}

int loop_signal_take(struct loop_source *source)
{
    struct signalfd_siginfo info;
    ssize_t length = read(source->fd, &info, sizeof(info));
    return length == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

/* --- life cycle -------------------------------------------------------------------------------------- */

struct loop *loop_create(size_t timer_max)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return NULL;
    loop->timer_max = timer_max;
    loop->heap = calloc(timer_max + 1, sizeof(struct loop_timer *));
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->heap == NULL || loop->epoll_fd < 0) {
        loop_destroy(loop);
        return NULL;
    }
    return loop;
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL)
        return;
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop->heap);
    free(loop);
}

int loop_run(struct loop *loop)
{
    struct epoll_event batch[BATCH];

    while (!loop->stopped) {
        int count = epoll_wait(loop->epoll_fd, batch, BATCH, wait_ms(loop));
        if (count < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < count; i++) {
            struct loop_source *source = batch[i].data.ptr;
            source->ready(source, batch[i].events);
        }
        fire_due(loop);
    }
    return 0;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}
