/*
 * The clock. A file of its own, so that the simulation can bring another.
 */
#ifndef PENSTOCK_IO_CLOCK_H
#define PENSTOCK_IO_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in microseconds. */
uint64_t clock_now_us(void);

/* CPU time of this process since it began, the kernel's for it included, in microseconds. A system call. */
uint64_t clock_cpu_us(void);

#endif
