#include "shm/session_slab.h"

#include <string.h>

#include "core/check.h"
#include "shm/snapshot.h"
#include "shm/worker_slot.h"

enum { SESSION_WORDS = sizeof(struct session) / sizeof(uint64_t) };

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
    __atomic_store_n(&session->generation, session->generation + 1, __ATOMIC_RELAXED); /* still FREE */
    return index;
}

void session_slab_publish(struct session_slab *slab, uint32_t index, const struct session *content)
{
    struct session *session = &slab->sessions[index];
    uint64_t words[SESSION_WORDS];

    CHECK(session->phase == SESSION_FREE && session->generation == content->generation);
    memcpy(words, content, sizeof(words));
    for (size_t i = SESSION_WORDS; i-- > 1;) {
        __atomic_store_n((uint64_t *)(void *)session + i, words[i], __ATOMIC_RELAXED);
    }
    /* The first word has the phase. Release pairs with the acquire in session_slab_read(). */
    __atomic_store_n((uint64_t *)(void *)session, words[0], __ATOMIC_RELEASE);
}

static void set_next_free(struct session *session, uint32_t next)
{
    __atomic_store_n(&session->wheel_next, next, __ATOMIC_RELAXED); /* readers may be copying the record */
}

void session_slab_release(struct session_slab *slab, uint32_t index)
{
    struct session *session = &slab->sessions[index];

    CHECK(session->phase == SESSION_FREE && slab->active > 0);
    set_next_free(session, slab->free_head);
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
            set_next_free(session, slab->free_head);
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

    /* Acquire pairs with session_slab_publish(). Most records of a walk are free: not worth a copy. */
    if (__atomic_load_n(&session->phase, __ATOMIC_ACQUIRE) == SESSION_FREE) {
        return false;
    }
    return snapshot_read(copy, session, sizeof(*copy)) && copy->phase != SESSION_FREE &&
           copy->phase < SESSION_PHASE_COUNT;
}

/* The records of a slot that were ever used. What a worker wrote is not believed. */
static uint32_t high_of(const struct region *region, uint32_t slot)
{
    uint32_t capacity = region->header->sessions_per_slot;
    /* Pairs with session_slab_acquire(). */
    uint32_t high = __atomic_load_n(&region_slot(region, slot)->session_high, __ATOMIC_ACQUIRE);

    return high < capacity ? high : capacity;
}

void session_walk_begin(struct session_walk *walk, const struct region *region)
{
    *walk = (struct session_walk){.region = region, .index = SESSION_NONE, .high = high_of(region, 0)};
}

bool session_walk_next(struct session_walk *walk, struct session *copy)
{
    uint32_t slots = region_slots_used(walk->region);

    while (walk->slot < slots) {
        while (++walk->index < walk->high) { /* SESSION_NONE + 1 is 0 */
            if (session_slab_read(walk->region, walk->slot, walk->index, copy)) {
                return true;
            }
        }
        if (++walk->slot < slots) {
            walk->index = SESSION_NONE;
            walk->high = high_of(walk->region, walk->slot);
        }
    }
    return false;
}
