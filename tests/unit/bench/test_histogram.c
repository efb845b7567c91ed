/*
 * The logarithmic histogram: small values exactly, large ones within 1/64, quantiles by rank.
 */
#include "bench/histogram.h"

#include <criterion/criterion.h>

TestSuite(bench_histogram);

static struct histogram histogram;

Test(bench_histogram, empty_gives_zero)
{
    histogram_init(&histogram);
    cr_assert_eq(histogram_quantile(&histogram, 0.5), 0);
    cr_assert_eq(histogram_quantile(&histogram, 1.0), 0);
}

Test(bench_histogram, small_values_are_exact)
{
    histogram_init(&histogram);
    for (uint64_t value = 1; value <= 50; value++)
        histogram_record(&histogram, value);
    cr_assert_eq(histogram_quantile(&histogram, 0.0), 1);
    cr_assert_eq(histogram_quantile(&histogram, 0.5), 25);
    cr_assert_eq(histogram_quantile(&histogram, 0.9), 45);
    cr_assert_eq(histogram_quantile(&histogram, 1.0), 50);
}

Test(bench_histogram, every_value_is_known_within_its_bucket)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int offset = -1; offset <= 1; offset++) {
            uint64_t value = (1ULL << bit) + (uint64_t)(int64_t)offset;
            histogram_init(&histogram);
            histogram_record(&histogram, value);
            histogram_record(&histogram, UINT64_MAX);
            uint64_t found = histogram_quantile(&histogram, 0.5);
            cr_assert_geq(found, value);
            cr_assert_leq(found - value, value / 64, "value %llu found %llu", (unsigned long long)value,
                          (unsigned long long)found);
        }
    }
}

Test(bench_histogram, quantiles_go_by_rank)
{
    histogram_init(&histogram);
    for (unsigned i = 0; i < 990; i++)
        histogram_record(&histogram, 10);
    for (unsigned i = 0; i < 10; i++)
        histogram_record(&histogram, 1000000);
    cr_assert_eq(histogram_quantile(&histogram, 0.99), 10);
    cr_assert_eq(histogram_quantile(&histogram, 0.999), 1000000);
    cr_assert_eq(histogram.max, 1000000);
    cr_assert_eq(histogram.count, 1000);
}

Test(bench_histogram, the_largest_quantile_is_the_exact_maximum)
{
    histogram_init(&histogram);
    histogram_record(&histogram, 123456789);
    histogram_record(&histogram, 987654321);
    cr_assert_eq(histogram_quantile(&histogram, 1.0), 987654321);
}
