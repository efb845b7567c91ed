/*
 * The clock. A file of its own, so that the simulation can bring another.
 */
#ifndef PENSTOCK_IO_CLOCK_H
#define PENSTOCK_IO_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in microseconds. */
uint64_t clock_now_us(void);

#endif
