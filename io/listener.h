/*
 * Accepting: multishot while there is plenty of room, one at a time near a limit, not at all at it.
 */
#ifndef PENSTOCK_IO_LISTENER_H
#define PENSTOCK_IO_LISTENER_H

#include "io/worker.h"

/* A completion of an accept or of a listener's poll, within its transaction. */
void listener_complete(struct worker *worker, const struct ring_completion *completion);

/* Arms, pauses or cancels accepting on every listener as room and run state want it; once a turn of the loop. */
void listener_turn(struct worker *worker);

/* Cancels what is armed on a listener; the next turn arms it again if it is wanted. */
void listener_cancel(struct worker *worker, uint32_t index);

/* Closes the listening sockets whose queues a drain has emptied. */
void listener_drain(struct worker *worker);

/* Sessions that may be accepted now: limit, slab and descriptors. */
uint32_t listener_room(const struct worker *worker);

#endif
