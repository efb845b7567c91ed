/*
 * A new keeper for a worker that has lost its own: it takes all the worker's descriptors, under the same numbers, and
 * ends the worker. What it clones then adopts as after any death.
 */
#ifndef PENSTOCK_CMD_INHERIT_H
#define PENSTOCK_CMD_INHERIT_H

#include "cmd/kin.h"

/* Whether this process may copy the worker's descriptors: 0, or -errno, -EPERM where that takes CAP_SYS_PTRACE. */
int inherit_check(const struct kin *worker);

/* Stops the worker: it opens and closes nothing, and cannot die by itself. 0, -ESRCH where it has ended, or another
 * -errno. */
int inherit_stop(const struct kin *worker);

/* Stops the worker, closes all descriptors of this process from 3 up, copies the worker's, ends the worker
 * and waits for its end; it calls kin_unbind() in between. 0, or -errno: then the worker runs on, and this
 * process has some of the descriptors. */
int inherit_descriptors(const struct kin *worker);

#endif
