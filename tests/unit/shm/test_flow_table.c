/* The flow table: claims, lookups, TIME_WAIT and its sweepers, deaths in the middle of a claim, several at once. */
#include "shm/flow_table.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rng.h"
#include "core/session.h"
#include "tests/unit/shm/region_make.h"

static struct region region;
static struct flow_table table;
static uint32_t intent = FLOW_NONE;

static void open_table(uint64_t flows)
{
    struct region_shape shape = region_shape_small();

    shape.flows = flows;
    cr_assert_eq(region_create(&region, &shape), 0);
    flow_table_open(&table, &region);
}

static void setup(void)
{
    open_table(MAKE_FLOWS);
}

TestSuite(flow_table, .init = setup);

static struct flow_key key_make(uint32_t n)
{
    struct flow_key key = {.local_port = 443, .remote_port = (uint16_t)(n >> 16)};

    memcpy(key.remote + 12, &n, sizeof(n));
    return key;
}

static uint32_t claim(uint32_t n, uint32_t slot)
{
    struct flow_key key = key_make(n);

    return flow_table_claim(&table, &key, slot, n % 1000, &intent);
}

static uint32_t find(uint32_t n)
{
    struct flow_key key = key_make(n);

    return flow_table_find(&table, &key);
}

static uint32_t count_free(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < table.groups * FLOW_GROUP; i++) {
        count += table.tags[i] == 0 && table.entries[i].state == FLOW_FREE;
        cr_assert(flow_entry_check(&table.entries[i]));
    }
    return count;
}

Test(flow_table, a_claim_is_found_and_owned_until_released)
{
    cr_expect_eq(find(7), FLOW_NONE);
    uint32_t index = claim(7, 2);
    cr_assert_neq(index, FLOW_NONE);
    cr_expect_eq(intent, index);
    cr_expect_eq(find(7), index);
    cr_expect_eq(find(8), FLOW_NONE);
    cr_expect_eq(table.entries[index].state, FLOW_ACTIVE);
    cr_expect(flow_table_owned(&table, index, 2, 7));
    cr_expect_not(flow_table_owned(&table, index, 1, 7));
    cr_expect_not(flow_table_owned(&table, index, 2, 8));
    cr_expect_not(flow_table_owned(&table, FLOW_NONE, 2, 7));
    cr_expect_not(flow_table_owned(&table, table.groups * FLOW_GROUP, 2, 7));
    flow_table_release(&table, index);
    cr_expect_eq(find(7), FLOW_NONE);
    cr_expect_not(flow_table_owned(&table, index, 2, 7));
    cr_expect_eq(count_free(), MAKE_FLOWS);
}

Test(flow_table, a_claim_leaves_nothing_of_the_entry_before)
{
    static const struct flow_entry blank;

    uint32_t index = claim(7, 2);
    memset((char *)&table.entries[index] + 12, 0xee, 20);
    flow_table_release(&table, index);
    cr_assert_eq(claim(7, 2), index);
    cr_expect_eq(memcmp((char *)&table.entries[index] + 12, (const char *)&blank + 12, 20), 0);
    cr_expect_eq(table.entries[index].flags, 0);
}

Test(flow_table, time_wait_lasts_2msl)
{
    uint64_t now = (1ull << 32) - 1000; /* the 32 bits of expire_ms wrap meanwhile */
    uint32_t cursor = 0;
    uint32_t index = claim(7, 1);

    flow_table_time_wait(&table, index, now, &intent);
    cr_expect_eq(find(7), index, "still found");
    cr_expect_not(flow_table_owned(&table, index, 1, 7), "nobody's");
    cr_expect_eq(flow_table_sweep(&table, &cursor, 1, table.groups, now, &intent), 0);
    cr_expect_eq(flow_table_sweep(&table, &cursor, 1, table.groups, now + FLOW_TWO_MSL_MS - 1, &intent), 0);
    cr_expect_eq(find(7), index);
    cr_expect_eq(flow_table_sweep(&table, &cursor, 1, table.groups, now + FLOW_TWO_MSL_MS, &intent), 1);
    cr_expect_eq(find(7), FLOW_NONE);
    cr_expect_eq(count_free(), MAKE_FLOWS);
}

Test(flow_table, sweeping_leaves_active_entries_alone)
{
    uint32_t cursor = 0;

    for (uint32_t n = 0; n < 1000; n++) {
        uint32_t index = claim(n, n % 3);
        if (n % 2 == 0) {
            flow_table_time_wait(&table, index, 0, &intent);
        }
    }
    cr_expect_eq(flow_table_sweep(&table, &cursor, 1, table.groups, FLOW_TWO_MSL_MS, &intent), 500);
    for (uint32_t n = 0; n < 1000; n++) {
        cr_expect_eq(find(n) == FLOW_NONE, n % 2 == 0);
    }
}

