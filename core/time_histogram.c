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
