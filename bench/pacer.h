/*
 * Deliberate slowness of a reader: how much to read next, and how long to pause after it. The pauses of one
 * pacer add up to at most PACER_BUDGET_MS, so that every stream ends. Nothing here can fail.
 */
#ifndef PENSTOCK_BENCH_PACER_H
#define PENSTOCK_BENCH_PACER_H

#include "bench/rng.h"

#include <stddef.h>
#include <stdint.h>

#define PACER_BUDGET_MS 5000

struct pacer {
    struct rng rng;
    uint32_t budget_ms;
};

void pacer_init(struct pacer *pacer, uint64_t seed);

/* How many bytes to read now, 1..max. */
size_t pacer_read_bytes(struct pacer *pacer, size_t max);

/* How long to pause after a read; 0: not at all. */
uint32_t pacer_pause_ms(struct pacer *pacer);

#endif