/* Each slot sweeps its own groups, a few at a time: together all, each once. */
Test(flow_table, slots_share_the_sweeping)
{
    static const uint32_t strides[] = {1, 2, 3, 5, 63, 64, 65, 100};

    for (size_t s = 0; s < sizeof(strides) / sizeof(strides[0]); s++) {
        uint32_t stride = strides[s];
        uint32_t freed = 0;
        for (uint32_t n = 0; n < 2000; n++) {
            flow_table_time_wait(&table, claim(n, 0), 0, &intent);
        }
        for (uint32_t slot = 0; slot < stride; slot++) {
            uint32_t cursor = slot;
            uint32_t own = slot < table.groups ? (table.groups - slot + stride - 1) / stride : 0;
            for (uint32_t n = 0; n < own; n++) {
                freed += flow_table_sweep(&table, &cursor, stride, 1, FLOW_TWO_MSL_MS, &intent);
            }
            cr_expect_eq(flow_table_sweep(&table, &cursor, stride, 1000, FLOW_TWO_MSL_MS, &intent), 0,
                         "once around was all");
        }
        cr_expect_eq(freed, 2000, "stride %u", stride);
        cr_assert_eq(count_free(), MAKE_FLOWS);
    }
}

Test(flow_table, one_sweep_goes_no_further_than_told)
{
    uint32_t cursor = 0;

    (void)flow_table_sweep(&table, &cursor, 1, 10, 0, &intent);
    cr_expect_eq(cursor, 10);
}

Test(flow_table, without_room_there_is_no_entry)
{
    uint32_t claimed = 0;

    open_table(FLOW_GROUP);
    for (uint32_t n = 0; n < 1000; n++) {
        claimed += claim(n, 0) != FLOW_NONE;
    }
    cr_expect_leq(claimed, FLOW_GROUP);
    cr_expect_geq(claimed, FLOW_GROUP - FLOW_WAYS, "a thousand tries leave hardly a bucket free");
    cr_expect_eq(count_free(), FLOW_GROUP - claimed);
}

/* The table is sized for this load: 60 %, filled and then kept there while entries come and go. */
Test(flow_table, at_60_percent_hardly_any_claim_fails)
{
    enum { FLOWS = 1 << 18, LOAD = FLOWS * 6 / 10 };
    uint32_t *indices = calloc(LOAD, sizeof(*indices));
    uint32_t failed = 0;

    open_table(FLOWS);
    for (uint32_t n = 0; n < 3 * LOAD; n++) {
        uint32_t *index = &indices[n % LOAD];
        if (n >= LOAD && *index != FLOW_NONE) {
            flow_table_release(&table, *index);
        }
        *index = claim(n, 0);
        failed += *index == FLOW_NONE;
    }
    cr_expect_lt(failed, 3 * LOAD / 1000, "%u of %u failed", failed, 3 * LOAD);
    free(indices);
}

/* --- Deaths ----------------------------------------------------------------------------------------------- */

static bool in_use(const void *context, uint32_t session_index, uint32_t index)
{
    const uint32_t *used = context; /* the one entry that session 7 refers to */

    return session_index == 7 && index == *used;
}

