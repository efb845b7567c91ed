/*
 * A slot's shard of the buffer bank.
 *
 * Buffers are lent while data is in flight and to the receive rings, nothing else. Who holds a buffer follows from
 * the sessions' chains and the slot's ring_buffers: the free stacks here are derived, private to the incarnation and
 * made anew by buffer_bank_rebuild(). The last buffer given back is the first lent again: it is still in the cache,
 * and pages never needed are never touched.
 */
#ifndef PENSTOCK_SHM_BUFFER_BANK_H
#define PENSTOCK_SHM_BUFFER_BANK_H

#include "core/chain.h"
#include "shm/region.h"

enum buffer_class { BUFFER_LARGE, BUFFER_SMALL, BUFFER_CLASSES };

struct buffer_stack {
    uint32_t *ids;
    uint32_t count; /* free now */
    uint32_t total; /* that may be lent: the lowest of the class */
};

struct buffer_bank {
    struct buffer_table table;
    unsigned char *bytes;
    struct buffer_stack stacks[BUFFER_CLASSES];
    uint64_t budget_bytes;
};

/* Opens the shard of `slot` with all that is reserved free. 0 or -ENOMEM. */
int buffer_bank_open(struct buffer_bank *bank, const struct region *region, uint32_t slot);
void buffer_bank_close(struct buffer_bank *bank);

/* Lends no more than `bytes` from now on, as far as so much is reserved; to be followed by buffer_bank_rebuild(). What
 * is lent beyond it comes back and then rests. */
void buffer_bank_limit(struct buffer_bank *bank, uint64_t bytes);

/* The buffers of each class that `bytes` are divided into. A quarter is small ones: the reserve that keeps newly active
 * connections going when the large ones are all held by readers that stand still. */
void buffer_bank_divide(uint64_t bytes, uint32_t *large, uint32_t *small);

/* Lends a buffer, BUFFER_NONE when the class has none left. */
uint32_t buffer_bank_acquire(struct buffer_bank *bank, enum buffer_class class);

void buffer_bank_release(struct buffer_bank *bank, uint32_t id);

/* Gives back a whole list; its links must not have changed since it was taken from a chain. */
void buffer_bank_release_list(struct buffer_bank *bank, struct buffer_list list);

/* Makes the stacks anew: free is what `held` (one byte a buffer) does not mark. */
void buffer_bank_rebuild(struct buffer_bank *bank, const uint8_t *held);

uint64_t buffer_bank_free_bytes(const struct buffer_bank *bank);

static inline enum buffer_class buffer_bank_class(const struct buffer_bank *bank, uint32_t id)
{
    return id < bank->table.large_count ? BUFFER_LARGE : BUFFER_SMALL;
}

static inline unsigned char *buffer_bank_address(const struct buffer_bank *bank, uint32_t id)
{
    uint32_t large = bank->table.large_count;
    uint64_t offset =
        id < large ? (uint64_t)id * BUFFER_LARGE_STRIDE
                   : (uint64_t)large * BUFFER_LARGE_STRIDE + (uint64_t)(id - large) * BUFFER_SMALL_BYTES;
    return bank->bytes + offset;
}

#endif
