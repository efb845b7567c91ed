/* The time histogram's buckets: in order, without gaps, and each time in the one that is bounded just above it. */
#include "core/time_histogram.h"

#include <criterion/criterion.h>

TestSuite(time_histogram);

Test(time_histogram, bounds_grow_by_two_to_two_and_a_half)
{
    cr_expect_eq(time_histogram_bound_us(0), 100);
    cr_expect_eq(time_histogram_bound_us(1), 250);
    cr_expect_eq(time_histogram_bound_us(2), 500);
    cr_expect_eq(time_histogram_bound_us(3), 1000);
    cr_expect_eq(time_histogram_bound_us(TIME_BOUNDS - 1), 500000000000);
    for (uint32_t i = 1; i < TIME_BOUNDS; i++) {
        uint64_t below = time_histogram_bound_us(i - 1);
        cr_expect_geq(time_histogram_bound_us(i), 2 * below);
        cr_expect_leq(2 * time_histogram_bound_us(i), 5 * below);
    }
    cr_expect_eq(time_histogram_bound_us(TIME_BOUNDS), UINT64_MAX);
}

Test(time_histogram, a_bound_belongs_to_its_bucket_and_what_follows_to_the_next)
{
    cr_expect_eq(time_histogram_bucket(0), 0);
    for (uint32_t i = 0; i < TIME_BOUNDS; i++) {
        uint64_t bound = time_histogram_bound_us(i);
        cr_expect_eq(time_histogram_bucket(bound - 1), i);
        cr_expect_eq(time_histogram_bucket(bound), i);
        cr_expect_eq(time_histogram_bucket(bound + 1), i + 1);
    }
    cr_expect_eq(time_histogram_bucket(UINT64_MAX), TIME_BOUNDS);
}
