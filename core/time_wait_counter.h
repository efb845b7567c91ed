/* The counters of the BPF programs, common to them and to user space. */
#ifndef PENSTOCK_CORE_TIME_WAIT_COUNTER_H
#define PENSTOCK_CORE_TIME_WAIT_COUNTER_H

#include <stdint.h>

enum time_wait_counter {
#define TIME_WAIT_COUNTER(name, what) COUNT_##name,
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
    TIME_WAIT_COUNTERS
};

struct time_wait_counters {
#define TIME_WAIT_COUNTER(name, what) uint64_t name;
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
};

_Static_assert(sizeof(struct time_wait_counters) == TIME_WAIT_COUNTERS * sizeof(uint64_t), "one number each");

#endif
