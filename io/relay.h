/*
 * The glue of the data path: completion -> event -> step -> actions -> submissions, each completion a transaction.
 */
#ifndef PENSTOCK_IO_RELAY_H
#define PENSTOCK_IO_RELAY_H

#include "io/worker.h"

/* Applies the completion at the ring's head and consumes it. With worker->adopting it only changes state. */
void relay_complete(struct worker *worker, const struct ring_completion *completion);

/* A transaction of its own for one event of a session; what follows it outside of transactions is left to the
 * caller. */
void relay_transact(struct worker *worker, uint32_t index, const struct relay_event *event);

/* The same, and what follows: timeouts, stop, granted buffers, re-arming. */
void relay_dispatch(struct worker *worker, uint32_t index, const struct relay_event *event);

/* The same for an event without more to it, and the session's place in the timer wheel if it goes on. Looks
 * first at what a death left lent to the kernel. */
void relay_revisit(struct worker *worker, uint32_t index, enum relay_event_kind kind);

/* One step within a transaction that has saved the session; for the parts that answer actions. */
void relay_step_in(struct worker *worker, struct session *session, const struct relay_event *event);

/* Where the flow table owns TIME_WAIT: leaves the flow entry of a side to the publisher, before its socket
 * `fd` is closed; -1: it is gone. */
void relay_leave_flow(struct worker *worker, const struct session *session, enum side side, int fd);

/* Gives buffers to the receive rings and turns to receivers that wait for one. */
void relay_refill(struct worker *worker);

/* Goes on sending where the kernel takes bytes again, and watches on. */
void relay_writable(struct worker *worker, uint32_t completed);

/* Whether a receiver waits for a buffer and there is one. */
bool relay_can_grant(const struct worker *worker);

/* What a direction may hold now, in bytes. */
uint32_t relay_share(const struct worker *worker);

/* Ends sessions whose time has come and puts idle receivers to rest. */
void relay_expire(struct worker *worker);

/* Sets the session's place in the timer wheel. */
void relay_schedule(struct worker *worker, const struct session *session);

/* After an adoption: does what the session needs. What came to it while nobody served it is to be seen before
 * its silence is judged, so no timeout ends it at once. */
void relay_resume(struct worker *worker, uint32_t index);

/* Saves `length` bytes at `address` in the undo log of the current transaction. */
static inline void relay_save(struct worker *worker, const void *address, uint32_t length)
{
    undo_save(&worker->slot->undo, worker->region.segments[SEGMENT_TABLES], address, length);
}

/* Adds to a counter under transaction. */
static inline void relay_count(struct worker *worker, uint64_t *counter, uint64_t n)
{
    relay_save(worker, counter, sizeof(*counter));
    /* Readers in other processes may see any value it ever had. */
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Adds a time to a histogram under transaction. */
static inline void relay_count_time(struct worker *worker, struct time_histogram *histogram, uint64_t us)
{
    relay_count(worker, &histogram->buckets[time_histogram_bucket(us)], 1);
    relay_count(worker, &histogram->sum_us, us);
}

static inline struct listener_counters *relay_listener(const struct worker *worker,
                                                       const struct session *session)
{
    return region_listener_counters(&worker->region, worker->slot_index, session->listener_row);
}

static inline uint32_t relay_index(const struct worker *worker, const struct session *session)
{
    return (uint32_t)(session - worker->slab.sessions);
}

#endif
