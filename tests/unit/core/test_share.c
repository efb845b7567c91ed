/* The fair share of the buffer bank: its clamps, and that newcomers always find something. */
#include "core/share.h"

#include <criterion/criterion.h>

TestSuite(share);

enum { MIB = 1024 * 1024 };

Test(share, table)
{
    static const struct {
        uint64_t budget, free;
        uint32_t active, share;
    } cases[] = {
        {64ull * MIB, 64ull * MIB, 0, SHARE_MAX_BYTES}, /* nobody: as if one */
        {64ull * MIB, 64ull * MIB, 1, SHARE_MAX_BYTES}, /* alone, and still no more than the most */
        {64ull * MIB, 64ull * MIB, 256, 256 * 1024},    /* budget / active */
        {64ull * MIB, 64ull * MIB, 1000000, SHARE_MIN_BYTES},
        {64ull * MIB, 100 * 1024, 4, 50 * 1024}, /* half of what is free */
        {64ull * MIB, 0, 4, SHARE_MIN_BYTES},
        {64ull * MIB, 1, 1, SHARE_MIN_BYTES},
        {0, 0, 0, SHARE_MIN_BYTES},
        {1ull << 50, 1ull << 50, 1, SHARE_MAX_BYTES}, /* more than 32 bits hold */
        {1ull << 50, 1ull << 50, UINT32_MAX, 262144},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(share_bytes(cases[i].budget, cases[i].free, cases[i].active), cases[i].share, "case %zu",
                     i);
    }
}

Test(share, never_grows_with_the_number_of_directions)
{
    uint32_t last = UINT32_MAX;

    for (uint32_t active = 0; active < 100000; active += 1 + active / 8) {
        uint32_t share = share_bytes(256ull * MIB, 200ull * MIB, active);
        cr_expect_leq(share, last);
        last = share;
    }
}

/* However greedy the directions are, as long as the least share is there for each, each gets it; and whoever takes more
 * than the least leaves as much behind as he takes. */
Test(share, everybody_finds_something_as_long_as_there_is_enough)
{
    uint64_t budget = 64ull * MIB;

    for (uint32_t active = 1; active <= budget / SHARE_MIN_BYTES; active *= 2) {
        uint64_t left = budget;
        for (uint32_t i = 0; i < active; i++) {
            uint32_t share = share_bytes(budget, left, active);
            cr_assert(share <= left && (share == SHARE_MIN_BYTES || share <= left - share), "%u of %u", i,
                      active);
            left -= share;
        }
    }
}
