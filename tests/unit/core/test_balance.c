/* The policies: exact and smooth shares, fewest sessions for the weight, who is never chosen, bounded memory. */
#include "core/balance.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "bench/rng.h"

TestSuite(balance);

enum { MAX = 16 };

static int32_t credits[MAX];
static struct balance_candidate candidates[MAX];

/* `weights` ends with -1. Returns how many. */
static uint32_t prepare(const int *weights)
{
    uint32_t count = 0;

    for (; weights[count] >= 0; count++) {
        credits[count] = 0;
        candidates[count] =
            (struct balance_candidate){.weight = (uint32_t)weights[count], .credit = &credits[count]};
    }
    return count;
}

Test(balance, nobody_to_choose)
{
    static const int zero[] = {0, 0, -1};

    cr_expect_eq(balance_pick(BALANCE_ROUND_ROBIN, candidates, 0), -1);
    cr_expect_eq(balance_pick(BALANCE_LEAST_SESSIONS, candidates, 0), -1);
    uint32_t count = prepare(zero);
    cr_expect_eq(balance_pick(BALANCE_ROUND_ROBIN, candidates, count), -1);
    cr_expect_eq(balance_pick(BALANCE_LEAST_SESSIONS, candidates, count), -1);
}

static const int weight_sets[][MAX] = {
    {1, -1},        {1, 1, -1},          {2, 1, -1},
    {5, 1, 1, -1},  {3, 2, 0, 7, 1, -1}, {256, 1, -1},
    {256, 256, -1}, {0, 4, 0, 4, -1},    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1},
};

/* Over each run of the sum of weights, from the start and any multiple, every server has its weight. And it is smooth:
 * after any number of choices nobody is further from his due than the number of servers allows. */
Test(balance, round_robin_is_exact_over_a_cycle_and_smooth_within)
{
    for (size_t set = 0; set < sizeof(weight_sets) / sizeof(weight_sets[0]); set++) {
        uint32_t count = prepare(weight_sets[set]);
        uint32_t chosen[MAX] = {0};
        uint32_t total = 0;
        for (uint32_t i = 0; i < count; i++) {
            total += candidates[i].weight;
        }
        for (uint32_t n = 1; n <= 3 * total; n++) {
            int index = balance_pick(BALANCE_ROUND_ROBIN, candidates, count);
            cr_assert(index >= 0 && (uint32_t)index < count && candidates[index].weight > 0);
            chosen[index]++;
            for (uint32_t i = 0; i < count; i++) {
                double due = (double)n * candidates[i].weight / total;
                if (abs((int)chosen[i] - (int)due) > (int)count || (n % total == 0 && chosen[i] != due)) {
                    cr_assert_fail("set %zu, choice %u: server %u chosen %u times, due %f", set, n, i,
                                   chosen[i], due);
                }
            }
        }
    }
}

Test(balance, round_robin_never_chooses_in_a_lump)
{
    static const int weights[] = {5, 1, 1, -1};
    static const int order[] = {0, 0, 1, 0, 2, 0, 0}; /* nginx's own example of the method */
    uint32_t count = prepare(weights);

    for (int n = 0; n < 14; n++) {
        cr_expect_eq(balance_pick(BALANCE_ROUND_ROBIN, candidates, count), order[n % 7], "choice %d", n);
    }
}

/* Servers come and go at random: the credits stay within what the weights can add up to. */
Test(balance, round_robin_credit_is_bounded)
{
    static const int weights[] = {256, 1, 100, 256, 7, 50, -1};
    uint32_t count = prepare(weights);
    struct rng rng;

    rng_init(&rng, 5);
    for (int n = 0; n < 200000; n++) {
        for (uint32_t i = 0; i < count; i++) {
            candidates[i].weight = rng_chance(&rng, 70) ? (uint32_t)weights[i] : 0;
        }
        (void)balance_pick(BALANCE_ROUND_ROBIN, candidates, count);
        for (uint32_t i = 0; i < count; i++) {
            if (abs(credits[i]) > 4 * 256 * (int)count) {
                cr_assert_fail("choice %d: credit of %u is %d", n, i, credits[i]);
            }
        }
    }
}

Test(balance, least_sessions_by_weight)
{
    static const struct {
        int weights[4];
        uint32_t sessions[3];
        int chosen;
    } cases[] = {
        {{1, 1, 1, -1}, {3, 2, 4}, 1},
        {{1, 1, 1, -1}, {0, 0, 1}, 0},
        {{2, 1, 1, -1}, {3, 2, 2}, 0},     /* 1.5 against 2 */
        {{2, 1, 1, -1}, {5, 2, 3}, 1},     /* 2.5, 2, 3 */
        {{0, 1, 1, -1}, {0, 9, 8}, 2},     /* weight 0 is no candidate, however idle */
        {{256, 1, 1, -1}, {255, 1, 1}, 0}, /* 0.996 against 1 */
        {{256, 1, 1, -1}, {257, 1, 1}, 1}, /* 1.004 against 1 */
        {{1, 256, 1, -1}, {UINT32_MAX, UINT32_MAX, UINT32_MAX}, 1},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t count = prepare(cases[i].weights);
        for (uint32_t j = 0; j < count; j++) {
            candidates[j].sessions = cases[i].sessions[j];
        }
        cr_expect_eq(balance_pick(BALANCE_LEAST_SESSIONS, candidates, count), cases[i].chosen, "case %zu", i);
    }
}

Test(balance, least_sessions_takes_turns_among_equals)
{
    static const int weights[] = {3, 3, 3, -1};
    uint32_t count = prepare(weights);
    uint32_t chosen[3] = {0};

    for (int n = 0; n < 300; n++) {
        chosen[balance_pick(BALANCE_LEAST_SESSIONS, candidates, count)]++;
    }
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(chosen[i], 100);
    }
}

Test(balance, least_sessions_fills_by_weight)
{
    static const int weights[] = {4, 2, 1, 1, -1};
    uint32_t count = prepare(weights);

    for (int n = 0; n < 800; n++) {
        candidates[balance_pick(BALANCE_LEAST_SESSIONS, candidates, count)].sessions++;
    }
    for (uint32_t i = 0; i < count; i++) {
        cr_expect_eq(candidates[i].sessions, 100u * (uint32_t)weights[i]);
    }
}

Test(balance, least_sessions_bounds_the_credit_of_the_never_chosen)
{
    static const int weights[] = {256, 256, -1};
    uint32_t count = prepare(weights);

    candidates[1].sessions = 1000;
    for (int n = 0; n < 100000; n++) {
        if (balance_pick(BALANCE_LEAST_SESSIONS, candidates, count) != 0) {
            cr_assert_fail("choice %d", n);
        }
    }
    cr_expect_leq(credits[1], (1 << 20) + 256);
    cr_expect_geq(credits[1], 1 << 20);
}

/* Backups are candidates of weight 0 until nobody else is left; their memory must not move meanwhile. */
Test(balance, weight_0_is_left_out_and_earns_nothing)
{
    static const int weights[] = {1, 0, 2, 0, -1};

    for (int kind = BALANCE_ROUND_ROBIN; kind <= BALANCE_LEAST_SESSIONS; kind++) {
        uint32_t count = prepare(weights);
        for (int n = 0; n < 100; n++) {
            int index = balance_pick(kind, candidates, count);
            cr_expect(index == 0 || index == 2);
        }
        cr_expect_eq(credits[1], 0);
        cr_expect_eq(credits[3], 0);
    }
}
