/*
 * A histogram of 64-bit values with logarithmic buckets: exact below 64, otherwise 64 buckets per power of
 * two, hence at most 1.6 % wide. Fixed size (about 30 KB), no allocation; nothing here can fail.
 */
#ifndef PENSTOCK_BENCH_HISTOGRAM_H
#define PENSTOCK_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS  ((64 - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_init(struct histogram *histogram);
void histogram_record(struct histogram *histogram, uint64_t value);

/* The value that the fraction (0..1) of all recorded values does not exceed, rounded up to the end of its
 * bucket but never above the maximum; 0 if nothing was recorded. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

#endif
