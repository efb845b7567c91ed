/*
 * The flow table: one hash of 64-byte entries for all workers, without locks.
 *
 * Entries stand in groups of 64, each with a line of 64 tags: one byte a slot, 0 where nothing is to be found. A
 * tuple's hash names a group and two of its eight buckets of eight ways; it goes where more room is.
 *
 * A slot is claimed by compare-and-swap of its entry's state word FREE -> BUSY, filled, made ACTIVE by a release
 * store, and then found by its tag. It is owned by the claiming worker until it is TIME_WAIT; then whoever sweeps the
 * group frees it once expired. A lookup reads the tag, then the state (acquire, paired with the release), then the
 * tuple, then the state again.
 *
 * A worker that dies while claiming leaves `flow_claim` in its slot: flow_table_settle() frees what no session took.
 */
#ifndef PENSTOCK_SHM_FLOW_TABLE_H
#define PENSTOCK_SHM_FLOW_TABLE_H

#include "core/flow.h"
#include "core/flow_hash.h"
#include "shm/region.h"

enum { FLOW_TWO_MSL_MS = 60000 };

/* How sweeping goes: one worker at a time has the lease. */
struct flow_sweep {
    uint64_t lease;    /* atomic: the slot that has it, and until when */
    uint64_t rounds;   /* through the whole table */
    uint64_t freed;    /* entries */
    uint32_t cursor;   /* the next group */
    uint32_t round_ms; /* what the last round took */
    uint64_t round_since_ms;
    uint64_t reserved[3];
};

_Static_assert(sizeof(struct flow_sweep) == 64, "one cache line");

struct flow_table {
    uint8_t *tags;
    struct flow_entry *entries;
    uint32_t groups;
    uint64_t seed;
};

void flow_table_open(struct flow_table *table, const struct region *region);

/* Claims an entry for `session_index` of `slot` and stores its index in *intent before it does so. Returns the index,
 * or FLOW_NONE where both buckets are full. */
uint32_t flow_table_claim(struct flow_table *table, const struct flow_key *key, uint32_t slot,
                          uint32_t session_index, uint32_t *intent);

/* The entry of the tuple that is ACTIVE or later; FLOW_NONE: none. */
uint32_t flow_table_find(const struct flow_table *table, const struct flow_key *key);

/* Frees an entry whose connection left no TIME_WAIT. */
void flow_table_release(struct flow_table *table, uint32_t index);

/* Turns an ACTIVE entry into TIME_WAIT until now + 2MSL. Stores its index in *intent before: what a death leaves
 * between ACTIVE and TIME_WAIT names no session any more and is freed by flow_table_settle(). */
void flow_table_time_wait(struct flow_table *table, uint32_t index, uint64_t now_ms, uint32_t *intent);

/* Whether entry `index` belongs to that session of that slot. */
bool flow_table_owned(const struct flow_table *table, uint32_t index, uint32_t slot, uint32_t session_index);

/* Frees an entry that its worker died over: the entry of *intent, if it is the slot's and `in_use` (whether the session
 * the entry names refers to it) says no. */
void flow_table_settle(struct flow_table *table, uint32_t slot, uint32_t *intent,
                       bool (*in_use)(const void *context, uint32_t session_index, uint32_t index),
                       const void *context);

/* Frees expired TIME_WAIT entries of `groups` groups from *cursor on, only every `stride`-th group: each slot sweeps
 * its own. Advances *cursor; stores in *intent what it is about to free. Returns how many it freed. */
uint32_t flow_table_sweep(struct flow_table *table, uint32_t *cursor, uint32_t stride, uint32_t groups,
                          uint64_t now_ms, uint32_t *intent);

/* A walk over the entries that are ACTIVE or later, for readers in other processes. Begins at zero. */
struct flow_walk {
    uint32_t next;
};

/* Copies the next entry as it was at one moment; false at the end. */
bool flow_walk_next(struct flow_walk *walk, const struct flow_table *table, struct flow_entry *copy);

/* Whether the entry obeys its invariants. */
bool flow_entry_check(const struct flow_entry *entry);

#endif
