/* The timer wheel: single timers, laps and jumps of the clock, and a random walk beside a plain list. */
#include "core/wheel.h"

#include <criterion/criterion.h>
#include <string.h>

#include "bench/rng.h"

enum { SESSIONS = 300, LAP_MS = WHEEL_SLOTS * WHEEL_TICK_MS };

static struct session sessions[SESSIONS];
static struct wheel wheel;

static void start(uint64_t now_ms)
{
    for (int i = 0; i < SESSIONS; i++) {
        sessions[i].wheel_slot = SESSION_NONE;
        sessions[i].wheel_next = SESSION_NONE;
        sessions[i].wheel_prev = SESSION_NONE;
    }
    wheel_init(&wheel, sessions, now_ms);
}

static void setup(void)
{
    start(1000 * 1000);
}

TestSuite(wheel, .init = setup);

enum { T0 = 1000 * 1000 }; /* on a tick: 62500 * 16 */

Test(wheel, empty)
{
    cr_expect_eq(wheel_take(&wheel, T0), SESSION_NONE);
    cr_expect_eq(wheel_wait_ms(&wheel, T0), UINT32_MAX);
    cr_expect_eq(wheel_take(&wheel, T0 + 1000), SESSION_NONE);
}

Test(wheel, not_before_its_time_and_within_a_tick_after)
{
    wheel_set(&wheel, 3, T0 + 100);
    cr_expect_eq(wheel_take(&wheel, T0 + 99), SESSION_NONE);
    cr_expect_eq(wheel_take(&wheel, T0 + 100 + WHEEL_TICK_MS), 3);
    cr_expect_eq(wheel_take(&wheel, T0 + 100 + WHEEL_TICK_MS), SESSION_NONE);
    cr_expect_eq(sessions[3].wheel_slot, SESSION_NONE);
}

Test(wheel, wait_ms_is_exact)
{
    wheel_set(&wheel, 3, T0 + 160);
    cr_expect_eq(wheel_wait_ms(&wheel, T0), 160);
    cr_expect_eq(wheel_wait_ms(&wheel, T0 + 159), 1);
    cr_expect_eq(wheel_wait_ms(&wheel, T0 + 160), 0);
    cr_expect_eq(wheel_wait_ms(&wheel, T0 + 100000), 0);
    wheel_set(&wheel, 3, T0 + 161);
    cr_expect_eq(wheel_wait_ms(&wheel, T0), 176, "rounded up to a tick");
}

Test(wheel, what_is_due_already_comes_in_the_next_tick)
{
    wheel_set(&wheel, 0, 0);
    wheel_set(&wheel, 1, T0 - 5);
    wheel_set(&wheel, 2, T0);
    cr_expect_eq(wheel_take(&wheel, T0), SESSION_NONE, "or a handler that sets itself again would never end");
    int taken = 0;
    while (wheel_take(&wheel, T0 + WHEEL_TICK_MS) != SESSION_NONE) {
        taken++;
    }
    cr_expect_eq(taken, 3);
}

Test(wheel, set_again_moves_and_never_takes_out)
{
    wheel_set(&wheel, 1, T0 + 100);
    wheel_set(&wheel, 1, T0 + 1000);
    cr_expect_eq(wheel_take(&wheel, T0 + 500), SESSION_NONE);
    wheel_set(&wheel, 1, UINT64_MAX);
    cr_expect_eq(wheel_wait_ms(&wheel, T0 + 500), UINT32_MAX);
    cr_expect_eq(wheel_take(&wheel, T0 + 2000), SESSION_NONE);
    wheel_remove(&wheel, 1);
    wheel_remove(&wheel, 1);
}

Test(wheel, remove_from_front_middle_and_end_of_a_slot)
{
    for (uint32_t gone = 0; gone < 3; gone++) {
        setup();
        for (uint32_t i = 0; i < 3; i++) {
            wheel_set(&wheel, i, T0 + 100);
        }
        wheel_remove(&wheel, gone);
        bool seen[3] = {false};
        for (int n = 0; n < 2; n++) {
            uint32_t index = wheel_take(&wheel, T0 + 200);
            cr_assert_lt(index, 3);
            seen[index] = true;
        }
        cr_expect_eq(wheel_take(&wheel, T0 + 200), SESSION_NONE);
        cr_expect_not(seen[gone]);
    }
}

Test(wheel, earlier_slots_come_first)
{
    for (uint32_t i = 0; i < 100; i++) {
        wheel_set(&wheel, (i * 37) % 100, T0 + 50 + (uint64_t)((i * 37) % 100) * WHEEL_TICK_MS);
    }
    for (uint32_t i = 0; i < 100; i++) {
        cr_expect_eq(wheel_take(&wheel, T0 + LAP_MS / 2), i);
    }
}

/* A deadline beyond the lap comes up early, at the lap's end; the owner sees that and sets it again. */
Test(wheel, a_far_deadline_takes_several_laps)
{
    uint64_t due = T0 + 5ull * LAP_MS + 7;
    uint64_t now = T0;
    int laps = 0;

    wheel_set(&wheel, 9, due);
    while (now < due) {
        uint32_t wait = wheel_wait_ms(&wheel, now);
        cr_assert_neq(wait, UINT32_MAX);
        cr_assert_gt(wait, 0);
        cr_assert_lt(wait, LAP_MS);
        now += wait;
        cr_assert_eq(wheel_take(&wheel, now), 9);
        wheel_set(&wheel, 9, due);
        laps++;
    }
    cr_expect_eq(laps, 6);
    cr_expect_lt(now, due + WHEEL_TICK_MS);
}

