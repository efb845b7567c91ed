/*
 * A histogram of times: how many fell between bounds of 1, 2.5 and 5 times a power of ten, from 100 us to 5.8 days.
 *
 * A plain record that lies in shared memory, counted by one worker and read by anybody. The last bucket has no bound.
 */
#ifndef PENSTOCK_CORE_TIME_HISTOGRAM_H
#define PENSTOCK_CORE_TIME_HISTOGRAM_H

#include <stdint.h>

enum {
    TIME_BOUNDS = 30,
    TIME_BUCKETS = TIME_BOUNDS + 1,
};

struct time_histogram {
    uint64_t sum_us;
    uint64_t buckets[TIME_BUCKETS]; /* each by itself, not cumulative */
};

_Static_assert(sizeof(struct time_histogram) == 256, "four cache lines");

/* The highest time that falls into the bucket, in microseconds; UINT64_MAX of the last. */
uint64_t time_histogram_bound_us(uint32_t bucket);

/* The bucket a time belongs to. */
uint32_t time_histogram_bucket(uint64_t us);

/* How many times there are. */
uint64_t time_histogram_count(const struct time_histogram *times);

/* The time that `permille` of them do not exceed, as Prometheus estimates it: evenly spread within a bucket, and the
 * highest bound for what is above it. 0 where there are none. */
uint64_t time_histogram_quantile_us(const struct time_histogram *times, uint32_t permille);

#endif
