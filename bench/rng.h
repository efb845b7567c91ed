/*
 * A small deterministic random number generator (SplitMix64), for choices of sizes and times. Not for
 * secrets. Nothing here can fail.
 */
#ifndef PENSTOCK_BENCH_RNG_H
#define PENSTOCK_BENCH_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

/* A number in [0, limit); limit 0 gives 0. */
uint64_t rng_below(struct rng *rng, uint64_t limit);

/* True with a chance of percent in 100. */
bool rng_chance(struct rng *rng, unsigned percent);

/* A number in [0, max] whose logarithm is about uniform; 0 in one case of 32. */
uint64_t rng_log_uniform(struct rng *rng, uint64_t max);

#endif
