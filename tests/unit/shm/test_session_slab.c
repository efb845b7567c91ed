/* The slab of sessions: lending, generations, the rebuild after a death, readers of other processes. */
#include "shm/session_slab.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "bench/rng.h"
#include "shm/worker_slot.h"
#include "tests/unit/shm/region_make.h"

enum { SLOT = 1 };

static struct region region;
static struct session_slab slab;

static void setup(void)
{
    region = region_make();
    session_slab_open(&slab, &region, SLOT);
}

TestSuite(session_slab, .init = setup);

static uint32_t begin(void)
{
    uint32_t peeked = session_slab_peek(&slab);
    uint32_t index = session_slab_acquire(&slab);

    cr_assert_eq(index, peeked);
    if (index != SESSION_NONE) {
        session_init(&slab.sessions[index], 5, 1, 1000);
    }
    return index;
}

static void end(uint32_t index)
{
    session_close(&slab.sessions[index], CLOSE_STOPPED, false, 1);
    session_set_phase(&slab.sessions[index], SESSION_FREE, 1);
    session_slab_release(&slab, index);
}

Test(session_slab, lends_all_once_and_no_more)
{
    for (uint32_t i = 0; i < MAKE_SESSIONS; i++) {
        cr_expect_eq(session_slab_room(&slab), MAKE_SESSIONS - i);
        cr_expect_eq(begin(), i, "never used ones in order: memory in use stays dense");
    }
    cr_expect_eq(begin(), SESSION_NONE);
    cr_expect_eq(slab.active, MAKE_SESSIONS);
    cr_expect_eq(region_slot(&region, SLOT)->session_high, MAKE_SESSIONS);
    cr_expect_eq(region_slot(&region, 0)->session_high, 0);
}

Test(session_slab, the_last_given_back_is_lent_first)
{
    begin();
    begin();
    begin();
    end(0);
    end(2);
    cr_expect_eq(slab.free_count, 2);
    cr_expect_eq(begin(), 2);
    cr_expect_eq(begin(), 0);
    cr_expect_eq(begin(), 3);
}

Test(session_slab, generation_goes_up_with_every_lending)
{
    for (uint32_t n = 1; n <= 10; n++) {
        uint32_t index = begin();
        cr_expect_eq(index, 0);
        cr_expect_eq(slab.sessions[index].generation, n);
        end(index);
        cr_expect_eq(slab.sessions[index].generation, n);
    }
}

Test(session_slab, slots_do_not_share_records)
{
    struct session_slab next;

    session_slab_open(&next, &region, SLOT + 1);
    cr_expect_eq(next.sessions, slab.sessions + MAKE_SESSIONS);
}

Test(session_slab, giving_back_a_session_in_use_dies, .signal = SIGABRT)
{
    session_slab_release(&slab, begin());
}

Test(session_slab, giving_back_too_often_dies, .signal = SIGABRT)
{
    uint32_t index = begin();

    end(index);
    session_slab_release(&slab, index);
}

/* After random use and a death, the next incarnation knows the same sessions and can lend exactly the rest. */
Test(session_slab, rebuild)
{
    struct rng rng;
    bool used[MAKE_SESSIONS] = {false};
    uint32_t active = 0;

    rng_init(&rng, 3);
    for (int n = 0; n < 5000; n++) {
        uint32_t index = (uint32_t)rng_below(&rng, MAKE_SESSIONS);
        if (used[index]) {
            end(index);
            used[index] = false;
            active--;
        } else if (rng_chance(&rng, 50) && (index = begin()) != SESSION_NONE) {
            cr_assert_not(used[index]);
            used[index] = true;
            active++;
        }
    }
    cr_assert_gt(active, 0);
    session_slab_open(&slab, &region, SLOT);
    session_slab_rebuild(&slab);
    cr_expect_eq(slab.active, active);
    uint32_t index;
    while ((index = begin()) != SESSION_NONE) {
        cr_assert_not(used[index]);
        used[index] = true;
        active++;
    }
    cr_expect_eq(active, MAKE_SESSIONS);
}

Test(session_slab, rebuild_lends_the_lowest_first)
{
    for (int i = 0; i < 10; i++) {
        begin();
    }
    end(3);
    end(7);
    end(5);
    session_slab_rebuild(&slab);
    cr_expect_eq(begin(), 3);
    cr_expect_eq(begin(), 5);
    cr_expect_eq(begin(), 7);
    cr_expect_eq(begin(), 10);
}

Test(session_slab, readers_get_a_copy_of_a_session_in_use)
{
    struct session copy;
    uint32_t index;

    begin();
    index = begin();
    cr_expect(session_slab_read(&region, SLOT, index, &copy));
    cr_expect_eq(memcmp(&copy, &slab.sessions[index], sizeof(copy)), 0);
    cr_expect_not(session_slab_read(&region, SLOT - 1, index, &copy), "another slot's");
    end(index);
    cr_expect_not(session_slab_read(&region, SLOT, index, &copy), "free");
    cr_expect_not(session_slab_read(&region, SLOT, 50, &copy), "never used");
}

/* A reader's handle is (index, generation): what it names is gone once the record has been lent again. */
Test(session_slab, a_recycled_record_is_told_by_its_generation)
{
    struct session before, after;
    uint32_t index = begin();

    cr_assert(session_slab_read(&region, SLOT, index, &before));
    end(index);
    cr_assert_eq(begin(), index);
    cr_assert(session_slab_read(&region, SLOT, index, &after));
    cr_expect_neq(before.generation, after.generation);
}
