/*
 * A timer wheel over the sessions of one worker, linked through the session records themselves.
 *
 * One lap of 4096 slots of 16 ms. Deadlines are lazy: traffic moves a session's deadline without touching the
 * wheel; when the slot comes round, the owner looks whether the deadline has really come and inserts it again if
 * not. A deadline beyond the lap is put at its end. Derived state: a new incarnation starts with an empty wheel.
 */
#ifndef PENSTOCK_CORE_WHEEL_H
#define PENSTOCK_CORE_WHEEL_H

#include "core/session.h"

enum {
    WHEEL_SLOTS = 4096,
    WHEEL_TICK_MS = 16,
};

struct wheel {
    struct session *sessions; /* base of the slab: links are indices into it */
    uint64_t now_tick;        /* everything before it has been taken */
    uint32_t heads[WHEEL_SLOTS];
    uint64_t occupied[WHEEL_SLOTS / 64];
};

void wheel_init(struct wheel *wheel, struct session *sessions, uint64_t now_ms);

/* Puts session `index` at `due_ms`, at the earliest into the next tick. UINT64_MAX takes it out. */
void wheel_set(struct wheel *wheel, uint32_t index, uint64_t due_ms);

void wheel_remove(struct wheel *wheel, uint32_t index);

/* Takes out one session whose slot has come by `now_ms`; SESSION_NONE when there is none left. */
uint32_t wheel_take(struct wheel *wheel, uint64_t now_ms);

/* Milliseconds until the next occupied slot comes, 0 if it has, UINT32_MAX if the wheel is empty. */
uint32_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms);

#endif
