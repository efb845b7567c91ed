/*
 * Fault points: places at which a worker can be made to die, in a build with -DPENSTOCK_FAULT_POINTS alone. Everywhere
 * else FAULT_POINT() is nothing.
 *
 * A test writes its choice into the slot of a living worker (worker_slot.fault_choice): `countdown` first, `point`
 * last. The worker that passes the point for the countdown-th time puts `next` in its place, counts the death
 * and ends by SIGKILL, so its successor dies there only if the test says so.
 */
#ifndef PENSTOCK_SHM_FAULT_POINT_H
#define PENSTOCK_SHM_FAULT_POINT_H

#ifdef PENSTOCK_FAULT_POINTS

#include <stdint.h>

enum fault_point {
    FAULT_NONE,
#define FAULT_POINT_STEP(name, after, meaning) FAULT_##name,
#include "shm/fault_point.def"
#undef FAULT_POINT_STEP
    FAULT_POINT_COUNT
};

struct fault_choice {
    uint32_t point;     /* enum fault_point; FAULT_NONE: nobody dies */
    uint32_t countdown; /* passings until death, of this point and then of the next */
    uint32_t next, next_countdown;
    uint32_t deaths; /* at chosen points, in all */
};

/* The choice this process obeys from here on. */
void fault_point_obey(struct fault_choice *choice);

void fault_point_pass(enum fault_point point);

#define FAULT_POINT(name) fault_point_pass(FAULT_##name)

#else

#define FAULT_POINT(name) ((void)0)

#endif

#endif
