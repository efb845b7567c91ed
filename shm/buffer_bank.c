#include "shm/buffer_bank.h"

#include <errno.h>
#include <stdlib.h>

#include "core/check.h"

/* Whether the buffer is one of those that may be lent. */
static bool within_limit(const struct buffer_bank *bank, uint32_t id)
{
    enum buffer_class class = buffer_bank_class(bank, id);
    uint32_t first = class == BUFFER_LARGE ? 0 : bank->table.large_count;

    return id - first < bank->stacks[class].total;
}

static void fill(struct buffer_bank *bank, const uint8_t *held)
{
    bank->stacks[BUFFER_LARGE].count = 0;
    bank->stacks[BUFFER_SMALL].count = 0;
    for (uint32_t id = bank->table.count; id-- > 0;) { /* downwards, so that the lowest are lent first */
        if (within_limit(bank, id) && (held == NULL || !held[id])) {
            struct buffer_stack *stack = &bank->stacks[buffer_bank_class(bank, id)];
            stack->ids[stack->count++] = id;
        }
    }
}

static void set_totals(struct buffer_bank *bank, uint32_t large, uint32_t small)
{
    bank->stacks[BUFFER_LARGE].total = large;
    bank->stacks[BUFFER_SMALL].total = small;
    bank->budget_bytes = (uint64_t)large * BUFFER_LARGE_BYTES + (uint64_t)small * BUFFER_SMALL_BYTES;
}

int buffer_bank_open(struct buffer_bank *bank, const struct region *region, uint32_t slot)
{
    uint32_t large = region->header->large_per_slot;
    uint32_t small = region->header->small_per_slot;
    uint64_t pages = region->header->tables[TABLE_BANK].count / region->header->slot_count;

    *bank = (struct buffer_bank){
        .table =
            {
                .records = region_row(region, TABLE_BUFFER_RECORDS, (uint64_t)slot * (large + small)),
                .large_count = large,
                .count = large + small,
            },
        .bytes = region_row(region, TABLE_BANK, slot * pages),
    };
    bank->stacks[BUFFER_LARGE] = (struct buffer_stack){.ids = calloc(large + 1, sizeof(uint32_t))};
    bank->stacks[BUFFER_SMALL] = (struct buffer_stack){.ids = calloc(small + 1, sizeof(uint32_t))};
    if (bank->stacks[BUFFER_LARGE].ids == NULL || bank->stacks[BUFFER_SMALL].ids == NULL) {
        buffer_bank_close(bank);
        return -ENOMEM;
    }
    set_totals(bank, large, small);
    fill(bank, NULL);
    return 0;
}

void buffer_bank_divide(uint64_t bytes, uint32_t *large, uint32_t *small)
{
    uint64_t small_bytes = bytes / 4;

    *small = (uint32_t)(small_bytes / BUFFER_SMALL_BYTES);
    *large = (uint32_t)((bytes - small_bytes) / BUFFER_LARGE_STRIDE);
}

void buffer_bank_limit(struct buffer_bank *bank, uint64_t bytes)
{
    uint32_t large_reserved = bank->table.large_count;
    uint32_t small_reserved = bank->table.count - large_reserved;
    uint32_t large;
    uint32_t small;

    buffer_bank_divide(bytes, &large, &small);
    set_totals(bank, large < large_reserved ? large : large_reserved,
               small < small_reserved ? small : small_reserved);
}

void buffer_bank_close(struct buffer_bank *bank)
{
    for (int class = 0; class < BUFFER_CLASSES; class ++) {
        free(bank->stacks[class].ids);
        bank->stacks[class].ids = NULL;
    }
}

uint32_t buffer_bank_acquire(struct buffer_bank *bank, enum buffer_class class)
{
    struct buffer_stack *stack = &bank->stacks[class];

    return stack->count > 0 ? stack->ids[--stack->count] : BUFFER_NONE;
}

void buffer_bank_release(struct buffer_bank *bank, uint32_t id)
{
    CHECK(id < bank->table.count);
    struct buffer_stack *stack = &bank->stacks[buffer_bank_class(bank, id)];
    if (!within_limit(bank, id)) {
        return;
    }
    CHECK(stack->count < stack->total);
    stack->ids[stack->count++] = id;
}

void buffer_bank_release_list(struct buffer_bank *bank, struct buffer_list list)
{
    uint32_t id = list.first;

    for (uint32_t i = 0; i < list.count; i++) {
        uint32_t next = bank->table.records[id].next;
        buffer_bank_release(bank, id);
        id = next;
    }
}

void buffer_bank_rebuild(struct buffer_bank *bank, const uint8_t *held)
{
    fill(bank, held);
}

uint64_t buffer_bank_free_bytes(const struct buffer_bank *bank)
{
    return (uint64_t)bank->stacks[BUFFER_LARGE].count * BUFFER_LARGE_BYTES +
           (uint64_t)bank->stacks[BUFFER_SMALL].count * BUFFER_SMALL_BYTES;
}
