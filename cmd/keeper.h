/*
 * The keeper: one tiny process per worker slot, whose descriptor table is its worker's too.
 *
 * Single-threaded; it holds, clones, waits, reports and does nothing else. It is forked by the supervisor and closes
 * what it has inherited; its worker is handed listening sockets by message (io/inbox.h). When its worker dies
 * it clones the next incarnation at once; deaths without progress are spaced out. It ends when its worker is
 * done (exit status 0). A keeper that died is replaced by one that takes the descriptors of its worker
 * (cmd/inherit.h).
 */
#ifndef PENSTOCK_CMD_KEEPER_H
#define PENSTOCK_CMD_KEEPER_H

#include "cmd/kin.h"
#include "cmd/privileges.h"
#include "shm/region.h"

/* What the supervisor gives a keeper. */
struct keeper_setup {
    struct region *region;
    pid_t supervisor;
    uint32_t slot;
    int inbox; /* both ends */
    int outbox;
    int wake;
    const struct kin *orphan; /* the worker to take over; NULL: the slot begins anew */
    int cpu;                  /* to pin the worker to; -1: none */
    struct identity identity; /* to run the worker as */
};

/* Runs the keeper in this process, just forked. Never returns. */
_Noreturn void keeper_main(const struct keeper_setup *setup);

#endif
