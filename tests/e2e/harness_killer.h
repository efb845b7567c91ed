/*
 * Kills workers at random moments, and knows what must be as before afterwards.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_KILLER_H
#define PENSTOCK_TESTS_E2E_HARNESS_KILLER_H

#include "bench/rng.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_penstock.h"

struct killer {
    struct rng rng;
    uint64_t seed;
    unsigned workers;
    pid_t keepers[WORKERS_MAX];
    unsigned descriptors[WORKERS_MAX]; /* of each keeper at the beginning */
    uint64_t lent_bytes;               /* of the bank at the beginning: the receive rings' */
    unsigned kills;
};

/* Remembers the state of the idle instance. The seed is $CHAOS_SEED or new; it is printed. */
void killer_begin(struct killer *killer, unsigned workers);

/* Kills `count` workers (0: no limit) with pauses of min_ms to max_ms, by SIGKILL, SIGSEGV and SIGABRT,
 * now and then two at once or one in the middle of its adoption; ends early when the process `until` (0:
 * none) has ended. */
void killer_run(struct killer *killer, unsigned count, unsigned min_ms, unsigned max_ms, pid_t until);

/* Kills all workers, as good as at the same moment. */
void killer_kill_all(struct killer *killer);

/* A stream of `bytes` from the server, whose reader stands still after every 3 MiB: then worker 0 dies. */
void killer_stop_reading(const struct net_pair *pair, size_t bytes);

/* The instance without sessions holds what it held at the beginning. */
void killer_expect_all_back(const struct killer *killer);

#endif
