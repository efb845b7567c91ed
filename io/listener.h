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

/* Takes listening sockets from the inbox and follows the worker's image: opens those it names, lets those go that it
 * names no more. Returns whether all that it names are there. */
bool listener_follow_image(struct worker *worker);

/* Opens what the last incarnation had open, and makes sure that a place that holds none has no socket either: a death
 * may have left that half done. */
void listener_adopt(struct worker *worker);

/* Lets all go: each takes who still waits in its queue and is closed then. */
void listener_leave_all(struct worker *worker);

/* Sessions that may be accepted now: limit, slab and descriptors. */
uint32_t listener_room(const struct worker *worker);

#endif
