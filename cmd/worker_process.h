/*
 * The worker as a process: CPU, privileges, then io/worker.h until it is drained or stopped.
 */
#ifndef PENSTOCK_CMD_WORKER_PROCESS_H
#define PENSTOCK_CMD_WORKER_PROCESS_H

#include "cmd/privileges.h"
#include "shm/region.h"

struct worker_process {
    const struct region *region;
    uint32_t slot;
    int cpu;                  /* to run on; -1: any */
    struct identity identity; /* to run as */
};

/* Exit status 0: done. Anything else, or a signal, and the keeper clones the next incarnation. */
_Noreturn void worker_process_main(const struct worker_process *process);

#endif
