/*
 * Numbers from the command line.
 */
#ifndef PENSTOCK_BENCH_NUMBER_H
#define PENSTOCK_BENCH_NUMBER_H

#include <stdint.h>

/* A whole number with an optional suffix K, M or G (powers of 1024). 0, or -EINVAL if the text is not one or
 * exceeds max. */
int number_parse(const char *text, uint64_t max, uint64_t *value);

/* Seconds with up to three decimals, as milliseconds, at most 100 days. 0 or -EINVAL. */
int number_parse_seconds(const char *text, uint64_t *value_ms);

#endif
