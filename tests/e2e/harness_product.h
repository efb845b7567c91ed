/*
 * Penstock itself in the lab: started in the server's namespace and the test's cgroup, with a BPF file system
 * and a /run of the test's own. Where that can be had it owns TIME_WAIT.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_PRODUCT_H
#define PENSTOCK_TESTS_E2E_HARNESS_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/e2e/harness_penstock.h"

/* Of a pinned table that must not be small: 10,000 entries are no load for it. */
#define PRODUCT_LIMITS "sessions: 2000, buffers: 64MiB, flows: 30000"

/* lab_begin(), and what Penstock needs to own TIME_WAIT; the test listens at 127.0.0.1, bed.port is one of
 * LAB_SERVER and LAB_SERVER6. */
void product_begin(void);
void product_fini(void);

/* The test's listener, which is Penstock's only server unless a configuration names others. */
int product_listener(void);

/* The configuration with these members of `time_wait`, NULL for none. Other parts stay as they are given, or
 * become the lab's. */
void product_configure(struct penstock_config *config, const char *time_wait);

/* Writes the same and starts Penstock. */
void product_start(const char *time_wait);

/* The same, and TIME_WAIT must be Penstock's; the test is skipped where no BPF program can be had at all. */
void product_own(const char *time_wait);

/* A before_exec: into the cgroup. */
bool product_enter_cgroup(void);

/* `penstock COMMAND -n NAME`; the exit status and what it said. */
int product_command(const char *command, const char *option, const char **said);

/* The directory of the pins. */
const char *product_pins(void);

/* The process that answers on after a stop; 0: none. */
pid_t product_lingerer(void);

/* Stops it by a command, whose `option` may be NULL; sees the supervisor end. */
void product_stop(const char *option);

/* SIGKILL to all that there is of it, at once. */
void product_kill_all(void);

/* Nothing is left of it: no process, no pins. */
void product_expect_gone(void);

#endif
