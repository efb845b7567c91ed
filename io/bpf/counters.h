/* The counters of the BPF programs, common to them and to user space. */
#ifndef PENSTOCK_IO_BPF_COUNTERS_H
#define PENSTOCK_IO_BPF_COUNTERS_H

#include <stdint.h>

enum time_wait_counter {
#define TIME_WAIT_COUNTER(name, what) COUNT_##name,
#include "io/bpf/counters.def"
#undef TIME_WAIT_COUNTER
    TIME_WAIT_COUNTERS
};

struct time_wait_counters {
#define TIME_WAIT_COUNTER(name, what) uint64_t name;
#include "io/bpf/counters.def"
#undef TIME_WAIT_COUNTER
};

_Static_assert(sizeof(struct time_wait_counters) == TIME_WAIT_COUNTERS * sizeof(uint64_t), "one number each");

#endif
