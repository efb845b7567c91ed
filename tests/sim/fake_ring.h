/*
 * The fake ring: what the driver and the network see of it. The worker sees io/ring.h.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_RING_H
#define PENSTOCK_TESTS_SIM_FAKE_RING_H

#include "io/ring.h"
#include "tests/sim/fake_net.h"

/* An operation handed to the kernel. */
struct ring_pending {
    bool used;
    bool multishot;
    bool cancelled;
    bool woken; /* an accept: somebody has come since it looked last */
    struct ring_tag tag;
    int fd;
    uint32_t conn; /* 0: a listener's or the wake-up's */
    uint32_t events;
    uint32_t count;
    struct iovec vector[RING_SEND_VECTOR];
    struct endpoint to;
};

struct ring_given {
    uint16_t id;
    uint8_t *address;
    uint32_t length;
};

enum ring_given_state { RING_ID_ABSENT, RING_ID_GIVEN, RING_ID_FILLED };

struct ring_group {
    uint32_t entries;
    uint32_t head, tail; /* given: those between, modulo entries */
    struct ring_given given[SLOT_RING_BUFFERS];
    uint8_t states[SLOT_RING_BUFFERS]; /* enum ring_given_state, by id */
};

/* A completion, the connection it is of, and whether that is the operation's last. */
struct ring_posted {
    struct ring_completion completion;
    uint32_t conn;
};

struct ring {
    int fd;
    uint64_t number; /* counts rings; kept in the slot's parameters */
    bool frozen;
    struct ring_pending submissions[RING_SUBMISSIONS];
    uint32_t submitted;
    struct ring_posted *completions;
    uint32_t capacity; /* of completions */
    uint32_t head, tail;
    bool turn_over; /* in a run one by one: nothing more is seen before the next wait */
    struct ring_group groups[RING_GROUPS];
};

struct ring_world {
    struct ring *rings[2]; /* by the parity of their descriptor */
    struct ring *live;
    uint64_t numbers;
    uint32_t places;             /* of inputs */
    struct ring_pending *inputs; /* by session index * 2 + side; a send never waits */
    struct ring_pending accepts[SIM_LISTENERS_MAX][LISTENER_LOCAL_BATCH];
    struct ring_pending wake, watch;
    bool wake_wanted;
    bool dying; /* the worker was killed within the submission: its memory is not always to be had any more */
    uint32_t *hot; /* connections for which something may have become possible */
    uint32_t hot_count;
    uint32_t accepts_unseen; /* completions of accepts not consumed yet */
    uint64_t completions;
    uint64_t waits_idle; /* turns in a row in which nothing completed */
};

extern struct ring_world *ring_world; /* of the worker that runs */

void ring_world_free(void);
void ring_enter(uint32_t number);

/* All rings. */
uint64_t ring_completions_total(void);

/* The descriptor of a dead ring is closed. */
void ring_close(int fd);

/* The keeper has ended with its worker: nothing of the rings is left. */
void ring_end(void);

/* The worker has died: its ring freezes. */
void ring_freeze(void);

/* Somebody has come to a listener: one of those that wait for it is woken, or a dead ring that still does. */
void ring_wake_accept(uint32_t slot, uint32_t listener);

/* Something may have become possible for the connection. */
void ring_touch(struct net_conn *conn);

/* Writes a completion of an operation on `conn`, 0: on none. */
void ring_post(struct ring *ring, const struct ring_completion *completion, uint32_t conn);

/* Tries what was submitted, `count` hot connections at most; returns how many completions it wrote. */
uint32_t ring_ops_run(struct ring *ring, uint32_t count);

/* What the kernel does at once with a submission. */
void ring_op_start(struct ring *ring, const struct ring_pending *submission);

#endif
