/*
 * What operators order: the state of a server, and the end of a session. Words in the region's head, written by the
 * command itself, so an order needs no supervisor and outlives every process.
 *
 * A server's word is looked at with every choice of a server. A session's end is asked for in its slot's word, which
 * names the record and its generation; the slot's worker looks at it every turn and answers in the slot when it is
 * done. A worker that dies in between leaves it to the next incarnation, and as no other session ever has that
 * generation, twice is as good as once.
 */
#ifndef PENSTOCK_SHM_ORDER_H
#define PENSTOCK_SHM_ORDER_H

#include "core/admin.h"
#include "shm/region.h"

/* What was said of the server: core/admin.h. Relaxed: the word is all there is. */
static inline uint16_t order_server(const struct region *region, uint16_t row)
{
    return __atomic_load_n(&region->header->server_orders[row], __ATOMIC_RELAXED);
}

/* Change one half of the word; others may be changing the other. The head must be writable. */
void order_server_state(const struct region *region, uint16_t row, enum admin_state state);
void order_server_weight(const struct region *region, uint16_t row, uint32_t weight);

/* Asks for the end of session `index` of the slot, if it has that generation then. False while another command's order
 * waits. The head must be writable. */
bool order_kill(const struct region *region, uint32_t slot, uint32_t index, uint32_t generation);

/* Whether that order has been carried out. */
bool order_kill_is_done(const struct region *region, uint32_t slot, uint32_t index, uint32_t generation);

/* For the slot's worker: whether an order waits. It is done with order_answer(). */
bool order_next(const struct region *region, uint32_t slot, uint32_t *index, uint32_t *generation);
void order_answer(const struct region *region, uint32_t slot, uint32_t index, uint32_t generation);

#endif