/* The loop may have slept, or been stopped, for longer than a lap. */
Test(wheel, an_empty_wheel_survives_a_jump_of_more_than_a_lap)
{
    for (uint64_t jump = LAP_MS - WHEEL_TICK_MS; jump <= LAP_MS + WHEEL_TICK_MS; jump += WHEEL_TICK_MS) {
        start(T0);
        cr_expect_eq(wheel_take(&wheel, T0 + jump), SESSION_NONE);
        cr_expect_eq(wheel_take(&wheel, T0 + 100 * jump), SESSION_NONE);
        wheel_set(&wheel, 4, T0 + 100 * jump + 160);
        cr_expect_eq(wheel_wait_ms(&wheel, T0 + 100 * jump), 160);
        cr_expect_eq(wheel_take(&wheel, T0 + 100 * jump + 160), 4);
    }
}

Test(wheel, all_come_after_a_jump_of_more_than_a_lap)
{
    for (uint32_t i = 0; i < SESSIONS; i++) {
        wheel_set(&wheel, i, T0 + (uint64_t)i * LAP_MS / SESSIONS);
    }
    uint32_t taken = 0;
    while (wheel_take(&wheel, T0 + 10ull * LAP_MS) != SESSION_NONE) {
        taken++;
    }
    cr_expect_eq(taken, SESSIONS);
    cr_expect_eq(wheel_wait_ms(&wheel, T0 + 10ull * LAP_MS), UINT32_MAX);
}

/* --- A random walk ---------------------------------------------------------------------------------------- */

struct walk {
    struct rng rng;
    uint64_t now_ms;
    uint64_t due_ms[SESSIONS]; /* UINT64_MAX: not in the wheel */
    uint64_t fired, early;
};

static uint64_t walk_due(struct walk *walk)
{
    switch (rng_below(&walk->rng, 4)) {
    case 0:
        return walk->now_ms + rng_below(&walk->rng, 3 * WHEEL_TICK_MS);
    case 1:
        return walk->now_ms + rng_below(&walk->rng, 4ull * LAP_MS);
    case 2:
        return walk->now_ms - rng_below(&walk->rng, 1000);
    default:
        return walk->now_ms + rng_log_uniform(&walk->rng, LAP_MS);
    }
}

/* Lets time pass and takes what comes. Returns false where something comes that the list does not hold, or stays
 * behind although its time has passed. */
static bool walk_advance(struct walk *walk)
{
    uint64_t last_ms = walk->now_ms;
    uint32_t index;

    walk->now_ms +=
        rng_chance(&walk->rng, 1) ? rng_below(&walk->rng, 3ull * LAP_MS) : rng_log_uniform(&walk->rng, 2000);
    while ((index = wheel_take(&wheel, walk->now_ms)) != SESSION_NONE) {
        if (index >= SESSIONS || walk->due_ms[index] == UINT64_MAX) {
            return false;
        }
        if (walk->due_ms[index] > walk->now_ms) { /* at the end of a lap: not yet */
            walk->early++;
            wheel_set(&wheel, index, walk->due_ms[index]);
            continue;
        }
        walk->fired++;
        walk->due_ms[index] = UINT64_MAX;
    }
    /* What was set since the last time came in the tick after that at the earliest. */
    bool ticked = walk->now_ms / WHEEL_TICK_MS > last_ms / WHEEL_TICK_MS;
    for (int i = 0; i < SESSIONS; i++) {
        if (ticked && walk->due_ms[i] <= walk->now_ms / WHEEL_TICK_MS * WHEEL_TICK_MS) {
            return false;
        }
    }
    return true;
}

/* Whether wheel_wait_ms() neither oversleeps the first deadline nor says never. */
static bool walk_wait_is_right(const struct walk *walk)
{
    uint64_t first = UINT64_MAX;

    for (int i = 0; i < SESSIONS; i++) {
        first = walk->due_ms[i] < first ? walk->due_ms[i] : first;
    }
    uint32_t wait = wheel_wait_ms(&wheel, walk->now_ms);
    if (first == UINT64_MAX) {
        return wait == UINT32_MAX;
    }
    return wait != UINT32_MAX && wait < LAP_MS &&
           walk->now_ms + wait < (first > walk->now_ms ? first : walk->now_ms) + 2 * WHEEL_TICK_MS;
}

Test(wheel, random_walk_beside_a_list)
{
    static struct walk walk = {.now_ms = T0};

    rng_init(&walk.rng, 77);
    memset(walk.due_ms, 0xff, sizeof(walk.due_ms));
    for (int n = 0; n < 60000; n++) {
        uint32_t index = (uint32_t)rng_below(&walk.rng, SESSIONS);
        uint64_t what = rng_below(&walk.rng, 100);
        bool right = true;
        if (what < 60) {
            walk.due_ms[index] = walk_due(&walk);
            wheel_set(&wheel, index, walk.due_ms[index]);
        } else if (what < 75) {
            walk.due_ms[index] = UINT64_MAX;
            wheel_remove(&wheel, index);
        } else {
            right = walk_advance(&walk);
        }
        if (!right || (n % 10 == 0 && !walk_wait_is_right(&walk))) {
            cr_assert_fail("operation %d at %lu", n, (unsigned long)walk.now_ms);
        }
    }
    cr_expect_gt(walk.fired, 1000);
    cr_expect_gt(walk.early, 10);
}
