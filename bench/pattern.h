/*
 * The test pattern: a pseudo-random byte for every (seed, position), computed without state, so that any
 * byte of any stream can be made or checked alone. Nothing here can fail.
 */
#ifndef PENSTOCK_BENCH_PATTERN_H
#define PENSTOCK_BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Writes the pattern bytes [position, position + length) of the stream named by seed. */
void pattern_fill(uint8_t *out, size_t length, uint64_t seed, uint64_t position);

/* Returns the index of the first byte of data that differs from the pattern, or length if none does. */
size_t pattern_check(const uint8_t *data, size_t length, uint64_t seed, uint64_t position);

#endif
