#include "tests/sim/crew.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fake_net.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/store_hook.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    STACK_BYTES = 512 * 1024,
    PROGRAM_US = 20000, /* so long a program is stopped at most, but for a slice */
    PROGRAM_SLICE = 200,
};

struct crew crew;

void crew_init(void)
{
    memset(&crew, 0, sizeof(crew));
    crew.stores = UINT64_MAX;
}

void crew_free(void)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        free(crew.members[i].stack);
    }
}

void crew_enter(uint32_t number)
{
    struct crew_member *member = &crew.members[number];

    sim.at = number;
    sim.index = member->index;
    sim.region = member->region;
    sim.slot = member->slot;
    sim.sessions = member->sessions;
    sim.worker = &member->worker;
    sim.away = &member->away;
    net_enter(number);
    ring_enter(number);
    store_hook_enter(number);
}

/* The address sanitizer is told of the change of stacks. */
static void *leave(const void *stack, size_t size, bool ends)
{
    void *fake = NULL;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ends ? NULL : &fake, stack, size);
#else
    (void)stack;
    (void)size;
    (void)ends;
#endif
    return fake;
}

static void arrive(void *fake)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
    (void)fake;
#endif
}

static void jump_to_member(ucontext_t *from, uint32_t number)
{
    struct crew_member *to = &crew.members[number];
    void *fake = leave(to->stack, STACK_BYTES, false);

    crew_enter(number);
    swapcontext(from, &to->context);
    arrive(fake);
}

static void begin(void)
{
    struct crew_member *member = &crew.members[sim.at];

    arrive(NULL);
    member->life();
    member->alive = false;
    (void)leave(crew.main_stack, crew.main_size, true);
    setcontext(&crew.main);
}

void crew_add(struct region *region, uint32_t index, void (*life)(void))
{
    struct crew_member *member = &crew.members[crew.count];
    struct region_table_place *sessions = &region->header->tables[TABLE_SESSIONS];

    SIM_CHECK(crew.count < SIM_CREW_MAX, "too many workers");
    *member = (struct crew_member){
        .region = region,
        .index = index,
        .slot = region_slot(region, index),
        .sessions =
            region_row(region, TABLE_SESSIONS, index * (sessions->count / region->header->slot_count)),
        .settled = true,
        .life = life,
        .stack = malloc(STACK_BYTES),
    };
    SIM_CHECK(member->stack != NULL, "no memory");
    crew.count++;
    crew_revive(crew.count - 1);
}

void crew_revive(uint32_t number)
{
    struct crew_member *member = &crew.members[number];

    SIM_CHECK(!member->alive && getcontext(&member->context) == 0, "no stack");
    member->context.uc_stack.ss_sp = member->stack;
    member->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&member->context, begin, 0);
    member->alive = true;
    member->asleep = false;
    crew.stores = 1;
}

/* One of those that are alive and awake, but `not`; SIM_CREW_MAX: there is none. */
static uint32_t draw(uint32_t not )
{
    uint32_t chosen = SIM_CREW_MAX;
    uint32_t seen = 0;

    for (uint32_t i = 0; i < crew.count; i++) {
        if (i != not &&crew.members[i].alive && !crew.members[i].asleep && sim_once_in(++seen)) {
            chosen = i;
        }
    }
    return chosen;
}

static void draw_stores(void)
{
    crew.stores = crew.count < 2 ? UINT64_MAX : 1 + sim_below(sim_once_in(4) ? 16 : 4000);
    if (crew.host != 0) {
        crew.stores = 1 + sim_below(PROGRAM_SLICE);
    }
}

/* Who goes on after the one that runs. */
static uint32_t draw_next(void)
{
    bool host_waits = crew.host != 0 && crew.host != sim.at + 1;

    if (host_waits && (sim.now_us - crew.host_since_us > PROGRAM_US || sim_once_in(2))) {
        return crew.host - 1;
    }
    return draw(sim.at);
}

void crew_change(void)
{
    uint32_t own = sim.at;
    uint32_t next = draw_next();

    draw_stores();
    if (next < SIM_CREW_MAX) {
        crew.changes++;
        jump_to_member(&crew.members[own].context, next);
    }
}

void crew_program_begin(void)
{
    crew.host = sim.at + 1;
    crew.host_since_us = sim.now_us;
}

void crew_program_stop(void)
{
    if (sim_once_in(8) && sim.now_us - crew.host_since_us < PROGRAM_US) {
        crew_change();
    }
}

void crew_program_end(void)
{
    crew.host = 0;
    draw_stores();
}

/* To the moment at which something may happen. */
static void pass_time(void)
{
    uint64_t next = net_next_us();

    for (uint32_t i = 0; i < crew.count; i++) {
        const struct crew_member *member = &crew.members[i];
        next = member->alive && member->until_us < next ? member->until_us : next;
    }
    sim.now_us = next > sim.now_us ? next : sim.now_us;
    crew_wake_all();
}

bool crew_sleep(uint64_t until_us)
{
    struct crew_member *own = &crew.members[sim.at];

    own->asleep = true;
    own->until_us = until_us;
    uint32_t next = draw(sim.at);
    if (next == SIM_CREW_MAX) {
        pass_time();
    } else {
        jump_to_member(&own->context, next);
    }
    own->asleep = false;
    return sim.now_us < until_us;
}

void crew_wake(uint32_t number)
{
    crew.members[number].asleep = false;
}

void crew_wake_all(void)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        crew.members[i].asleep = false;
    }
}

void crew_run(void)
{
    pthread_attr_t attributes;
    bool lives = true;

    SIM_CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0, "no stack");
    pthread_attr_getstack(&attributes, &crew.main_stack, &crew.main_size);
    pthread_attr_destroy(&attributes);
    draw_stores();
    while (lives) {
        uint32_t next = draw(SIM_CREW_MAX);
        if (next < SIM_CREW_MAX) {
            jump_to_member(&crew.main, next);
            continue;
        }
        lives = false;
        for (uint32_t i = 0; i < crew.count; i++) {
            lives = lives || crew.members[i].alive;
        }
        if (lives) {
            pass_time();
        }
    }
}
