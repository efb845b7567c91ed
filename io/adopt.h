/*
 * Adoption: a new incarnation takes over what the one before left in the slot.
 *
 * Restartable: it may itself be cut short at any point and done again from the start. The sequence:
 *   adopt_state()   undo the transaction the death cut short; apply the completions left in the dead ring, issuing
 *                   nothing; clear all in-flight bits (a frozen ring consumed nothing); check every descriptor's
 *                   identity; close those no session owns; rebuild all that is derived
 *   (the caller makes the new ring, bumps the epoch and closes the old one)
 *   adopt_resume()  ask every session what it needs, and do it
 */
#ifndef PENSTOCK_IO_ADOPT_H
#define PENSTOCK_IO_ADOPT_H

#include "io/worker.h"

/* `ring_fd` is the dead ring's descriptor, -1 for a slot that never served. 0 or -errno. */
int adopt_state(struct worker *worker, int ring_fd);

void adopt_resume(struct worker *worker);

#endif
