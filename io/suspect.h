/*
 * A session that kills its worker again and again must not take the slot down.
 *
 * The worker notes in its slot which session it is handling, and a handler of fatal signals notes that the death was a
 * fault of its own and not a kill from outside. At adoption both say whom to suspect; a session that was being handled
 * at SUSPECT_FAULTS_MAX faults in a row is reset without being handled once more.
 */
#ifndef PENSTOCK_IO_SUSPECT_H
#define PENSTOCK_IO_SUSPECT_H

#include "io/worker.h"

enum { SUSPECT_FAULTS_MAX = 3 };

/* Around everything that is done for a session. Plain stores: the reader comes when the writer is dead. */
static inline void suspect_enter(struct worker *worker, uint32_t session)
{
    __atomic_store_n(&worker->slot->handling, session, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void suspect_leave(struct worker *worker)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    __atomic_store_n(&worker->slot->handling, SESSION_NONE, __ATOMIC_RELAXED);
}

/* The first thing of an adoption: counts the death to the session that was being handled, if it was a fault. */
void suspect_note(struct worker *worker);

/* Whether the session is to be reset. */
bool suspect_is_poison(const struct worker *worker, uint32_t session);

/* For the handler of fatal signals, with the siginfo_t it gets: notes a fault of this process. */
void suspect_fault(struct worker_slot *slot, int code, int sender, int self);

#endif
