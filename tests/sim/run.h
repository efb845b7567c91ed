/*
 * One run: a region, a worker, its deaths, until the last client has gone.
 */
#ifndef PENSTOCK_TESTS_SIM_RUN_H
#define PENSTOCK_TESTS_SIM_RUN_H

#include "tests/sim/sim.h"

enum {
    RUN_CONNECT_MS = 1000,
    RUN_IDLE_MS = 20000,
    RUN_HALF_CLOSED_MS = 9000,
};

/* Runs the configuration with the seed; fails the test where anything is wrong. */
void run(const struct sim_config *config, uint64_t seed);

#endif
