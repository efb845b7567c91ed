/*
 * What must hold between two turns of the loop, whatever has happened.
 */
#ifndef PENSTOCK_TESTS_SIM_INVARIANTS_H
#define PENSTOCK_TESTS_SIM_INVARIANTS_H

#include "tests/sim/fake_ring.h"

void invariants_init(void);
void invariants_free(void);

/* Checks everything of the worker that runs: sessions, buffers, operations in flight, descriptors, timers,
 * queues, counters. */
void invariants_check(void);

/* To be called at each death: checks that a session's turn to be resumed comes, however short the lives. */
void invariants_check_death(void);

/* Checks the flow table but for other workers' entries: every entry in use is a session's. */
void invariants_check_flows(void);

#endif
