#include "core/time_histogram.h"

#define DECADE(us) (us), (us)*5 / 2, (us)*5

static const uint64_t bounds_us[TIME_BUCKETS] = {
    DECADE(100ull),         DECADE(1000ull),         DECADE(10000ull),     DECADE(100000ull),
    DECADE(1000000ull),     DECADE(10000000ull),     DECADE(100000000ull), DECADE(1000000000ull),
    DECADE(10000000000ull), DECADE(100000000000ull), UINT64_MAX,
};

uint64_t time_histogram_bound_us(uint32_t bucket)
{
    return bounds_us[bucket];
}

uint32_t time_histogram_bucket(uint64_t us)
{
    uint32_t bucket = 0;

    while (us > bounds_us[bucket]) {
        bucket++;
    }
    return bucket;
}

uint64_t time_histogram_count(const struct time_histogram *times)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < TIME_BUCKETS; i++) {
        count += times->buckets[i];
    }
    return count;
}

uint64_t time_histogram_quantile_us(const struct time_histogram *times, uint32_t permille)
{
    double rank = (double)time_histogram_count(times) * permille / 1000;
    double before = 0;
    uint32_t i = 0;

    while (i < TIME_BOUNDS && before + (double)times->buckets[i] < rank) {
        before += (double)times->buckets[i++];
    }
    if (i == TIME_BOUNDS || times->buckets[i] == 0) {
        return rank > 0 ? bounds_us[TIME_BOUNDS - 1] : 0;
    }
    uint64_t low_us = i > 0 ? bounds_us[i - 1] : 0;
    return low_us + (uint64_t)((double)(bounds_us[i] - low_us) * (rank - before) / (double)times->buckets[i]);
}
