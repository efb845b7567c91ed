/*
 * The simulation: workers over a fake kernel, fake peers and a fake clock, killed after any store.
 *
 * Everything random comes from one seed, so a run repeats exactly. A run is single-threaded: the driver (run.c)
 * lets a worker take a turn, in which at any store another may go on (crew.c); in ring_wait() the fake kernel
 * (fake_ring.c, fake_ops.c) lets the peers (peer.c) act and completes operations; any store of the worker may
 * end it (store_hook.c), and the next incarnation adopts. What must hold is checked after every turn
 * (invariants.c), at every store (store_hook.c), by every fake system call, and from the access log and the
 * counters (ledger.c).
 */
#ifndef PENSTOCK_TESTS_SIM_H
#define PENSTOCK_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "io/worker.h"

/* Descriptor numbers: the fake kernel's sessions begin at the floor; what is below is agreed on. */
enum {
    SIM_LISTENER_FD = 200, /* the first of them */
    SIM_FD_FLOOR = 328,
    SIM_FDS = 16384,
    SIM_LISTENERS_MAX = 4,
    SIM_SLOTS_MAX = 3,
    SIM_GENERATIONS_MAX = 6, /* hand-overs and one */
    SIM_CREW_MAX = SIM_SLOTS_MAX * SIM_GENERATIONS_MAX,
};

struct sim_config {
    const char *name;
    uint32_t slots;          /* workers; 0: one */
    uint32_t handovers;      /* to another region, one after the other */
    uint32_t sessions;       /* clients in all */
    uint32_t at_once;        /* clients alive at once */
    uint32_t slab;           /* records in the slab of each slot */
    uint32_t sessions_limit; /* limits.sessions; 0: no limit but the slab */
    uint32_t flows;          /* in the table; 0: more than there can be */
    uint32_t bank_bytes;
    uint32_t descriptors;     /* RLIMIT_NOFILE less the floor; 0: plenty */
    uint32_t listeners;       /* TCP */
    uint32_t local_listeners; /* unix */
    uint32_t backlog;
    uint32_t servers;
    uint32_t retries;
    uint32_t ports;          /* source ports of the host */
    uint32_t bytes_max;      /* a direction of a session carries at most this */
    uint32_t streams;        /* percent of directions that are streams */
    uint32_t stream_bytes;   /* and carry this, in the order of */
    uint32_t pipes;          /* free at once; 0: all there are */
    bool zero_copy;          /* of listeners and servers */
    uint32_t faults;         /* percent of peers that reset, close early or stand still */
    uint32_t connect_faults; /* percent of connects that fail */
    uint32_t pauses;         /* per thousand actions: a peer sleeps for a while */
    uint32_t resume_batch;   /* of worker_setup; 0: any */
    bool one_by_one;         /* one completion a turn, and everything is checked after each */
    uint32_t crash_scale;    /* stores between two deaths, in the order of; 0: no deaths */
    uint32_t reloads;        /* per thousand turns: the bank is given another size */
    uint32_t resize_ms;      /* a number of workers stays that long, in the order of; 0: always */
    bool owned;              /* TIME_WAIT is the flow table's */
    uint32_t kills;          /* per thousand turns: an operator kills a session */
    enum run_state ending;   /* how the run ends: serving, or after a drain or a stop in its middle */
};

/* Pipes that are free and put away. */
struct sim_pipes {
    uint16_t ids[PIPE_COUNT];
    uint32_t count;
};

struct sim {
    const struct sim_config *config;
    uint64_t seed;
    uint64_t random; /* state of the generator */
    uint64_t now_us;
    uint64_t turns;
    uint64_t deaths;

    /* Of the worker that runs: crew.h. */
    uint32_t at;    /* its number */
    uint32_t index; /* of its slot */
    struct region *region;
    struct worker_slot *slot;
    struct session *sessions; /* its slab */
    struct worker *worker;
    struct sim_pipes *away;
};

extern struct sim sim;

static inline uint32_t sim_slots(void)
{
    return sim.config->slots != 0 ? sim.config->slots : 1;
}

/* Prints what failed, seed, turn and, if `index` names one, the session's record; ends the test. */
_Noreturn void sim_fail(uint32_t index, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define SIM_CHECK(condition, ...)                \
    do {                                         \
        if (!(condition)) {                      \
            sim_fail(SESSION_NONE, __VA_ARGS__); \
        }                                        \
    } while (0)

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static inline uint64_t sim_random(void)
{
    uint64_t z = sim.random += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* A number in [0, limit); 0 where the limit is 0. */
static inline uint32_t sim_below(uint32_t limit)
{
    return (uint32_t)(((sim_random() & 0xffffffffu) * limit) >> 32);
}

/* True once in `n` times. */
static inline bool sim_once_in(uint32_t n)
{
    return sim_below(n) == 0;
}

static inline bool sim_percent(uint32_t percent)
{
    return sim_below(100) < percent;
}

#endif
