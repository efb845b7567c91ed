/*
 * Chains of received buffers, oldest first, linked through a table of buffer records.
 *
 * Pure: the functions work on one direction (struct conn) and the table. A chain is changed only by the session's
 * worker. Released buffers are handed back as a list linked by `next`, whose links stay as they were, so that an
 * undone transaction finds the chain intact.
 */
#ifndef PENSTOCK_CORE_CHAIN_H
#define PENSTOCK_CORE_CHAIN_H

#include "core/session.h"

/* The two classes of buffers. Receivers get large ones while there are plenty and small ones under pressure, so
 * that thousands of readers that stand still hold little each. */
enum {
    BUFFER_LARGE_BYTES = 16 * 1024,
    BUFFER_SMALL_BYTES = 2 * 1024,
    /* A cache line more: small messages at the front of many buffers would else contend for a few sets of the
     * cache. */
    BUFFER_LARGE_STRIDE = BUFFER_LARGE_BYTES + 64,
};

/* One per buffer of the bank. */
struct buffer_record {
    uint32_t next;   /* the buffer received after this one; BUFFER_NONE: last */
    uint32_t length; /* bytes received into it */
};

/* One worker's shard of the bank: ids 0..large_count-1 are large, the following up to count-1 small. */
struct buffer_table {
    struct buffer_record *records;
    uint32_t large_count;
    uint32_t count;
};

/* A list of buffers: `count` of them, linked from `first`. */
struct buffer_list {
    uint32_t first;
    uint32_t count;
};

static inline uint32_t buffer_capacity(const struct buffer_table *table, uint32_t id)
{
    return id < table->large_count ? BUFFER_LARGE_BYTES : BUFFER_SMALL_BYTES;
}

/* Appends buffer `id`, into which `length` bytes were received. */
void chain_append(struct conn *conn, const struct buffer_table *table, uint32_t id, uint32_t length);

/* Drops `bytes` from the front; returns the buffers this empties. */
struct buffer_list chain_consume(struct conn *conn, const struct buffer_table *table, uint32_t bytes);

/* Drops everything; returns all buffers. */
struct buffer_list chain_clear(struct conn *conn, const struct buffer_table *table);

/* Puts buffer `id`, which holds a copy of the chain's whole content, in the place of its only buffer, which is
 * returned. */
uint32_t chain_replace(struct conn *conn, const struct buffer_table *table, uint32_t id);

/* Whether links, lengths and sums agree. */
bool chain_check(const struct conn *conn, const struct buffer_table *table);

#endif
