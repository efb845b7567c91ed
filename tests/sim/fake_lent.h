/*
 * What the fake kernel was lent: the buffers of zero-copy sends, which it reads until the peer has acknowledged them.
 *
 * That they still hold what was sent is checked after every turn and when they are acknowledged.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_LENT_H
#define PENSTOCK_TESTS_SIM_FAKE_LENT_H

#include "tests/sim/fake_ring.h"

struct lent_world {
    uint64_t sends;   /* zero-copy sends that took something */
    uint64_t notices; /* consumed, of those */
    uint64_t blind;   /* sends whose notice a death took */
    uint64_t resets;  /* sock_reset() */
};

extern struct lent_world lent_world;

void lent_world_init(void);

/* A zero-copy send took `length` bytes, those before out_sent; or it failed, which is told of, too. */
void lent_begin(struct net_conn *conn, const struct ring_pending *op, uint32_t length);

/* The peer acknowledges what it was sent up to `position`. */
void lent_acknowledge(struct net_conn *conn, uint64_t position);

/* Whether the kernel still reads anything of the connection's. */
bool lent_any(const struct net_conn *conn);

/* Posts notices that are due, at random and in any order. Returns how many. */
uint32_t lent_notify(struct ring *ring, struct net_conn *conn);

/* The worker has died: what is not posted never will be. */
void lent_freeze(struct net_conn *conn);

/* What is lent is as it was sent, and in the chain of session `index`. */
void lent_verify(uint32_t index, enum side to);

#endif
