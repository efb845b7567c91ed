/*
 * An event loop for one thread: level-triggered epoll, timers in a heap, signals as events.
 *
 * A source's handler may close its own source and open others; it must not close a source of another owner,
 * since that one's event may lie in the same batch. Timers fire after each batch and may close anything.
 */
#ifndef PENSTOCK_BENCH_LOOP_H
#define PENSTOCK_BENCH_LOOP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_NS_PER_MS 1000000ULL
#define LOOP_NS_PER_S  1000000000ULL

struct loop;

struct loop_source {
    int fd;          /* -1: closed */
    uint32_t events; /* what epoll watches now; 0: not registered */
    void (*ready)(struct loop_source *source, uint32_t events);
};

struct loop_timer {
    uint64_t due_ns;
    size_t slot; /* place in the heap, from 1; 0: not armed */
    void (*fire)(struct loop_timer *timer);
};

#define LOOP_OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* timer_max: how many timers may be armed at once. NULL with errno set. */
struct loop *loop_create(size_t timer_max);
void loop_destroy(struct loop *loop);

/* Watches the events; EPOLLERR and EPOLLHUP come with any of them. 0 takes the source out altogether (epoll
 * would report a hang-up for ever). Pass EPOLLERR to hear of nothing but errors. 0 or -errno. */
int loop_source_watch(struct loop *loop, struct loop_source *source, uint32_t events);

/* Closes the descriptor, if open. */
void loop_source_close(struct loop *loop, struct loop_source *source);

/* Turns the signals into events of the source, whose handler calls loop_signal_take. 0 or -errno. */
int loop_signal_open(struct loop *loop, struct loop_source *source, const int *signals, size_t count);

/* The next signal that arrived, or 0. */
int loop_signal_take(struct loop_source *source);

/* Arms (or moves) the timer to fire once after the delay. Aborts if more than timer_max are armed. */
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Runs until loop_stop is called. 0, or -errno if epoll fails. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* CLOCK_MONOTONIC in nanoseconds, read now. */
uint64_t loop_clock_ns(void);

#endif
