/*
 * The undo log: what makes a completion a transaction on shared memory.
 *
 *     undo_begin();  undo_save(what is about to change); change it; ...  commit
 *
 * A worker may die between any two stores. Whoever adopts its slot calls undo_rollback(), which puts back every
 * saved byte unless the transaction had committed. There are two kinds of commit:
 *   - a completion's transaction commits by the store that advances the completion queue's head: the log remembers
 *     the head it began with, and is void once the ring's head has moved on;
 *   - any other transaction commits by undo_commit(), which clears `valid`.
 *
 * Invariant: a byte under transaction is saved (data stored, then `used` stored) before it is changed. Writer and
 * reader never run at the same time, the one is dead and reaped before the other begins, so compiler order is all
 * the order that is needed. Nothing is submitted to the kernel inside a transaction.
 */
#ifndef PENSTOCK_SHM_UNDO_H
#define PENSTOCK_SHM_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UNDO_BYTES = 4080 };

struct undo_log {
    uint32_t valid;
    uint32_t by_head; /* commits by the completion head */
    uint32_t head;    /* the completion head it began with */
    uint32_t used;    /* bytes of records */
    uint8_t records[UNDO_BYTES];
};

_Static_assert(sizeof(struct undo_log) == 4096, "one page a slot");

/* Begins a transaction that commits when the completion head moves on from `head`. */
void undo_begin_completion(struct undo_log *log, uint32_t head);

/* Begins a transaction that commits by undo_commit(). */
void undo_begin(struct undo_log *log);

/* Saves `length` bytes at `address`, which lies `base`-relative in the region. */
void undo_save(struct undo_log *log, const void *base, const void *address, uint32_t length);

void undo_commit(struct undo_log *log);

/* Puts back what an uncommitted transaction changed; `head` is the ring's completion head now. Returns whether there
 * was one. May itself be cut short and repeated. */
bool undo_rollback(struct undo_log *log, void *base, uint32_t head);

#endif
