/*
 * A slot's slab of session records.
 *
 * Only the slot's worker allocates and frees, so that needs no contention: a free list through the records' wheel
 * links, newest first, so that memory in use stays dense. The list is derived; session_slab_rebuild() makes it anew
 * from the phases. `generation` goes up with every allocation: a handle (index, generation) never means another
 * session. A record is FREE until session_slab_publish() has put all of a new session into it, so readers in other
 * processes see whole sessions or none.
 */
#ifndef PENSTOCK_SHM_SESSION_SLAB_H
#define PENSTOCK_SHM_SESSION_SLAB_H

#include "core/session.h"
#include "shm/region.h"

struct session_slab {
    struct session *sessions;
    uint32_t capacity;
    uint32_t free_head;
    uint32_t free_count; /* on the list; records never used are not on it */
    uint32_t active;
    uint32_t *high; /* in the slot: records ever used */
};

/* Opens the slab of `slot` with an empty free list: for a slot that was never used, or before a rebuild. */
void session_slab_open(struct session_slab *slab, const struct region *region, uint32_t slot);

/* A free record's index, SESSION_NONE when there is none; its generation has gone up. The caller saves the record in
 * the undo log first: session_slab_peek() tells which it will be. */
uint32_t session_slab_acquire(struct session_slab *slab);
uint32_t session_slab_peek(const struct session_slab *slab);

/* Makes the acquired record `index` the session `content`, which has its generation. */
void session_slab_publish(struct session_slab *slab, uint32_t index, const struct session *content);

/* Gives a record back whose phase is FREE. */
void session_slab_release(struct session_slab *slab, uint32_t index);

/* Makes the free list and the count of active sessions from the records. */
void session_slab_rebuild(struct session_slab *slab);

static inline uint32_t session_slab_room(const struct session_slab *slab)
{
    return slab->capacity - slab->active;
}

/* Copies session `index` of a slot as it was at one moment, for readers in other processes. False where there is
 * none. */
bool session_slab_read(const struct region *region, uint32_t slot, uint32_t index, struct session *copy);

/* A walk over the sessions of all slots, for readers in other processes. Sessions that begin or end meanwhile may be
 * among them or not; none comes twice. */
struct session_walk {
    const struct region *region;
    uint32_t slot; /* of the session last returned */
    uint32_t index;
    uint32_t high; /* of the slot */
};

void session_walk_begin(struct session_walk *walk, const struct region *region);

/* The next session; false at the end. */
bool session_walk_next(struct session_walk *walk, struct session *copy);

#endif
