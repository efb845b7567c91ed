/*
 * SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
 */
#include "bench/rng.h"

void rng_init(struct rng *rng, uint64_t seed)
{
    rng->state = seed;
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    /* The bias of the remainder is below 2^-24 for every limit in use. */
    return limit == 0 ? 0 : rng_next(rng) % limit;
}

bool rng_chance(struct rng *rng, unsigned percent)
{
    return rng_below(rng, 100) < percent;
}

uint64_t rng_log_uniform(struct rng *rng, uint64_t max)
{
    if (max == 0 || rng_below(rng, 32) == 0)
        return 0;
    unsigned bits = 64 - (unsigned)__builtin_clzll(max);
    uint64_t low = 1ULL << rng_below(rng, bits);
    uint64_t value = low + rng_below(rng, low);
    return value < max ? value : max;
}
