/*
 * A small region for the tests of this folder.
 */
#ifndef PENSTOCK_TESTS_UNIT_SHM_REGION_MAKE_H
#define PENSTOCK_TESTS_UNIT_SHM_REGION_MAKE_H

#include <criterion/criterion.h>

#include "shm/region.h"

enum { MAKE_SLOTS = 3, MAKE_SESSIONS = 100, MAKE_FLOWS = 64 * 64, MAKE_BANK = 3 * 1024 * 1024 };

static inline struct region_shape region_shape_small(void)
{
    return (struct region_shape){
        .name = "test",
        .slots = MAKE_SLOTS,
        .sessions_per_slot = MAKE_SESSIONS,
        .flows = MAKE_FLOWS,
        .bank_bytes = MAKE_BANK,
        .monotonic_us = 11,
        .realtime_us = 22,
        .seed = 33,
    };
}

static inline struct region region_make(void)
{
    struct region_shape shape = region_shape_small();
    struct region region;

    cr_assert_eq(region_create(&region, &shape), 0);
    region.header->slots_used = MAKE_SLOTS;
    return region;
}

#endif
