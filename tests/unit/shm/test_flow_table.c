/* The flow table: claims, lookups, who frees an entry in either mode, sweeping, deaths in the middle of a change. */
#include "shm/flow_table.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/session.h"
#include "tests/unit/shm/region_make.h"

static struct region region;
static struct flow_table table;
static uint32_t intent = FLOW_NONE;

enum { SLOT = 2, SESSION = 7, TWO_MSL_MS = 20000 };

static void open_table(uint64_t flows, bool owned)
{
    struct region_shape shape = region_shape_small();

    shape.flows = flows;
    cr_assert_eq(region_create(&region, &shape), 0);
    region.header->time_wait.owned = owned;
    region.header->time_wait.two_msl_ms = owned ? TWO_MSL_MS : 0;
    if (owned) { /* the region's own table in the place of the shared one */
        region.flow_maps[0] = region_row(&region, TABLE_FLOW_TAGS, 0);
        region.flow_maps[1] = region_row(&region, TABLE_FLOW_ENTRIES, 0);
    }
    flow_table_open(&table, &region);
}

static void setup(void)
{
    open_table(MAKE_FLOWS, false);
}

TestSuite(flow_table, .init = setup);
TestSuite(flow_sweep, .init = setup);

static struct flow_key key_make(uint32_t n)
{
    struct flow_key key = {.local_port = 443, .remote_port = (uint16_t)(n >> 16)};

    memcpy(key.remote + 12, &n, sizeof(n));
    return key;
}

static uint32_t claim_at(uint32_t n, uint32_t slot, uint64_t now_ms)
{
    struct flow_key key = key_make(n);

    return flow_table_claim(&table, &key, slot, n % 1000, now_ms, &intent);
}

static uint32_t claim(uint32_t n, uint32_t slot)
{
    return claim_at(n, slot, 0);
}

static uint32_t find(uint32_t n)
{
    struct flow_key key = key_make(n);

    return flow_table_find(&table, &key);
}

/* Slots that may be taken at `now_ms`. */
static uint32_t count_free(uint64_t now_ms)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < table.groups * FLOW_GROUP; i++) {
        uint32_t head;
        memcpy(&head, &table.entries[i], sizeof(head));
        cr_assert(flow_entry_check(&table.entries[i]));
        count += table.tags[i] == 0 && flow_is_takeable(head, table.entries[i].expire_ms, (uint32_t)now_ms);
    }
    return count;
}

/* A whole round, by whoever has the lease. Returns how many entries were freed. */
static uint64_t sweep_round(uint32_t slot, uint64_t now_ms)
{
    uint64_t rounds = table.sweep->rounds;
    uint64_t freed = table.sweep->freed;

    table.sweep->round_since_ms = 1; /* long ago: all groups are due */
    while (table.sweep->rounds == rounds) {
        (void)flow_table_sweep(&table, slot, now_ms, &intent);
    }
    return table.sweep->freed - freed;
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
    flow_table_release(&table, index, 1, &intent);
    cr_expect_eq(find(7), index, "another slot's");
    flow_table_release(&table, index, 2, &intent);
    cr_expect_eq(find(7), FLOW_NONE);
    cr_expect_not(flow_table_owned(&table, index, 2, 7));
    cr_expect_eq(count_free(0), MAKE_FLOWS);
    flow_table_release(&table, index, 2, &intent);
    cr_expect_eq(count_free(0), MAKE_FLOWS, "nobody's");
}

Test(flow_table, a_claim_leaves_nothing_of_the_entry_before)
{
    static const struct flow_entry blank;

    uint32_t index = claim(7, 2);
    memset((char *)&table.entries[index] + 12, 0xee, 20);
    flow_table_release(&table, index, 2, &intent);
    cr_assert_eq(claim(7, 2), index);
    cr_expect_eq(memcmp((char *)&table.entries[index] + 12, (const char *)&blank + 12, 20), 0);
    cr_expect_eq(table.entries[index].flags, table.mark);
}

Test(flow_table, time_wait_lasts_2msl)
{
    uint64_t now = (1ull << 32) - 1000; /* the 32 bits of expire_ms wrap meanwhile */
    uint32_t index = claim(7, 1);

    flow_table_time_wait(&table, index, 1, now, &intent);
    cr_expect_eq(find(7), index, "still found");
    cr_expect_not(flow_table_owned(&table, index, 1, 7), "nobody's");
    cr_expect_eq(sweep_round(0, now), 0);
    cr_expect_eq(sweep_round(0, now + FLOW_TWO_MSL_MS - 1), 0);
    cr_expect_eq(find(7), index);
    cr_expect_eq(sweep_round(0, now + FLOW_TWO_MSL_MS), 1);
    cr_expect_eq(find(7), FLOW_NONE);
    cr_expect_eq(count_free(now), MAKE_FLOWS);
}

