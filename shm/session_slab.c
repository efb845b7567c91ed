#include "shm/session_slab.h"

#include <string.h>

#include "core/check.h"
#include "shm/worker_slot.h"

void session_slab_open(struct session_slab *slab, const struct region *region, uint32_t slot)
{
    uint32_t capacity = region->header->sessions_per_slot;

    *slab = (struct session_slab){
        .sessions = region_row(region, TABLE_SESSIONS, (uint64_t)slot * capacity),
        .capacity = capacity,
        .free_head = SESSION_NONE,
        .high = &region_slot(region, slot)->session_high,
    };
}

uint32_t session_slab_peek(const struct session_slab *slab)
{
    if (slab->free_head != SESSION_NONE) {
        return slab->free_head;
    }
    return *slab->high < slab->capacity ? *slab->high : SESSION_NONE;
}

uint32_t session_slab_acquire(struct session_slab *slab)
{
    uint32_t index = session_slab_peek(slab);

    if (index == SESSION_NONE) {
        return SESSION_NONE;
    }
    struct session *session = &slab->sessions[index];
    CHECK(session->phase == SESSION_FREE);
    if (index == slab->free_head) {
        slab->free_head = session->wheel_next;
        slab->free_count--;
    } else {
        __atomic_store_n(slab->high, index + 1, __ATOMIC_RELEASE); /* pairs with readers that walk the slab */
    }
    slab->active++;
    /* A reader that sees the new content sees the new generation: the fence pairs with session_slab_read()'s. */
    __atomic_store_n(&session->generation, session->generation + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return index;
}

void session_slab_release(struct session_slab *slab, uint32_t index)
{
    struct session *session = &slab->sessions[index];

    CHECK(session->phase == SESSION_FREE && slab->active > 0);
    session->wheel_next = slab->free_head;
    slab->free_head = index;
    slab->free_count++;
    slab->active--;
}

void session_slab_rebuild(struct session_slab *slab)
{
    slab->free_head = SESSION_NONE;
    slab->free_count = 0;
    slab->active = 0;
    for (uint32_t index = *slab->high; index-- > 0;) {
        struct session *session = &slab->sessions[index];
        if (session->phase == SESSION_FREE) {
            session->wheel_next = slab->free_head;
            slab->free_head = index;
            slab->free_count++;
        } else {
            slab->active++;
        }
    }
}

bool session_slab_read(const struct region *region, uint32_t slot, uint32_t index, struct session *copy)
{
    uint32_t capacity = region->header->sessions_per_slot;
    const struct session *session = region_row(region, TABLE_SESSIONS, (uint64_t)slot * capacity + index);
    const uint64_t *from = (const uint64_t *)(const void *)session;
    uint64_t words[sizeof(*copy) / sizeof(uint64_t)] = {0};
    uint32_t generation = __atomic_load_n(&session->generation, __ATOMIC_ACQUIRE);

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    }
    memcpy(copy, words, sizeof(*copy));
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the copy before the second look at the generation */
    return copy->phase != SESSION_FREE &&
           __atomic_load_n(&session->generation, __ATOMIC_RELAXED) == generation;
}
