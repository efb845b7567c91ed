/*
 * Zero-copy sends: what the kernel has taken of a chain and may still read, a queue for each side that is sent to.
 *
 * Bytes taken stay at the front of the chain until the kernel has given notice for their send and for all before it.
 * Ordinary sends go on behind them; what they take leaves the chain with the last of the queue. Pure.
 */
#ifndef PENSTOCK_CORE_LENT_H
#define PENSTOCK_CORE_LENT_H

#include "core/session.h"

/* Whether there is no place for another send. */
bool lent_is_full(const struct session *session, enum side to);

/* The place of the next send, 0..LENT_SENDS-1: its notice names it. */
uint8_t lent_next_place(const struct session *session, enum side to);

/* Bytes of the other side's chain that were taken: the next send begins behind them. */
uint32_t lent_bytes(const struct session *session, enum side to);

/* A zero-copy send took `bytes`, 0 where it failed: that has a notice, too. */
void lent_push(struct session *session, enum side to, uint32_t bytes);

/* An ordinary send took `bytes`. False where nothing is lent: they can leave the chain at once. */
bool lent_extend(struct session *session, enum side to, uint32_t bytes);

/* The notices of these places (bits) have come. Returns the bytes that can leave the chain. */
uint32_t lent_return(struct session *session, enum side to, uint8_t places);

/* Whether a death took the notices that are due: only the socket tells when the kernel is through. */
bool lent_blindly(const struct session *session, enum side to);

/* Whether the queue is sound and within the chain. */
bool lent_check(const struct session *session, enum side to);

#endif