Test(flow_table, sweeping_leaves_active_entries_alone)
{
    for (uint32_t n = 0; n < 1000; n++) {
        uint32_t index = claim(n, n % 3);
        if (n % 2 == 0) {
            flow_table_time_wait(&table, index, n % 3, 0, &intent);
        }
    }
    cr_expect_eq(sweep_round(1, FLOW_TWO_MSL_MS), 500);
    for (uint32_t n = 0; n < 1000; n++) {
        cr_expect_eq(find(n) == FLOW_NONE, n % 2 == 0);
    }
}

Test(flow_table, without_room_there_is_no_entry)
{
    uint32_t claimed = 0;

    open_table(FLOW_GROUP, false);
    for (uint32_t n = 0; n < 1000; n++) {
        claimed += claim(n, 0) != FLOW_NONE;
    }
    cr_expect_leq(claimed, FLOW_GROUP);
    cr_expect_geq(claimed, FLOW_GROUP - FLOW_WAYS, "a thousand tries leave hardly a bucket free");
    cr_expect_eq(count_free(0), FLOW_GROUP - claimed);
}

/* The table is sized for this load: 60 %, filled and then kept there while entries come and go. */
Test(flow_table, at_60_percent_hardly_any_claim_fails)
{
    enum { FLOWS = 1 << 18, LOAD = FLOWS * 6 / 10 };
    uint32_t *indices = calloc(LOAD, sizeof(*indices));
    uint32_t failed = 0;

    open_table(FLOWS, false);
    for (uint32_t n = 0; n < 3 * LOAD; n++) {
        uint32_t *index = &indices[n % LOAD];
        if (n >= LOAD && *index != FLOW_NONE) {
            flow_table_release(&table, *index, 0, &intent);
        }
        *index = claim(n, 0);
        failed += *index == FLOW_NONE;
    }
    cr_expect_lt(failed, 3 * LOAD / 1000, "%u of %u failed", failed, 3 * LOAD);
    free(indices);
}

/* --- Who frees a flow entry: LAYOUT.md, row by row ------------------------------------------------------------ */

static uint32_t begin_row(bool owned)
{
    open_table(MAKE_FLOWS, owned);
    uint32_t index = claim_at(SESSION, SLOT, 1000);
    cr_assert_neq(index, FLOW_NONE);
    return index;
}

