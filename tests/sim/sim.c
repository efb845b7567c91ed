/*
 * The simulation's configurations. SIM_SEED=n runs each with that seed alone; otherwise with fixed ones and one that
 * is drawn from the time and printed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/run.h"

static void run_seeds(const struct sim_config *config)
{
    const char *given = getenv("SIM_SEED");
    uint64_t seeds[] = {1, 2, (uint64_t)time(NULL) * 1000003};

    if (given != NULL) {
        run(config, strtoull(given, NULL, 0));
        return;
    }
    for (unsigned i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        fprintf(stderr, "sim: %s SIM_SEED=%lu\n", config->name, (unsigned long)seeds[i]);
        run(config, seeds[i]);
    }
}

/* Each differs from `base` in what it is about. */
#define BASE                                                                                             \
    .sessions = 8000, .at_once = 64, .slab = 256, .bank_bytes = 8 << 20, .listeners = 1,                 \
    .local_listeners = 1, .backlog = 16, .servers = 4, .retries = 2, .ports = 2000, .bytes_max = 100000, \
    .streams = 3, .stream_bytes = 400000, .faults = 6, .connect_faults = 4, .pauses = 2

#define CONFIGURATION(title, ...)                                                    \
    Test(sim, title)                                                                 \
    {                                                                                \
        static const struct sim_config config = {.name = #title, BASE, __VA_ARGS__}; \
        run_seeds(&config);                                                          \
    }

#pragma GCC diagnostic ignored "-Woverride-init"

/* Nobody dies. */
CONFIGURATION(plain, .sessions = 8000)

/* Everything is checked after every completion. */
CONFIGURATION(one_by_one, .sessions = 1000, .at_once = 16, .slab = 64, .streams = 20, .one_by_one = true)
CONFIGURATION(one_by_one_deaths, .sessions = 600, .at_once = 16, .slab = 64, .streams = 20,
              .one_by_one = true, .crash_scale = 1500)

/* Death after some thousand stores, often while adopting. */
CONFIGURATION(deaths, .sessions = 4000, .crash_scale = 1500)

/* Nearly everything is a stream; peers reset, end and stand still in the middle of it. */
CONFIGURATION(streams, .sessions = 1000, .at_once = 24, .streams = 60, .stream_bytes = 1000000, .faults = 30,
              .crash_scale = 2500)

/* The same, and nobody dies. */
CONFIGURATION(long_streams, .sessions = 400, .at_once = 16, .streams = 80, .stream_bytes = 6000000,
              .faults = 10)

/* More streams than pipes. */
CONFIGURATION(few_pipes, .sessions = 800, .at_once = 48, .streams = 60, .stream_bytes = 600000, .pipes = 4,
              .faults = 20, .crash_scale = 4000)

/* Streams that are lent to the kernel; some peers acknowledge late. */
CONFIGURATION(zero_copy, .sessions = 1200, .at_once = 24, .zero_copy = true, .streams = 60,
              .stream_bytes = 600000, .faults = 20)

/* The same, and deaths take the notices. */
CONFIGURATION(zero_copy_deaths, .sessions = 1200, .at_once = 24, .zero_copy = true, .streams = 60,
              .stream_bytes = 600000, .faults = 20, .crash_scale = 2500)

/* The same in a bank that is short of buffers now and then, and a stop in the middle. */
CONFIGURATION(zero_copy_stop, .sessions = 400, .at_once = 24, .zero_copy = true, .bank_bytes = 3 << 20,
              .streams = 60, .stream_bytes = 600000, .ending = RUN_STOP, .crash_scale = 2500)

/* A bank of a few buffers: refusals, waiting receivers, small buffers. */
CONFIGURATION(pressure, .sessions = 2500, .bank_bytes = 512 << 10, .bytes_max = 200000, .crash_scale = 5000)

/* Many sessions at once. */
CONFIGURATION(many, .sessions = 5000, .at_once = 1500, .slab = 2048, .bank_bytes = 64 << 20,
              .bytes_max = 20000, .ports = 20000, .crash_scale = 60000)

/* A slab of a few records behind three listeners: accepting pauses all the time. */
CONFIGURATION(limits, .sessions = 5000, .slab = 24, .listeners = 2, .backlog = 4, .bytes_max = 5000,
              .crash_scale = 1500)

/* limits.sessions within a larger slab. */
CONFIGURATION(ceiling, .sessions = 3000, .sessions_limit = 20, .backlog = 4, .bytes_max = 5000,
              .crash_scale = 2500)

/* Few descriptors and few source ports. */
CONFIGURATION(scarce, .sessions = 5000, .slab = 64, .descriptors = 96, .ports = 40, .bytes_max = 5000,
              .crash_scale = 2500)

/* Fewer source ports than sessions want: some wait, some go to another server, some end. */
CONFIGURATION(exhausted, .sessions = 3000, .at_once = 100, .ports = 12, .bytes_max = 5000,
              .crash_scale = 5000)

/* Servers that refuse, do not answer or are not there. */
CONFIGURATION(servers, .sessions = 5000, .connect_faults = 60, .bytes_max = 3000, .crash_scale = 2500)

/* Reloads that take buffers away and give them back, while all are wanted. */
CONFIGURATION(reloads, .sessions = 2500, .bank_bytes = 1 << 20, .bytes_max = 200000, .crash_scale = 5000,
              .reloads = 100)

/* Lives too short to resume all that are there. */
CONFIGURATION(short_lives, .sessions = 1000, .at_once = 200, .pauses = 40, .crash_scale = 8000,
              .resume_batch = 1)

/* Sessions are killed in whatever they are at. */
CONFIGURATION(kills, .sessions = 3000, .at_once = 64, .streams = 20, .connect_faults = 20, .kills = 10)

/* The same, and workers die with the order half carried out. */
CONFIGURATION(kills_deaths, .sessions = 2000, .streams = 20, .connect_faults = 20, .crash_scale = 1500,
              .kills = 10)

/* The same with what is lent to the kernel. */
CONFIGURATION(kills_zero_copy, .sessions = 1200, .at_once = 24, .zero_copy = true, .streams = 60,
              .stream_bytes = 600000, .crash_scale = 2500, .kills = 8)

/* A drain in the middle of it all. */
CONFIGURATION(drain, .sessions = 1000, .ending = RUN_DRAIN, .crash_scale = 2500)

/* A stop. */
CONFIGURATION(stop, .sessions = 1000, .ending = RUN_STOP, .crash_scale = 2500)

/* Workers that share the flow table, the limits and the listening sockets, and one region. */
CONFIGURATION(slots, .slots = 3, .sessions = 4000)

/* The same, and each dies by itself. */
CONFIGURATION(slots_deaths, .slots = 3, .sessions = 3000, .crash_scale = 2500)

/* One limit for all of them. */
CONFIGURATION(slots_limits, .slots = 3, .sessions = 3000, .sessions_limit = 20, .backlog = 4,
              .bytes_max = 5000, .crash_scale = 2500)

/* Their number changes all the time. */
CONFIGURATION(resizes, .slots = 3, .sessions = 4000, .at_once = 20, .bytes_max = 20000, .faults = 0,
              .pauses = 40, .resize_ms = 6000)

/* The same, and each dies by itself. */
CONFIGURATION(resizes_deaths, .slots = 3, .sessions = 3000, .at_once = 20, .bytes_max = 20000, .faults = 0,
              .pauses = 40, .resize_ms = 2500, .crash_scale = 800)

/* Another region takes over, five times. */
CONFIGURATION(handover, .slots = 2, .handovers = 5, .sessions = 3000)

/* The same, and workers die in the middle of it. */
CONFIGURATION(handover_deaths, .slots = 2, .handovers = 5, .sessions = 3000, .crash_scale = 2500)

/* Few at once, and long pauses: what was in TIME_WAIT is swept away by the one while the other dies. */
CONFIGURATION(sweeps, .slots = 3, .sessions = 2000, .at_once = 8, .slab = 32, .bytes_max = 2000, .streams = 0,
              .faults = 0, .pauses = 150, .resize_ms = 4000, .crash_scale = 4000)

/* The flow table owns TIME_WAIT; clients and Penstock use tuples again. */
CONFIGURATION(owned, .owned = true, .sessions = 1500, .ports = 20000)

/* The same, and deaths. */
CONFIGURATION(owned_deaths, .owned = true, .sessions = 1200, .ports = 20000, .crash_scale = 1500)

/* Few ports, and many peers that reset. */
CONFIGURATION(owned_scarce, .owned = true, .sessions = 1500, .at_once = 100, .ports = 50, .bytes_max = 5000,
              .faults = 30, .crash_scale = 5000)

/* A table that has no place for all of them. */
CONFIGURATION(owned_full, .owned = true, .slots = 2, .sessions = 1500, .flows = 256, .ports = 20000,
              .bytes_max = 5000, .crash_scale = 5000)

/* Programs are stopped at each of their steps while workers go on. */
CONFIGURATION(owned_slots, .owned = true, .slots = 3, .sessions = 3000, .ports = 20000, .bytes_max = 20000)

/* The same, and each dies by itself. */
CONFIGURATION(owned_slots_deaths, .owned = true, .slots = 3, .sessions = 2000, .ports = 20000,
              .bytes_max = 20000, .faults = 20, .crash_scale = 2500)

/* Workers of two regions have the table. */
CONFIGURATION(owned_handover, .owned = true, .slots = 2, .handovers = 3, .sessions = 2000, .ports = 20000,
              .bytes_max = 20000)

/* A stop: everything is reset. */
CONFIGURATION(owned_stop, .owned = true, .slots = 2, .sessions = 1000, .ports = 20000, .ending = RUN_STOP,
              .crash_scale = 2500)
