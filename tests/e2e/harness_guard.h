/*
 * The guard of a bed: outlives the test by a moment and leaves nothing of it behind.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_GUARD_H
#define PENSTOCK_TESTS_E2E_HARNESS_GUARD_H

#include <stdbool.h>

/* Starts the guard and sets bed.guard, bed.guard_fd and bed.group. False with errno. */
bool guard_start(void);

/* Nothing but a sanitizer's report is shown at the end. */
void guard_tell_passed(void);

#endif