/* The publisher, as io/bpf/publish.bpf.h does it. */
static bool program_seizes(uint32_t index, uint32_t *head)
{
    uint32_t *word = (uint32_t *)(void *)&table.entries[index];

    *head = __atomic_load_n(word, __ATOMIC_ACQUIRE);
    uint8_t state = flow_head_state(*head);
    return (state == FLOW_ACTIVE || state == FLOW_ORPHANED) &&
           __atomic_compare_exchange_n(word, head, flow_head(FLOW_BUSY, 0, FLOW_PROGRAM, 0), false,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void program_leaves(uint32_t index, enum flow_state state, uint64_t expire_ms)
{
    struct flow_entry *entry = &table.entries[index];

    if (!flow_state_lives((uint8_t)state)) {
        __atomic_store_n(&table.tags[index], 0, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&entry->expire_ms, (uint32_t)expire_ms, __ATOMIC_RELAXED);
    __atomic_store_n((uint32_t *)(void *)entry, flow_head((uint8_t)state, 0, 0x48, 0x77), __ATOMIC_RELEASE);
}

/* What the kernel's transition makes of an entry; false where the table had none. */
static bool program_ends(uint32_t index, enum flow_state state, uint64_t now_ms)
{
    uint32_t head;

    if (!program_seizes(index, &head)) {
        return false;
    }
    program_leaves(index, state, now_ms + TWO_MSL_MS);
    return true;
}

static void expect_state(uint32_t index, enum flow_state state)
{
    cr_expect_eq(table.entries[index].state, state, "it is %s, not %s",
                 flow_state_text(table.entries[index].state), flow_state_text(state));
    cr_expect_eq(table.tags[index] != 0, flow_state_lives((uint8_t)state));
}

static void expect_released(uint32_t index)
{
    expect_state(index, FLOW_FREE);
    cr_expect_eq(find(SESSION), FLOW_NONE);
    cr_expect_not(flow_table_owned(&table, index, SLOT, SESSION));
    cr_expect_eq(count_free(0), MAKE_FLOWS);
}

/* Where the kernel keeps TIME_WAIT: passive close, reset, abort. */
Test(flow_rows, kernel_release)
{
    uint32_t index = begin_row(false);

    flow_table_release(&table, index, SLOT, &intent);
    expect_released(index);
}

/* The tuple is connected again before its TIME_WAIT is swept: one entry stands for it. */
Test(flow_rows, kernel_connects_again)
{
    uint32_t index = begin_row(false);

    flow_table_time_wait(&table, index, SLOT, 5000, &intent);
    cr_expect_eq(claim_at(SESSION, SLOT, 6000), index);
    expect_state(index, FLOW_ACTIVE);
    cr_expect(flow_table_owned(&table, index, SLOT, SESSION));
    cr_expect_neq(claim_at(SESSION, SLOT, 6000), index, "one that lives is not taken");
}

/* An active close, and one by timeout. */
Test(flow_rows, kernel_time_wait)
{
    uint32_t index = begin_row(false);

    flow_table_time_wait(&table, index, SLOT, 5000, &intent);
    expect_state(index, FLOW_TIME_WAIT);
    cr_expect_eq(sweep_round(1, 5000 + FLOW_TWO_MSL_MS - 1), 0);
    cr_expect_eq(sweep_round(1, 5000 + FLOW_TWO_MSL_MS), 1);
    expect_released(index);
}

Test(flow_rows, owned_active_close_before_the_session_ends)
{
    uint32_t index = begin_row(true);

    cr_expect(program_ends(index, FLOW_TIME_WAIT, 5000));
    cr_expect_not(flow_table_owned(&table, index, SLOT, SESSION));
    flow_table_orphan(&table, index, SLOT, 5000);
    flow_table_release(&table, index, SLOT, &intent);
    expect_state(index, FLOW_TIME_WAIT);
    cr_expect_eq(sweep_round(1, 5000 + TWO_MSL_MS), 0, "not yet: a program may hold it");
    cr_expect_eq(sweep_round(1, 5000 + TWO_MSL_MS + FLOW_GRACE_MS), 1);
    expect_state(index, FLOW_FREE);
}

Test(flow_rows, owned_close_before_the_kernels_end)
{
    for (int released = 0; released < 2; released++) {
        enum flow_state end = released ? FLOW_FREE : FLOW_FIN_WAIT2;
        uint32_t index = begin_row(true);
        flow_table_orphan(&table, index, SLOT, 5000);
        expect_state(index, FLOW_ORPHANED);
        cr_expect_eq(find(SESSION), index);
        cr_expect_not(flow_table_owned(&table, index, SLOT, SESSION));
        cr_expect(program_ends(index, end, 6000));
        expect_state(index, end);
        cr_expect_eq(sweep_round(0, 6000 + TWO_MSL_MS + FLOW_GRACE_MS), !released);
        cr_expect_eq(count_free(6000 + TWO_MSL_MS + FLOW_GRACE_MS), MAKE_FLOWS);
    }
}

/* Only of one that has a TIME_WAIT of the kernel's beside it. */
Test(flow_rows, owned_tuple_of_what_was_published)
{
    struct flow_key expected = key_make(SESSION);
    struct flow_key key;
    uint32_t index = begin_row(true);

    cr_expect_not(flow_table_key(&table, index, &key));
    flow_table_orphan(&table, index, SLOT, 5000);
    cr_expect_not(flow_table_key(&table, index, &key));
    cr_expect(program_ends(index, FLOW_FIN_WAIT2, 5000));
    cr_expect(flow_table_key(&table, index, &key));
    cr_expect_eq(memcmp(&key, &expected, sizeof(key)), 0);
    program_leaves(index, FLOW_RELEASED, 6000);
    cr_expect_not(flow_table_key(&table, index, &key));
    cr_expect_not(flow_table_key(&table, UINT32_MAX, &key));
}

/* LAST_ACK, RST, abort while the session is there. */
Test(flow_rows, owned_other_end_before_the_session_ends)
{
    uint32_t index = begin_row(true);

    cr_expect(program_ends(index, FLOW_FREE, 5000));
    cr_expect_not(flow_table_owned(&table, index, SLOT, SESSION));
    flow_table_orphan(&table, index, SLOT, 5000);
    expect_released(index);
}

/* A connection that had ended when it was accepted: no transition is to come. */
Test(flow_rows, owned_claim_of_a_dead_socket)
{
    uint32_t index = begin_row(true);

    flow_table_release(&table, index, SLOT, &intent);
    expect_released(index);
}

/* The publisher never comes. */
Test(flow_rows, owned_orphan_whose_end_was_missed)
{
    for (uint64_t ended = 5000; ended < 1ull << 33; ended += (1ull << 32) - 7) { /* the clock wraps */
        uint32_t index = begin_row(true);
        flow_table_orphan(&table, index, SLOT, ended);
        cr_expect_eq(sweep_round(0, ended + FLOW_ORPHAN_MS - 2000), 0);
        expect_state(index, FLOW_ORPHANED);
        cr_expect_eq(sweep_round(0, ended + FLOW_ORPHAN_MS + 2000), 1);
        expect_state(index, FLOW_FREE);
    }
}

/* All workers and their region are gone, the table is not. */
Test(flow_rows, owned_of_a_region_that_is_gone)
{
    uint32_t active = begin_row(true);
    uint32_t busy = claim_at(8, 1, 1000);
    uint32_t held = claim_at(9, 1, 1000);
    uint32_t kept = claim_at(10, 1, 1000);

    table.entries[busy].state = FLOW_BUSY;
    table.entries[held].state = FLOW_BUSY;
    table.entries[held].tos = FLOW_PROGRAM;
    cr_expect(program_ends(kept, FLOW_TIME_WAIT, 1000));
    flow_table_disown(&table, 2000);
    expect_state(active, FLOW_ORPHANED);
    expect_state(busy, FLOW_FREE);
    cr_expect_eq(table.entries[held].state, FLOW_BUSY);
    expect_state(kept, FLOW_TIME_WAIT);
}

/* What was released in TIME_WAIT rests, is then as good as free, and stays so for as long as nobody takes it. */
Test(flow_rows, owned_rest)
{
    uint32_t index = begin_row(true);
    uint32_t head = flow_head(FLOW_RELEASED, 0, 0, 0);

    cr_expect(program_ends(index, FLOW_TIME_WAIT, 4000));
    program_leaves(index, FLOW_RELEASED, 5000 + FLOW_GRACE_MS);
    uint32_t expire_ms = table.entries[index].expire_ms;
    cr_expect_eq(expire_ms, 5000 + FLOW_GRACE_MS);
    cr_expect_not(flow_is_takeable(head, expire_ms, 5000));
    cr_expect_not(flow_is_takeable(head, expire_ms, expire_ms - 1));
    cr_expect_not(flow_is_takeable(head, expire_ms, 5000 - 60000), "by an old look at the clock");
    cr_expect(flow_is_takeable(head, expire_ms, expire_ms));
    cr_expect(flow_is_takeable(head, expire_ms, expire_ms + (1u << 31)));
    cr_expect(flow_is_takeable(head, expire_ms, expire_ms + 3 * (1u << 30)));
}

/* A full bucket's ended entries are taken before anybody sweeps. */
Test(flow_rows, owned_ended_entries_make_room)
{
    uint32_t claimed = 0;

    open_table(FLOW_GROUP, true);
    for (uint32_t n = 0; n < 1000; n++) {
        uint32_t index = claim(n, SLOT);
        claimed += index != FLOW_NONE;
        cr_expect(index == FLOW_NONE || program_ends(index, FLOW_TIME_WAIT, 0));
    }
    uint64_t over_ms = TWO_MSL_MS + FLOW_GRACE_MS;
    uint32_t n = 2000;
    cr_expect_eq(claim_at(n, SLOT, over_ms - 1) == FLOW_NONE, claimed == FLOW_GROUP);
    for (n = 3000; n < 4000; n++) {
        uint32_t index = claim_at(n, SLOT, over_ms);
        cr_assert_neq(index, FLOW_NONE);
        cr_expect_eq(find(n), index);
        cr_expect(program_ends(index, FLOW_TIME_WAIT, 0));
    }
}

/* --- Sweeping ------------------------------------------------------------------------------------------------- */

static uint32_t sweep(uint32_t slot, uint64_t now_ms)
{
    return flow_table_sweep(&table, slot, now_ms, &intent);
}

static bool has_lease(uint32_t slot, uint64_t now_ms)
{
    return (table.sweep->lease & 0xff) == slot && table.sweep->lease >> 8 > now_ms;
}

Test(flow_sweep, is_one_workers_at_a_time)
{
    cr_expect_eq(sweep(1, 1000), FLOW_SWEEP_EVERY_MS);
    cr_expect(has_lease(1, 1000));
    (void)sweep(2, 1001);
    (void)sweep(0, 1000 + FLOW_SWEEP_LEASE_MS - 1);
    cr_expect(has_lease(1, 1001), "nobody takes it from who lives");
    (void)sweep(1, 2000);
    (void)sweep(2, 1000 + FLOW_SWEEP_LEASE_MS);
    cr_expect(has_lease(1, 2000), "it was prolonged");
    (void)sweep(2, 2000 + FLOW_SWEEP_LEASE_MS);
    cr_expect(has_lease(2, 2000), "it is dead or hangs");
    (void)sweep(1, 2001 + FLOW_SWEEP_LEASE_MS);
    cr_expect(has_lease(2, 2000), "and comes back");
    table.sweep->lease = UINT64_MAX << 8;
    (void)sweep(1, 9000);
    cr_expect(has_lease(1, 9000), "what is damaged lasts no longer");
}

Test(flow_sweep, goes_on_where_another_stopped)
{
    for (uint32_t n = 0; n < 2000; n++) {
        flow_table_time_wait(&table, claim(n, 0), 0, 1, &intent);
    }
    uint64_t now_ms = 1 + FLOW_TWO_MSL_MS;
    uint32_t part_ms = FLOW_TWO_MSL_MS / FLOW_SWEEP_ROUNDS / 4;
    (void)sweep(0, now_ms);
    (void)sweep(0, now_ms + 2 * part_ms);
    uint32_t cursor = table.sweep->cursor;
    cr_expect_gt(cursor, table.groups / 4);
    cr_expect_lt(cursor, table.groups * 3 / 4);
    uint64_t freed = table.sweep->freed;
    table.sweep->lease = 0;
    (void)sweep(1, now_ms + 3 * part_ms);
    cr_expect_gt(table.sweep->cursor, cursor);
    (void)sweep(1, now_ms + 5 * part_ms);
    cr_expect_eq(table.sweep->rounds, 1);
    cr_expect_geq(table.sweep->round_ms, 4 * part_ms);
    cr_expect_gt(freed, 0);
    cr_expect_eq(table.sweep->freed, 2000);
    cr_expect_eq(table.sweep->cursor, 0);
    cr_expect_eq(count_free(0), MAKE_FLOWS);
}

/* Bounded work in one go, and still round in a part of 2MSL. */
Test(flow_sweep, is_done_in_small_pieces)
{
    enum { FLOWS = 1 << 18, USED = FLOWS * 6 / 10, PIECE = 10000 };
    uint64_t now_ms = FLOW_TWO_MSL_MS;
    uint32_t calls = 0;

    open_table(FLOWS, false);
    for (uint32_t n = 0; n < USED; n++) {
        uint32_t index = claim(n, 0);
        if (index != FLOW_NONE) {
            flow_table_time_wait(&table, index, 0, 0, &intent);
        }
    }
    while (table.sweep->rounds == 0 && calls++ < 1000) {
        uint64_t freed = table.sweep->freed;
        now_ms += sweep(0, now_ms);
        cr_expect_leq(table.sweep->freed - freed, PIECE);
    }
    cr_expect_leq(table.sweep->round_ms, FLOW_TWO_MSL_MS / FLOW_SWEEP_ROUNDS + FLOW_SWEEP_EVERY_MS);
    cr_expect_gt(calls, USED / PIECE);
    cr_expect_eq(count_free(0), FLOWS);
}

Test(flow_sweep, of_a_damaged_place_begins_anew)
{
    table.sweep->cursor = UINT32_MAX;
    table.sweep->round_since_ms = UINT64_MAX;
    (void)sweep(0, 1000);
    cr_expect_lt(table.sweep->cursor, table.groups);
    cr_expect_eq(table.sweep->round_since_ms, 1000);
}

/* --- Deaths ----------------------------------------------------------------------------------------------- */

static bool in_use(const void *context, uint32_t session_index, uint32_t index)
{
    const uint32_t *used = context; /* the one entry that session 7 refers to */

    return session_index == 7 && index == *used;
}

static void settle(const uint32_t *used)
{
    flow_table_settle(&table, SLOT, &intent, in_use, used);
    cr_expect_eq(intent, FLOW_NONE);
}

/* What a worker of slot 2 leaves behind, by the state of the entry that its intent names. */
static void settle_after_a_death(bool owned)
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
        {"a program is at it", FLOW_BUSY, FLOW_PROGRAM, true, false},
        {"active, the session was undone", FLOW_ACTIVE, 2, false, true},
        {"active, the session refers to it", FLOW_ACTIVE, 2, true, false},
        {"active and another slot's by now", FLOW_ACTIVE, 1, false, false},
        {"an orphan by now", FLOW_ORPHANED, 2, true, false},
        {"in FIN_WAIT2 by now", FLOW_FIN_WAIT2, 2, false, false},
        {"in TIME_WAIT by now", FLOW_TIME_WAIT, 2, false, false},
        {"released by now", FLOW_RELEASED, 2, false, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        open_table(MAKE_FLOWS, owned);
        uint32_t index = claim(SESSION, cases[i].slot);
        struct flow_entry *entry = &table.entries[index];
        uint32_t used = cases[i].referred ? index : FLOW_NONE;
        entry->state = cases[i].state;
        entry->tos = cases[i].slot;
        if (cases[i].state < FLOW_ACTIVE) {
            table.tags[index] = 0; /* the tag comes last */
        }
        uint8_t tag = table.tags[index];
        settle(&used);
        enum flow_state expected = cases[i].freed ? FLOW_FREE : cases[i].state;
        cr_expect_eq(entry->state, expected, "%s", cases[i].what);
        cr_expect_eq(table.tags[index], cases[i].freed ? 0 : tag, "%s", cases[i].what);
    }
}

Test(flow_table, settle_where_the_kernel_keeps_time_wait)
{
    settle_after_a_death(false);
}

Test(flow_table, settle_where_the_table_owns_it)
{
    settle_after_a_death(true);
}

/* While a region hands over to another both have the table, and slots of the same numbers. */
Test(flow_table, a_slot_of_another_region_is_another)
{
    static const enum flow_state states[] = {FLOW_BUSY, FLOW_ACTIVE};

    open_table(MAKE_FLOWS, true);
    struct flow_table elder = table;
    uint32_t index = claim(SESSION, SLOT);
    table.mark++;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        table.entries[index].state = states[i];
        intent = index;
        settle(&(uint32_t){FLOW_NONE});
        flow_table_release(&table, index, SLOT, &intent);
        flow_table_orphan(&table, index, SLOT, 0);
        cr_expect_eq(table.entries[index].state, states[i]);
        cr_expect_not(flow_table_owned(&table, index, SLOT, SESSION));
    }
    cr_expect(flow_table_owned(&elder, index, SLOT, SESSION));
}

/* The intent is an old one: a sweeper of another slot is at the entry, which is then claimed by a third. */
Test(flow_table, settle_while_another_sweeps)
{
    uint32_t index = claim(SESSION, SLOT);

    flow_table_time_wait(&table, index, SLOT, 0, &intent);
    table.entries[index].state = FLOW_BUSY; /* as in sweep_entry() */
    table.entries[index].tos = 1;
    table.tags[index] = 0;
    settle(&index);
    cr_expect_eq(table.entries[index].state, FLOW_BUSY);
    cr_expect_eq(table.entries[index].tos, 1);
}

/* A death while sweeping, or between the stores that turn an entry into TIME_WAIT, or give it back. */
Test(flow_table, settle_half_changed)
{
    for (int hidden = 0; hidden < 2; hidden++) {
        uint32_t index = claim(SESSION, SLOT);
        table.entries[index].state = FLOW_BUSY;
        table.tags[index] = hidden ? 0 : table.tags[index];
        settle(&index);
        cr_expect_eq(count_free(0), MAKE_FLOWS);
    }
}

Test(flow_table, settle_without_an_intent)
{
    uint32_t index = claim(SESSION, SLOT);

    intent = FLOW_NONE;
    settle(&index);
    intent = table.groups * FLOW_GROUP; /* damaged */
    flow_table_settle(&table, SLOT, &intent, in_use, &index);
    cr_expect_eq(find(SESSION), index);
}

Test(flow_table, entry_check)
{
    cr_expect(flow_entry_check(&(struct flow_entry){.state = FLOW_FREE}));
    cr_expect(flow_entry_check(&(struct flow_entry){.state = FLOW_ACTIVE, .tos = IMAGE_WORKERS_MAX - 1}));
    cr_expect_not(flow_entry_check(&(struct flow_entry){.state = FLOW_ACTIVE, .tos = IMAGE_WORKERS_MAX}));
    cr_expect_not(flow_entry_check(&(struct flow_entry){.state = FLOW_STATE_COUNT}));
}
