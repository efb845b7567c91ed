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

Test(time_histogram, quantiles_are_as_prometheus_estimates_them)
{
    struct time_histogram times = {0};

    cr_expect_eq(time_histogram_quantile_us(&times, 500), 0, "none");
    times.buckets[0] = 100;
    cr_expect_eq(time_histogram_quantile_us(&times, 500), 50);
    cr_expect_eq(time_histogram_quantile_us(&times, 1000), 100);
    times.buckets[3] = 100; /* above 500 us, to 1 ms */
    cr_expect_eq(time_histogram_count(&times), 200);
    cr_expect_eq(time_histogram_quantile_us(&times, 500), 100);
    cr_expect_eq(time_histogram_quantile_us(&times, 750), 750);
    times.buckets[TIME_BOUNDS] = 1000;
    cr_expect_eq(time_histogram_quantile_us(&times, 990), time_histogram_bound_us(TIME_BOUNDS - 1));
    times = (struct time_histogram){.buckets[TIME_BOUNDS - 1] = UINT64_MAX, .buckets[0] = UINT64_MAX};
    (void)time_histogram_quantile_us(&times, 990); /* what nobody counted */
}
