/*
 * What this machine has: the facts a configuration is checked against.
 */
#ifndef PENSTOCK_CMD_MACHINE_H
#define PENSTOCK_CMD_MACHINE_H

#include "config/config.h"

/* Reads limits, memory (the control group's if that is less), CPUs and congestion controls. `starting`: free
 * memory too. */
void machine_read(struct machine_facts *facts, bool starting);

/* CPUs this process may run on. */
uint32_t machine_cpus(void);

/* The n-th of them, counted round; -1 where they cannot be told. */
int machine_cpu(uint32_t n);

#endif
