/*
 * Adoption: a new incarnation takes over what the one before left in the slot.
 *
 * Restartable: it may itself be cut short at any point and done again from the start. The sequence:
 *   adopt_state()   undo the transaction the death cut short; apply the completions left in the dead ring, issuing
 *                   nothing; clear all in-flight bits (a frozen ring consumed nothing); close the descriptors no
 *                   session owns; rebuild all that is derived; queue the sessions, those at rest last
 *   (the caller makes the new ring, bumps the epoch and closes the old one)
 *   adopt_resume()  check a batch of sessions' descriptors, ask each what it needs, and do it; then once a turn of
 *                   the loop, which already serves the others and accepts, until the queue is empty
 *
 * A session in the queue has nothing in flight, is not in the timer wheel nor in any other queue and is not watched, so
 * nothing comes to it before adopt_resume() does; a stop waits. Its descriptors are its own numbers: all that
 * are not OPEN were checked before the first accept, and an OPEN one has closed none. The queue is derived: a
 * death begins again.
 */
#ifndef PENSTOCK_IO_ADOPT_H
#define PENSTOCK_IO_ADOPT_H

#include "io/worker.h"

/* `ring_fd` is the dead ring's descriptor, -1 for a slot that never served. 0 or -errno. */
int adopt_state(struct worker *worker, int ring_fd);

/* The next worker->resume_batch sessions at most. */
void adopt_resume(struct worker *worker);

#endif
