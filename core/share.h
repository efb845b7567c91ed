/*
 * How much of a worker's buffer bank one direction may hold.
 */
#ifndef PENSTOCK_CORE_SHARE_H
#define PENSTOCK_CORE_SHARE_H

#include <stdint.h>

enum {
    SHARE_MIN_BYTES = 2 * 1024,
    SHARE_MAX_BYTES = 1024 * 1024, /* more than this in user space only adds delay */
};

/* clamp(budget / active, min, max), and never more than half of what is free, so that whoever comes next finds
 * something too (dynamic thresholds: Choudhury and Hahne, 1998). `active` counts directions with data. */
uint32_t share_bytes(uint64_t budget_bytes, uint64_t free_bytes, uint32_t active);

#endif