/* What a worker of slot 2 leaves behind, by the state of the entry that its intent names. */
Test(flow_table, settle_after_a_death)
{
    static const struct {
        const char *what;
        enum flow_state state;
        uint8_t slot;
        bool referred;
        bool freed;
    } cases[] = {
        {"before the claim", FLOW_FREE, 0, false, false},
        {"while filling", FLOW_BUSY, 2, false, true},
        {"while filling, what stood there before named the session", FLOW_BUSY, 2, true, true},
        {"another slot won the claim", FLOW_BUSY, 1, false, false},
        {"active, the session was undone", FLOW_ACTIVE, 2, false, true},
        {"active, the session refers to it", FLOW_ACTIVE, 2, true, false},
        {"active and another slot's by now", FLOW_ACTIVE, 1, false, false},
        {"in TIME_WAIT by now", FLOW_TIME_WAIT, 0, false, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t index = claim(7, cases[i].slot);
        struct flow_entry *entry = &table.entries[index];
        uint32_t used = cases[i].referred ? index : FLOW_NONE;
        entry->state = cases[i].state;
        entry->tos = cases[i].slot;
        if (cases[i].state < FLOW_ACTIVE) {
            table.tags[index] = 0; /* the tag comes last */
        }
        flow_table_settle(&table, 2, &intent, in_use, &used);
        cr_expect_eq(intent, FLOW_NONE, "%s", cases[i].what);
        bool is_free = entry->state == FLOW_FREE && table.tags[index] == 0;
        cr_expect_eq(is_free, cases[i].freed || cases[i].state == FLOW_FREE, "%s", cases[i].what);
        flow_table_release(&table, index);
    }
}

/* A death between the two stores that turn an entry into TIME_WAIT: its session will not know it again. */
Test(flow_table, settle_half_retired)
{
    uint32_t index = claim(7, 2);

    intent = FLOW_NONE;
    flow_table_time_wait(&table, index, 0, &intent);
    cr_expect_eq(intent, index);
    table.entries[index].state = FLOW_ACTIVE;
    table.entries[index].tos = 2;
    cr_expect_not(flow_table_owned(&table, index, 2, 7));
    flow_table_settle(&table, 2, &intent, in_use, &index);
    cr_expect_eq(table.entries[index].state, FLOW_FREE);
    cr_expect_eq(table.tags[index], 0);
}

/* A death while sweeping, after the tag was cleared: nobody would look at the entry again. */
Test(flow_table, settle_half_swept)
{
    uint32_t index = claim(7, 2);

    flow_table_time_wait(&table, index, 0, &intent);
    table.tags[index] = 0;
    flow_table_settle(&table, 2, &intent, in_use, &index);
    cr_expect_eq(table.entries[index].state, FLOW_FREE);
}

Test(flow_table, settle_without_an_intent)
{
    uint32_t index = claim(7, 2);

    intent = FLOW_NONE;
    flow_table_settle(&table, 2, &intent, in_use, &index);
    intent = table.groups * FLOW_GROUP; /* damaged */
    flow_table_settle(&table, 2, &intent, in_use, &index);
    cr_expect_eq(find(7), index);
}

Test(flow_table, entry_check)
{
    cr_expect(flow_entry_check(&(struct flow_entry){.state = FLOW_FREE}));
    cr_expect(flow_entry_check(&(struct flow_entry){.state = FLOW_ACTIVE, .tos = IMAGE_WORKERS_MAX - 1}));
    cr_expect_not(flow_entry_check(&(struct flow_entry){.state = FLOW_ACTIVE, .tos = IMAGE_WORKERS_MAX}));
    cr_expect_not(flow_entry_check(&(struct flow_entry){.state = FLOW_STATE_COUNT}));
}

/* --- Several at once -------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 40000, HOLD = 16 };

static atomic_uint owners[2 * FLOW_GROUP]; /* the thread that holds an entry, 0: nobody */
static pthread_barrier_t together;
static atomic_uint given_twice, lost, successes;

struct claimer {
    uint32_t number; /* 1.. */
    struct rng rng;
    uint32_t intent;
    uint32_t next;
    uint32_t held[HOLD], keys[HOLD];
};

static void claimer_claim(struct claimer *claimer, uint32_t place)
{
    uint32_t n = (claimer->number << 24) + claimer->next++; /* a tuple of its own */
    struct flow_key key = key_make(n);
    uint32_t index = flow_table_claim(&table, &key, claimer->number, place, &claimer->intent);

    claimer->held[place] = index;
    claimer->keys[place] = n;
    if (index == FLOW_NONE) {
        return;
    }
    successes++;
    given_twice += atomic_exchange(&owners[index], claimer->number) != 0;
    lost += !flow_table_owned(&table, index, claimer->number, place);
}

static void claimer_give_back(struct claimer *claimer, uint32_t place)
{
    struct flow_key key = key_make(claimer->keys[place]);
    uint32_t index = claimer->held[place];

    lost += flow_table_find(&table, &key) != index;
    lost += !flow_table_owned(&table, index, claimer->number, place);
    lost += atomic_exchange(&owners[index], 0) != claimer->number;
    if (rng_chance(&claimer->rng, 50)) {
        flow_table_release(&table, index);
    } else {
        flow_table_time_wait(&table, index, 0, &(uint32_t){FLOW_NONE});
    }
    claimer->held[place] = FLOW_NONE;
}

/* Claims and gives back at random, and sweeps its share, all in a table that is nearly full. */
static void *claimer_run(void *argument)
{
    struct claimer *claimer = argument;
    uint32_t cursor = (claimer->number - 1) % 2;

    memset(claimer->held, 0xff, sizeof(claimer->held)); /* FLOW_NONE */
    pthread_barrier_wait(&together);
    for (int n = 0; n < ROUNDS; n++) {
        uint32_t place = (uint32_t)rng_below(&claimer->rng, HOLD);
        if (claimer->held[place] == FLOW_NONE) {
            claimer_claim(claimer, place);
        } else {
            claimer_give_back(claimer, place);
        }
        if (n % 4 == 0 && claimer->number <= 2) {
            (void)flow_table_sweep(&table, &cursor, 2, 1, FLOW_TWO_MSL_MS, &(uint32_t){FLOW_NONE});
        }
    }
    for (uint32_t place = 0; place < HOLD; place++) {
        if (claimer->held[place] != FLOW_NONE) {
            claimer_give_back(claimer, place);
        }
    }
    return NULL;
}

Test(flow_table, no_entry_is_given_twice)
{
    static struct claimer claimers[THREADS];
    pthread_t threads[THREADS];
    uint32_t cursor = 0;

    open_table(2 * FLOW_GROUP);
    pthread_barrier_init(&together, NULL, THREADS);
    for (uint32_t i = 0; i < THREADS; i++) {
        claimers[i].number = i + 1;
        rng_init(&claimers[i].rng, i);
        cr_assert_eq(pthread_create(&threads[i], NULL, claimer_run, &claimers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect_eq(given_twice, 0);
    cr_expect_eq(lost, 0);
    cr_expect_gt(successes, ROUNDS / 4);
    (void)flow_table_sweep(&table, &cursor, 1, table.groups, FLOW_TWO_MSL_MS, &intent);
    cr_expect_eq(count_free(), 2 * FLOW_GROUP);
}
