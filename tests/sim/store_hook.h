/*
 * After any store of the worker it may die; and every store within a transaction must be to bytes saved before.
 */
#ifndef PENSTOCK_TESTS_SIM_STORE_HOOK_H
#define PENSTOCK_TESTS_SIM_STORE_HOOK_H

#include <setjmp.h>

#include "tests/sim/sim.h"

/* Where a death leads to. */
extern sigjmp_buf store_hook_death;

void store_hook_init(void);
void store_hook_free(void);

/* From here on stores are the worker's; it dies at the `stores`-th, 0: never. */
void store_hook_arm(uint64_t stores);

/* Stores are nobody's. Returns how many there were left. */
uint64_t store_hook_disarm(void);

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
