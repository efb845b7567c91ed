/*
 * The flow table: one hash of 64-byte entries for all workers, without locks.
 *
 * Entries stand in groups of 64, each with a line of 64 tags: one byte a slot, 0 where nothing is to be found. A
 * tuple's hash names a group and two of its eight buckets of eight ways; it goes where more room is.
 *
 * Every change begins with a compare-and-swap of the entry's first word. A slot is claimed FREE -> BUSY, filled, made
 * ACTIVE by a release store, and then found by its tag. A lookup reads the tag, then the state (acquire,
 * paired with the release), then the tuple, then the state again.
 *
 * Two modes. Where the kernel keeps TIME_WAIT the table only records it. Where the table owns it, BPF programs (io/bpf)
 * work on the same words: an entry whose session ends becomes ORPHANED, and the publisher makes of it what the kernel
 * makes of the socket. What is released in TIME_WAIT rests for FLOW_GRACE_MS, since a program may still write to it.
 *
 * A worker that dies while it has an entry BUSY leaves `flow_claim` in its slot: flow_table_settle() frees what no
 * session took.
 */
#ifndef PENSTOCK_SHM_FLOW_TABLE_H
#define PENSTOCK_SHM_FLOW_TABLE_H

#include "core/flow.h"
#include "core/flow_hash.h"
#include "shm/region.h"

enum {
    FLOW_TWO_MSL_MS = IMAGE_TWO_MSL_MS, /* where the kernel keeps TIME_WAIT */
    FLOW_SWEEP_EVERY_MS = 1000,         /* whoever may sweep looks for the lease this often */
    FLOW_SWEEP_LEASE_MS = 3000,         /* of one who has died or hangs; then another takes over */
    FLOW_SWEEP_ROUNDS = 8,              /* through the whole table within 2MSL */
};

/* How sweeping goes: one worker at a time has the lease. All of it atomic. */
struct flow_sweep {
    uint64_t lease;          /* until when, and in the lowest byte the slot that has it; 0: nobody ever had */
    uint64_t rounds;         /* through the whole table */
    uint64_t freed;          /* entries */
    uint32_t cursor;         /* the next group */
    uint32_t round_ms;       /* what the last round took */
    uint64_t round_since_ms; /* when this one began */
    uint64_t reserved[3];
};

_Static_assert(sizeof(struct flow_sweep) == 64, "one cache line");
_Static_assert(IMAGE_WORKERS_MAX <= (int)FLOW_PROGRAM, "no slot is taken for a program");

struct flow_table {
    uint8_t *tags;
    struct flow_entry *entries;
    struct flow_sweep *sweep;
    uint32_t groups;
    uint32_t two_msl_ms;
    uint64_t seed;
    bool owned;   /* TIME_WAIT is the table's, else the kernel's */
    uint8_t mark; /* the region's flow_mark */
};

void flow_table_open(struct flow_table *table, const struct region *region);

/* Claims an entry for `session_index` of `slot` and stores its index in *intent before it does so. Returns the index,
 * or FLOW_NONE where both buckets are full. */
uint32_t flow_table_claim(struct flow_table *table, const struct flow_key *key, uint32_t slot,
                          uint32_t session_index, uint64_t now_ms, uint32_t *intent);

/* The entry of the tuple that is ACTIVE or later; FLOW_NONE: none. */
uint32_t flow_table_find(const struct flow_table *table, const struct flow_key *key);

/* Copies every entry of the tuple that is ACTIVE or later; returns how many. Where the kernel keeps TIME_WAIT
 * an elder one may stand beside a younger. */
uint32_t flow_table_copy(const struct flow_table *table, const struct flow_key *key,
                         struct flow_entry entries[2 * FLOW_WAYS]);

/* The tuple of an entry in FIN_WAIT2 or TIME_WAIT, as the publisher announced it; false where it is none any more. */
bool flow_table_key(const struct flow_table *table, uint32_t index, struct flow_key *key);

/* Frees the slot's ACTIVE entry of a connection that left no TIME_WAIT. Nothing where it is the slot's no more. */
void flow_table_release(struct flow_table *table, uint32_t index, uint32_t slot, uint32_t *intent);

/* Leaves the slot's ACTIVE entry to the publisher, if that has not taken it: before the socket is closed. */
void flow_table_orphan(struct flow_table *table, uint32_t index, uint32_t slot, uint64_t now_ms);

/* Turns the slot's ACTIVE entry into TIME_WAIT until now + 2MSL. Where the kernel keeps it. */
void flow_table_time_wait(struct flow_table *table, uint32_t index, uint32_t slot, uint64_t now_ms,
                          uint32_t *intent);

/* Whether entry `index` belongs to that session of that slot. */
bool flow_table_owned(const struct flow_table *table, uint32_t index, uint32_t slot, uint32_t session_index);

/* Frees an entry that its worker died over: the entry of *intent, if it is the slot's and `in_use` (whether the session
 * the entry names refers to it) says no. */
void flow_table_settle(struct flow_table *table, uint32_t slot, uint32_t *intent,
                       bool (*in_use)(const void *context, uint32_t session_index, uint32_t index),
                       const void *context);

/* For a table that outlived its workers, all of which are dead: leaves every entry of theirs to the publisher. */
void flow_table_disown(struct flow_table *table, uint64_t now_ms);

/* Frees what has ended, a bounded number of entries, if `slot` has the lease or can have it. Stores in
 * *intent what it is about to free. Returns in how many milliseconds it is to be called again. */
uint32_t flow_table_sweep(struct flow_table *table, uint32_t slot, uint64_t now_ms, uint32_t *intent);

/* A walk over the entries that are ACTIVE or later, for readers in other processes. Begins at zero. */
struct flow_walk {
    uint32_t next;
};

/* Copies the next entry as it was at one moment; false at the end. */
bool flow_walk_next(struct flow_walk *walk, const struct flow_table *table, struct flow_entry *copy);

/* Whether the entry obeys its invariants. */
bool flow_entry_check(const struct flow_entry *entry);

#endif
