/* The undo log: what rolls back, what has committed, how much fits, and random transactions with random deaths. */
#include "shm/undo.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "bench/rng.h"

static struct undo_log undo;
static uint8_t memory[1024];

TestSuite(undo);

static void put(uint32_t offset, uint32_t length, uint8_t value)
{
    undo_save(&undo, memory, memory + offset, length);
    memset(memory + offset, value, length);
}

Test(undo, nothing_to_roll_back)
{
    cr_expect_not(undo_rollback(&undo, memory, 0));
    undo_begin(&undo);
    undo_commit(&undo);
    cr_expect_not(undo_rollback(&undo, memory, 0));
}

Test(undo, rolls_back_what_did_not_commit)
{
    undo_begin(&undo);
    put(10, 5, 1);
    put(12, 9, 2); /* overlaps: the oldest copy wins */
    put(10, 5, 3);
    cr_expect(undo_rollback(&undo, memory, 77), "the head is not asked");
    for (size_t i = 0; i < sizeof(memory); i++) {
        cr_assert_eq(memory[i], 0, "byte %zu", i);
    }
    cr_expect_not(undo_rollback(&undo, memory, 77), "once");
}

Test(undo, a_transaction_without_changes_counts_as_cut_short)
{
    undo_begin(&undo);
    cr_expect(undo_rollback(&undo, memory, 0));
}

Test(undo, committed_stays)
{
    undo_begin(&undo);
    put(0, 8, 1);
    undo_commit(&undo);
    cr_expect_not(undo_rollback(&undo, memory, 0));
    cr_expect_eq(memory[7], 1);
}

Test(undo, commits_by_the_head)
{
    undo_begin_completion(&undo, 5);
    put(0, 8, 1);
    cr_expect_not(undo_rollback(&undo, memory, 6), "the head moved on");
    cr_expect_eq(memory[0], 1);
    undo_begin_completion(&undo, UINT32_MAX);
    put(0, 8, 2);
    cr_expect_not(undo_rollback(&undo, memory, 0), "also around its end");
    cr_expect_eq(memory[0], 2);
    undo_begin_completion(&undo, 6);
    put(0, 8, 3);
    cr_expect(undo_rollback(&undo, memory, 6));
    cr_expect_eq(memory[0], 2);
}

Test(undo, begin_forgets_the_one_before)
{
    undo_begin_completion(&undo, 5);
    put(0, 8, 1);
    undo_begin_completion(&undo, 6); /* head moved on: the first had committed */
    put(8, 8, 2);
    cr_expect(undo_rollback(&undo, memory, 6));
    cr_expect_eq(memory[0], 1);
    cr_expect_eq(memory[8], 0);
}

/* Rollback may be cut short itself: done twice it comes to the same. */
Test(undo, rollback_can_be_repeated)
{
    static struct undo_log copy;

    undo_begin(&undo);
    put(0, 100, 1);
    put(50, 100, 2);
    copy = undo;
    cr_expect(undo_rollback(&undo, memory, 0));
    memset(memory + 60, 9, 50); /* as if only a part had been put back */
    undo = copy;
    cr_expect(undo_rollback(&undo, memory, 0));
    for (size_t i = 0; i < sizeof(memory); i++) {
        cr_assert_eq(memory[i], 0, "byte %zu", i);
    }
}

Test(undo, holds_what_it_promises)
{
    static uint8_t large[UNDO_BYTES];

    undo_begin(&undo);
    undo_save(&undo, large, large, UNDO_BYTES - 16); /* 16 bytes: a record's own */
    cr_expect_eq(undo.used, UNDO_BYTES);
    cr_expect(undo_rollback(&undo, large, 0));
}

Test(undo, saving_too_much_dies, .signal = SIGABRT)
{
    static uint8_t large[UNDO_BYTES];

    undo_begin(&undo);
    undo_save(&undo, large, large, UNDO_BYTES - 16 + 1);
}

Test(undo, saving_too_often_dies, .signal = SIGABRT)
{
    undo_begin(&undo);
    for (int i = 0; i <= UNDO_BYTES / 24; i++) {
        undo_save(&undo, memory, memory, 1);
    }
}

Test(undo, saving_outside_a_transaction_dies, .signal = SIGABRT)
{
    undo_save(&undo, memory, memory, 8);
}

Test(undo, saving_after_commit_dies, .signal = SIGABRT)
{
    undo_begin(&undo);
    undo_commit(&undo);
    undo_save(&undo, memory, memory, 8);
}

/* One transaction of up to 20 saves and stores; a death may follow any of them. Returns the model's expectation in
 * `expected`: the memory after the transaction, or before it where it was cut short. */
static void transaction(struct rng *rng, uint32_t *head, uint8_t *expected)
{
    bool by_head = rng_chance(rng, 50);
    bool dies = rng_chance(rng, 30);

    if (by_head) {
        undo_begin_completion(&undo, *head);
    } else {
        undo_begin(&undo);
    }
    for (uint64_t n = rng_below(rng, 20); n > 0; n--) {
        uint32_t length = 1 + (uint32_t)rng_below(rng, 180);
        uint32_t offset = (uint32_t)rng_below(rng, sizeof(memory) - length);
        undo_save(&undo, memory, memory + offset, length);
        uint32_t stored = (uint32_t)rng_below(rng, length + 1); /* death may come in the middle */
        for (uint32_t i = 0; i < stored; i++) {
            memory[offset + i] = (uint8_t)rng_next(rng);
        }
    }
    if (dies) {
        return;
    }
    if (by_head) {
        ++*head;
    } else {
        undo_commit(&undo);
    }
    memcpy(expected, memory, sizeof(memory));
}

Test(undo, random_transactions_and_deaths)
{
    static uint8_t expected[sizeof(memory)];
    uint32_t head = UINT32_MAX - 1000;
    struct rng rng;

    rng_init(&rng, 99);
    for (int n = 0; n < 20000; n++) {
        transaction(&rng, &head, expected);
        if (rng_chance(&rng, 50) || memcmp(memory, expected, sizeof(memory)) != 0) { /* somebody adopts */
            (void)undo_rollback(&undo, memory, head);
        }
        if (memcmp(memory, expected, sizeof(memory)) != 0) {
            cr_assert_fail("transaction %d", n);
        }
    }
}
