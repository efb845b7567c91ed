/*
 * Which server of a pool takes the next session. A policy per file, all behind one function.
 */
#ifndef PENSTOCK_CORE_BALANCE_H
#define PENSTOCK_CORE_BALANCE_H

#include "core/image.h"

/* One server as a policy sees it. */
struct balance_candidate {
    uint32_t weight;   /* 0: not to be chosen */
    uint32_t sessions; /* now, over all workers */
    int32_t *credit;   /* round robin's memory of this server, kept by the worker */
};

/* Index of the chosen candidate, -1 if none has a weight. */
int balance_pick(enum balance_kind kind, const struct balance_candidate *candidates, uint32_t count);

/* The policies. */
int balance_round_robin(const struct balance_candidate *candidates, uint32_t count);
int balance_least_sessions(const struct balance_candidate *candidates, uint32_t count);

#endif
