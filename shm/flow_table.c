#include "shm/flow_table.h"

#include <string.h>

#include "core/session.h"
#include "shm/fault_point.h"
#include "shm/snapshot.h"

static uint32_t *head_of(const struct flow_entry *entry)
{
    return (uint32_t *)(uintptr_t)entry;
}

static uint32_t get_head(const struct flow_entry *entry)
{
    return __atomic_load_n(head_of(entry), __ATOMIC_ACQUIRE); /* pairs with set_head() */
}

static uint8_t entry_state(const struct flow_entry *entry)
{
    return flow_head_state(get_head(entry));
}

static void set_head(struct flow_entry *entry, uint32_t head)
{
    __atomic_store_n(head_of(entry), head, __ATOMIC_RELEASE); /* pairs with get_head() */
}

/* Whoever wins changes the entry; pairs with set_head() of who had it before. */
static bool swap_head(struct flow_entry *entry, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(head_of(entry), &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static uint32_t head_active(const struct flow_table *table, uint32_t slot)
{
    return flow_head(FLOW_ACTIVE, table->mark, (uint8_t)slot, 0);
}

static uint32_t head_busy(const struct flow_table *table, uint32_t slot)
{
    return flow_head(FLOW_BUSY, table->mark, (uint8_t)slot, 0);
}

static uint32_t get_expire(const struct flow_entry *entry)
{
    return __atomic_load_n(&entry->expire_ms, __ATOMIC_RELAXED);
}

static void set_expire(struct flow_entry *entry, uint32_t expire_ms)
{
    __atomic_store_n(&entry->expire_ms, expire_ms, __ATOMIC_RELAXED); /* before set_head() */
}

/* The words behind the head. Written and read one by one, relaxed: a lookup may read an entry while it is claimed
 * anew, and tells so by the state before and after. */
enum { ENTRY_WORDS = sizeof(struct flow_entry) / sizeof(uint32_t) };

enum { LOOKS_MAX = FLOW_STATE_COUNT }; /* more than the changes of an entry while one looks at it */

static void set_content(struct flow_entry *entry, const struct flow_entry *content)
{
    uint32_t words[ENTRY_WORDS];

    memcpy(words, content, sizeof(words));
    for (int i = 1; i < ENTRY_WORDS; i++) {
        __atomic_store_n((uint32_t *)(void *)entry + i, words[i], __ATOMIC_RELAXED);
    }
}

static struct flow_entry get_content(const struct flow_entry *entry)
{
    uint32_t words[ENTRY_WORDS] = {0};
    struct flow_entry content;

    for (int i = 1; i < ENTRY_WORDS; i++) {
        words[i] = __atomic_load_n((const uint32_t *)(const void *)entry + i, __ATOMIC_RELAXED);
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the content before the second look at the state */
    memcpy(&content, words, sizeof(content));
    return content;
}

static void set_tag(struct flow_table *table, uint32_t index, uint8_t tag)
{
    __atomic_store_n(&table->tags[index], tag, __ATOMIC_RELEASE); /* pairs with get_tag() */
}

static uint8_t get_tag(const struct flow_table *table, uint32_t index)
{
    return __atomic_load_n(&table->tags[index], __ATOMIC_ACQUIRE); /* pairs with set_tag() */
}

static struct flow_place place_of(const struct flow_table *table, const struct flow_key *key)
{
    return flow_place_of(flow_hash(key, table->seed), table->groups);
}

static uint32_t room_in(const struct flow_table *table, uint32_t bucket)
{
    uint32_t room = 0;

    for (uint32_t i = 0; i < FLOW_WAYS; i++) {
        room += get_tag(table, bucket + i) == 0;
    }
    return room;
}

void flow_table_open(struct flow_table *table, const struct region *region)
{
    const struct region_header *header = region->header;
    bool owned = region->flow_maps[0] != NULL;

    *table = (struct flow_table){
        .tags = owned ? region->flow_maps[0] : region_row(region, TABLE_FLOW_TAGS, 0),
        .entries = owned ? (struct flow_entry *)(void *)region->flow_maps[1]
                         : region_row(region, TABLE_FLOW_ENTRIES, 0),
        .sweep = region_row(region, TABLE_FLOW_SWEEP, 0),
        .groups = header->flow_groups,
        .two_msl_ms = owned ? header->time_wait.two_msl_ms : FLOW_TWO_MSL_MS,
        .seed = header->flow_seed,
        .owned = owned,
        .mark = (uint8_t)header->flow_mark,
    };
}

/* What is about to change, for whoever adopts this slot. */
static void note_intent(uint32_t *intent, uint32_t index)
{
    __atomic_store_n(intent, index, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* before the change itself */
    FAULT_POINT(FLOW_INTENT);
}

/* Makes an entry BUSY for `slot`, if its head still is what was seen. */
static bool seize(struct flow_table *table, uint32_t index, uint32_t head, uint32_t slot, uint32_t *intent)
{
    note_intent(intent, index);
    return swap_head(&table->entries[index], head, head_busy(table, slot));
}

/* A BUSY entry is given back. It was of a connection that lived, so no program writes to it but by swapping
 * its head. */
static void give_back(struct flow_table *table, uint32_t index)
{
    set_tag(table, index, 0);
    FAULT_POINT(FLOW_HIDDEN);
    set_head(&table->entries[index], flow_head(FLOW_FREE, 0, 0, 0));
}

static bool claim_slot(struct flow_table *table, uint32_t index, uint32_t slot, uint64_t now_ms,
                       uint32_t *intent)
{
    struct flow_entry *entry = &table->entries[index];
    uint32_t head = get_head(entry);

    if (!flow_is_takeable(head, get_expire(entry), (uint32_t)now_ms) ||
        !seize(table, index, head, slot, intent)) {
        return false;
    }
    /* Another may have had it since that look, and left it with the same head and a later end. */
    if (!flow_is_takeable(head, get_expire(entry), (uint32_t)now_ms)) {
        set_head(entry, head);
        return false;
    }
    FAULT_POINT(FLOW_CLAIMED);
    return true;
}

/* Those without a tag first: of the others only the entry itself knows whether it has ended. */
static uint32_t claim_way(struct flow_table *table, const struct flow_place *place, uint32_t slot,
                          uint64_t now_ms, uint32_t *intent)
{
    bool second_first = room_in(table, place->buckets[1]) > room_in(table, place->buckets[0]);

    for (uint32_t i = 0; i < 4 * FLOW_WAYS; i++) {
        bool tagged = i >= 2 * FLOW_WAYS;
        uint32_t index = place->buckets[(i / FLOW_WAYS % 2) ^ second_first] + i % FLOW_WAYS;
        if ((get_tag(table, index) != 0) == tagged && claim_slot(table, index, slot, now_ms, intent)) {
            return index;
        }
    }
    return FLOW_NONE;
}

/* Looks again where the entry changed meanwhile: it may still be the tuple's. */
static bool is_of(const struct flow_entry *entry, const struct flow_key *key)
{
    uint8_t state = entry_state(entry);

    for (int n = 0; n < LOOKS_MAX && flow_state_lives(state); n++) {
        struct flow_entry content = get_content(entry);
        uint8_t before = state;
        state = entry_state(entry);
        if (state == before) {
            return flow_matches(&content, key);
        }
    }
    return false;
}

uint32_t flow_table_find(const struct flow_table *table, const struct flow_key *key)
{
    struct flow_place place = place_of(table, key);

    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        uint32_t index = place.buckets[i / FLOW_WAYS] + i % FLOW_WAYS;
        const struct flow_entry *entry = &table->entries[index];
        if (get_tag(table, index) != place.tag) {
            continue;
        }
        if (is_of(entry, key)) {
            return index;
        }
    }
    return FLOW_NONE;
}

/* The kernel connects the tuple again: its TIME_WAIT is over, and the entry with it. In a table that owns TIME_WAIT the
 * programs have released it. */
static uint32_t claim_again(struct flow_table *table, const struct flow_key *key, uint32_t slot,
                            uint32_t *intent)
{
    uint32_t index = table->owned ? FLOW_NONE : flow_table_find(table, key);

    if (index == FLOW_NONE) {
        return FLOW_NONE;
    }
    struct flow_entry *entry = &table->entries[index];
    uint32_t head = get_head(entry);
    if (flow_head_state(head) != FLOW_TIME_WAIT || !seize(table, index, head, slot, intent)) {
        return FLOW_NONE;
    }
    struct flow_entry content = get_content(entry);
    if (!flow_matches(&content, key)) { /* as in claim_slot() */
        set_head(entry, head);
        return FLOW_NONE;
    }
    FAULT_POINT(FLOW_CLAIMED);
    return index;
}

uint32_t flow_table_claim(struct flow_table *table, const struct flow_key *key, uint32_t slot,
                          uint32_t session_index, uint64_t now_ms, uint32_t *intent)
{
    struct flow_place place = place_of(table, key);
    uint32_t index = claim_again(table, key, slot, intent);
    struct flow_entry content = {
        .local_port = key->local_port,
        .remote_port = key->remote_port,
        .session_index = session_index,
    };

    if (index == FLOW_NONE) {
        index = claim_way(table, &place, slot, now_ms, intent);
    }
    if (index == FLOW_NONE) {
        return FLOW_NONE;
    }
    memcpy(content.remote, key->remote, sizeof(content.remote));
    memcpy(content.local, key->local, sizeof(content.local));
    set_content(&table->entries[index], &content);
    set_head(&table->entries[index], head_active(table, slot));
    FAULT_POINT(FLOW_ACTIVE);
    set_tag(table, index, place.tag);
    return index;
}

uint32_t flow_table_copy(const struct flow_table *table, const struct flow_key *key,
                         struct flow_entry entries[2 * FLOW_WAYS])
{
    struct flow_place place = place_of(table, key);
    uint32_t count = 0;

    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        uint32_t index = place.buckets[i / FLOW_WAYS] + i % FLOW_WAYS;
        struct flow_entry *copy = &entries[count];
        count += get_tag(table, index) == place.tag &&
                 snapshot_read(copy, &table->entries[index], sizeof(*copy)) &&
                 flow_state_lives(copy->state) && flow_matches(copy, key);
    }
    return count;
}

bool flow_table_key(const struct flow_table *table, uint32_t index, struct flow_key *key)
{
    struct flow_entry copy;

    if (index >= table->groups * FLOW_GROUP || get_tag(table, index) == 0 ||
        !snapshot_read(&copy, &table->entries[index], sizeof(copy)) ||
        (copy.state != FLOW_FIN_WAIT2 && copy.state != FLOW_TIME_WAIT)) {
        return false;
    }
    *key = (struct flow_key){.local_port = copy.local_port, .remote_port = copy.remote_port};
    memcpy(key->remote, copy.remote, sizeof(key->remote));
    memcpy(key->local, copy.local, sizeof(key->local));
    return true;
}

void flow_table_release(struct flow_table *table, uint32_t index, uint32_t slot, uint32_t *intent)
{
    if (seize(table, index, head_active(table, slot), slot, intent)) {
        FAULT_POINT(FLOW_SEIZED);
        give_back(table, index);
    }
}

void flow_table_orphan(struct flow_table *table, uint32_t index, uint32_t slot, uint64_t now_ms)
{
    (void)swap_head(&table->entries[index], head_active(table, slot), flow_head_orphaned((uint32_t)now_ms));
}

void flow_table_time_wait(struct flow_table *table, uint32_t index, uint32_t slot, uint64_t now_ms,
                          uint32_t *intent)
{
    struct flow_entry *entry = &table->entries[index];

    if (seize(table, index, head_active(table, slot), slot, intent)) {
        set_expire(entry, (uint32_t)now_ms + table->two_msl_ms);
        FAULT_POINT(FLOW_EXPIRING);
        set_head(entry, flow_head(FLOW_TIME_WAIT, 0, 0, 0));
    }
}

bool flow_table_owned(const struct flow_table *table, uint32_t index, uint32_t slot, uint32_t session_index)
{
    return index < table->groups * FLOW_GROUP &&
           get_head(&table->entries[index]) == head_active(table, slot) &&
           __atomic_load_n(&table->entries[index].session_index, __ATOMIC_RELAXED) == session_index;
}

void flow_table_settle(struct flow_table *table, uint32_t slot, uint32_t *intent,
                       bool (*in_use)(const void *context, uint32_t session_index, uint32_t index),
                       const void *context)
{
    uint32_t index = *intent;

    if (index >= table->groups * FLOW_GROUP) {
        return;
    }
    struct flow_entry *entry = &table->entries[index];
    uint32_t head = get_head(entry);
    uint32_t session_index = __atomic_load_n(&entry->session_index, __ATOMIC_RELAXED);
    bool unused = head == head_active(table, slot) && !in_use(context, session_index, index);
    /* Of an ACTIVE one the publisher may have made something meanwhile. */
    if (head == head_busy(table, slot) || (unused && swap_head(entry, head, head_busy(table, slot)))) {
        give_back(table, index);
    }
    FAULT_POINT(FLOW_SETTLED);
    *intent = FLOW_NONE;
}

void flow_table_disown(struct flow_table *table, uint64_t now_ms)
{
    for (uint32_t index = 0; index < table->groups * FLOW_GROUP; index++) {
        struct flow_entry *entry = &table->entries[index];
        uint32_t head = get_head(entry);
        uint8_t owner = (uint8_t)(head >> 16);
        if (flow_head_state(head) == FLOW_ACTIVE) {
            (void)swap_head(entry, head, flow_head_orphaned((uint32_t)now_ms));
        } else if (flow_head_state(head) == FLOW_BUSY && owner != FLOW_PROGRAM) {
            give_back(table, index);
        }
    }
}

/* --- Sweeping --- */

enum {
    SWEEP_WORK = 8192,   /* groups and entries looked at in one go: less than a millisecond */
    SWEEP_BEHIND_MS = 5, /* and soon again where that was not enough */
    LEASE_SHIFT = 8,
};

static uint64_t sweep_get(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void sweep_set(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* Takes the lease, or prolongs it. Two that sweep at once, since one of them hung, do no harm. */
static bool take_lease(struct flow_sweep *sweep, uint32_t slot, uint64_t now_ms)
{
    uint64_t lease = sweep_get(&sweep->lease);
    uint64_t until_ms = lease >> LEASE_SHIFT;
    bool others = (lease & ((1u << LEASE_SHIFT) - 1)) != slot;

    if (others && until_ms > now_ms && until_ms <= now_ms + FLOW_SWEEP_LEASE_MS) { /* later: damaged */
        return false;
    }
    return __atomic_compare_exchange_n(&sweep->lease, &lease,
                                       (now_ms + FLOW_SWEEP_LEASE_MS) << LEASE_SHIFT | slot, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* Whether the bucket that begins at `index` has no tag. */
static bool bucket_is_empty(const struct flow_table *table, uint32_t index)
{
    return __atomic_load_n((const uint64_t *)(const void *)&table->tags[index], __ATOMIC_RELAXED) == 0;
}

/* Frees the entry if its time is over, for so long that no program holds it. */
static bool sweep_entry(struct flow_table *table, uint32_t index, uint32_t slot, uint64_t now_ms,
                        uint32_t *intent)
{
    struct flow_entry *entry = &table->entries[index];
    uint32_t head = get_head(entry);
    int32_t grace_ms = table->owned ? FLOW_GRACE_MS : 0;

    if (!flow_has_ended(head, get_expire(entry), (uint32_t)now_ms, grace_ms) ||
        !seize(table, index, head, slot, intent)) {
        return false;
    }
    if (!flow_has_ended(head, get_expire(entry), (uint32_t)now_ms, grace_ms)) { /* as in claim_slot() */
        set_head(entry, head);
        return false;
    }
    give_back(table, index);
    return true;
}

/* Returns how much work that was. */
static uint32_t sweep_group(struct flow_table *table, uint32_t group, uint32_t slot, uint64_t now_ms,
                            uint32_t *intent)
{
    uint32_t work = 1;
    uint32_t freed = 0;

    for (uint32_t i = 0; i < FLOW_GROUP; i++) {
        uint32_t index = group * FLOW_GROUP + i;
        if (i % FLOW_WAYS == 0 && bucket_is_empty(table, index)) {
            i += FLOW_WAYS - 1;
        } else if (get_tag(table, index) != 0) {
            work++;
            freed += sweep_entry(table, index, slot, now_ms, intent);
        }
    }
    if (freed > 0) {
        (void)__atomic_fetch_add(&table->sweep->freed, freed, __ATOMIC_RELAXED);
    }
    return work;
}

static void end_round(struct flow_sweep *sweep, uint64_t now_ms)
{
    uint64_t took_ms = now_ms - sweep_get(&sweep->round_since_ms);

    __atomic_store_n(&sweep->round_ms, (uint32_t)took_ms, __ATOMIC_RELAXED);
    sweep_set(&sweep->rounds, sweep_get(&sweep->rounds) + 1);
    sweep_set(&sweep->round_since_ms, now_ms);
}

/* Up to which group a round should have come. */
static uint32_t due_groups(const struct flow_table *table, uint32_t round_ms, uint64_t now_ms)
{
    uint64_t since_ms = sweep_get(&table->sweep->round_since_ms);

    if (since_ms == 0 || since_ms > now_ms) { /* the first, or damaged */
        sweep_set(&table->sweep->round_since_ms, now_ms);
        return 0;
    }
    uint64_t elapsed_ms = now_ms - since_ms;
    return elapsed_ms < round_ms ? (uint32_t)(table->groups * elapsed_ms / round_ms) : table->groups;
}

uint32_t flow_table_sweep(struct flow_table *table, uint32_t slot, uint64_t now_ms, uint32_t *intent)
{
    struct flow_sweep *sweep = table->sweep;
    uint32_t round_ms = table->two_msl_ms / FLOW_SWEEP_ROUNDS + 1;
    uint32_t work = 0;

    if (table->groups == 0 || !take_lease(sweep, slot, now_ms)) {
        return FLOW_SWEEP_EVERY_MS;
    }
    FAULT_POINT(SWEEP_LEASED);
    uint32_t due = due_groups(table, round_ms, now_ms);
    uint32_t cursor = __atomic_load_n(&sweep->cursor, __ATOMIC_RELAXED);
    while (cursor < due && work < SWEEP_WORK) {
        work += sweep_group(table, cursor++, slot, now_ms, intent);
    }
    bool behind = cursor < due;
    if (cursor >= table->groups) {
        end_round(sweep, now_ms);
        cursor = 0;
    }
    __atomic_store_n(&sweep->cursor, cursor, __ATOMIC_RELAXED);
    if (behind) {
        return SWEEP_BEHIND_MS;
    }
    return round_ms < FLOW_SWEEP_EVERY_MS ? round_ms : FLOW_SWEEP_EVERY_MS;
}

bool flow_walk_next(struct flow_walk *walk, const struct flow_table *table, struct flow_entry *copy)
{
    while (walk->next < table->groups * FLOW_GROUP) {
        if (walk->next % FLOW_WAYS == 0 && bucket_is_empty(table, walk->next)) {
            walk->next += FLOW_WAYS;
            continue;
        }
        uint32_t index = walk->next++;
        if (get_tag(table, index) != 0 && snapshot_read(copy, &table->entries[index], sizeof(*copy)) &&
            flow_state_lives(copy->state)) {
            return true;
        }
    }
    return false;
}

bool flow_entry_check(const struct flow_entry *entry)
{
    return entry->state < FLOW_STATE_COUNT && (entry->state != FLOW_ACTIVE || entry->tos < IMAGE_WORKERS_MAX);
}
