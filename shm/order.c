#include "shm/order.h"

#include "shm/worker_slot.h"

enum { GENERATION_SHIFT = 32 };

static uint16_t *server_word(const struct region *region, uint16_t row)
{
    return &region->header->server_orders[row];
}

static uint64_t kill_word(uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << GENERATION_SHIFT | index;
}

void order_server_state(const struct region *region, uint16_t row, enum admin_state state)
{
    uint16_t *word = server_word(region, row);
    uint16_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(word, &old, admin_pack(state, admin_weight_of(old)), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

void order_server_weight(const struct region *region, uint16_t row, uint32_t weight)
{
    uint16_t *word = server_word(region, row);
    uint16_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(word, &old, admin_pack(admin_state_of(old), weight), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* Acquire pairs with order_answer(): whoever sees the answer sees the session's end. */
static uint64_t load_answer(const struct region *region, uint32_t slot)
{
    return __atomic_load_n(&region_slot(region, slot)->order_answered, __ATOMIC_ACQUIRE);
}

bool order_kill(const struct region *region, uint32_t slot, uint32_t index, uint32_t generation)
{
    uint64_t answered = load_answer(region, slot);

    return __atomic_compare_exchange_n(&region->header->kill_orders[slot], &answered,
                                       kill_word(index, generation), false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

bool order_kill_is_done(const struct region *region, uint32_t slot, uint32_t index, uint32_t generation)
{
    return load_answer(region, slot) == kill_word(index, generation) ||
           __atomic_load_n(&region->header->kill_orders[slot], __ATOMIC_RELAXED) !=
               kill_word(index, generation);
}

bool order_next(const struct region *region, uint32_t slot, uint32_t *index, uint32_t *generation)
{
    uint64_t word = __atomic_load_n(&region->header->kill_orders[slot], __ATOMIC_RELAXED);

    *index = (uint32_t)word;
    *generation = (uint32_t)(word >> GENERATION_SHIFT);
    return word != region_slot(region, slot)->order_answered;
}

void order_answer(const struct region *region, uint32_t slot, uint32_t index, uint32_t generation)
{
    __atomic_store_n(&region_slot(region, slot)->order_answered, kill_word(index, generation),
                     __ATOMIC_RELEASE); /* pairs with load_answer() */
}
