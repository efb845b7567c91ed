/*
 * The workers of a run, each on a stack of its own: at any store another may go on. Which one, and when, is drawn.
 *
 * A worker belongs to a slot of a region; a run that hands over has several regions. What `sim` and the fake kernel
 * know of one worker is that of the one that runs.
 */
#ifndef PENSTOCK_TESTS_SIM_CREW_H
#define PENSTOCK_TESTS_SIM_CREW_H

#include <ucontext.h>

#include "tests/sim/sim.h"

struct crew_member {
    struct region *region;
    struct worker_slot *slot;
    struct session *sessions;
    struct worker worker;
    struct sim_pipes away;
    uint32_t index; /* of its slot, in the region */
    bool alive;
    bool settled; /* between two turns, or in a wait: no transaction is under way */
    bool asleep;  /* nothing to do before until_us */
    uint64_t until_us;
    void (*life)(void);
    ucontext_t context;
    void *stack;
};

struct crew {
    struct crew_member members[SIM_CREW_MAX];
    uint32_t count;
    uint64_t stores; /* until the next change */
    uint64_t changes;
    uint32_t host; /* on whose stack a program runs, as an interrupt does: its number and one; 0: none runs */
    uint64_t host_since_us;
    ucontext_t main; /* crew_run() */
    void *main_stack;
    size_t main_size;
};

extern struct crew crew;

void crew_init(void);
void crew_free(void);

/* Adds the worker of slot `index`, which is to run life(). */
void crew_add(struct region *region, uint32_t index, void (*life)(void));

/* Lets one that has ended live again. */
void crew_revive(uint32_t number);

/* Lets all of them live, until the last has ended. */
void crew_run(void);

/* Makes `number` the one that `sim` is about, as if it ran. */
void crew_enter(uint32_t number);

/* Another may go on. */
void crew_change(void);

/* A program begins and ends on top of the worker that runs. Until then it may be stopped at each of its
 * steps, though not for long. */
void crew_program_begin(void);
void crew_program_end(void);
void crew_program_stop(void);

/* As the program loads or stores something, if it is one. */
static inline void crew_program_step(void)
{
    if (crew.host == sim.at + 1) {
        crew_program_stop();
    }
}

/* As a store passes. */
static inline void crew_store(void)
{
    if (--crew.stores == 0) {
        crew_change();
    }
}

/* There is nothing to do before `until_us`: others go on, or time does to where something may happen. Whether that is
 * earlier. */
bool crew_sleep(uint64_t until_us);

/* Something may have become possible for a member, or for all. */
void crew_wake(uint32_t number);
void crew_wake_all(void);

#endif
