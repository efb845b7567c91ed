/*
 * After any store of a worker it may die, or another go on; every store within a transaction must be to bytes saved
 * before, and none to what is another slot's.
 */
#ifndef PENSTOCK_TESTS_SIM_STORE_HOOK_H
#define PENSTOCK_TESTS_SIM_STORE_HOOK_H

#include <setjmp.h>

#include "tests/sim/sim.h"

void store_hook_free(void);
void store_hook_enter(uint32_t number);

/* Where a death of the worker that runs leads to. */
sigjmp_buf *store_hook_death(void);

/* From here on stores are the worker's; it dies at the `life`-th, 0: never. */
void store_hook_arm(uint64_t life);

/* Stores are nobody's. Returns how many there were left. */
uint64_t store_hook_disarm(void);

/* Whether stores are the worker's from here on; whether they were before. */
bool store_hook_shield(bool armed);

/* The worker is dead: frees its memory, and checks that an undone transaction is one that never happened. */
void store_hook_bury(void);

/* Stores counted so far. */
uint64_t store_hook_count(void);

/* The fake kernel's calls are places to die at, too. */
void store_point(void);

/* Once in `n` the next store or point is the worker's last. True if it is, for whatever reason. */
bool store_doom(uint32_t n);

/* A place that is rarely passed: besides, the worker dies there once in `n` times, in runs with deaths. */
void store_risk(uint32_t n);

#endif
