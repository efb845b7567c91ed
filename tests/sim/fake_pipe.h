/*
 * The fake pipes: what the driver and the invariants see of them. The worker sees io/pipe.h.
 *
 * They belong to the keeper: a death leaves what is in them.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_PIPE_H
#define PENSTOCK_TESTS_SIM_FAKE_PIPE_H

#include "tests/sim/fake_net.h"

struct pipe_world {
    uint64_t fills;    /* splices into a pipe that moved bytes */
    uint64_t streamed; /* bytes spliced out to a socket */
    uint64_t partial;  /* splices out that left something */
    uint64_t empty;    /* splices into a pipe that found nothing, or failed */
    uint64_t settled;  /* pipes with something in them after a death */
    uint64_t scarce;   /* turns at whose end no pipe was free */
};

extern struct pipe_world pipe_world;

enum { SIM_PIPE_BASE = 40 }; /* where the worker is told they begin */

void pipe_world_init(void);
void pipe_world_free(void);

/* The worker that runs has a new keeper, with new pipes. */
void pipe_begin(void);

/* What is in a pipe, and whose stream that is; 0: nobody's. */
uint32_t pipe_holds(uint32_t index);
uint32_t pipe_stream(uint32_t index);

#endif
