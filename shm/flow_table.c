#include "shm/flow_table.h"

#include <string.h>

#include "core/session.h"
#include "shm/fault_point.h"
#include "shm/snapshot.h"

/* The first word of an entry, which is claimed as a whole. */
struct head {
    uint8_t state;
    uint8_t flags;
    uint8_t tos;
    uint8_t window_scales;
};

static uint32_t head_word(struct head head)
{
    uint32_t word;
    memcpy(&word, &head, sizeof(word));
    return word;
}

static struct head get_head(const struct flow_entry *entry)
{
    uint32_t word =
        __atomic_load_n((const uint32_t *)(const void *)entry, __ATOMIC_ACQUIRE); /* pairs with set_head() */
    struct head head;
    memcpy(&head, &word, sizeof(head));
    return head;
}

static uint8_t entry_state(const struct flow_entry *entry)
{
    return get_head(entry).state;
}

static void set_head(struct flow_entry *entry, struct head head)
{
    __atomic_store_n((uint32_t *)(void *)entry, head_word(head),
                     __ATOMIC_RELEASE); /* pairs with get_head() */
}

/* The words behind the head. Written and read one by one, relaxed: a lookup may read an entry while it is claimed
 * anew, and tells so by the state before and after. */
enum { ENTRY_WORDS = sizeof(struct flow_entry) / sizeof(uint32_t) };

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
    bool shared = region->flow_maps[0] != NULL;

    *table = (struct flow_table){
        .tags = shared ? region->flow_maps[0] : region_row(region, TABLE_FLOW_TAGS, 0),
        .entries = shared ? (struct flow_entry *)(void *)region->flow_maps[1]
                          : region_row(region, TABLE_FLOW_ENTRIES, 0),
        .groups = region->header->flow_groups,
        .seed = region->header->flow_seed,
    };
}

/* What is about to change, for whoever adopts this slot. */
static void note_intent(uint32_t *intent, uint32_t index)
{
    __atomic_store_n(intent, index, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* before the change itself */
    FAULT_POINT(FLOW_INTENT);
}

static bool claim_slot(struct flow_table *table, uint32_t index, uint32_t slot, uint32_t *intent)
{
    uint32_t expected = head_word((struct head){.state = FLOW_FREE});
    uint32_t busy = head_word((struct head){.state = FLOW_BUSY, .tos = (uint8_t)slot});

    if (get_tag(table, index) != 0 || entry_state(&table->entries[index]) != FLOW_FREE) {
        return false;
    }
    note_intent(intent, index);
    return __atomic_compare_exchange_n((uint32_t *)(void *)&table->entries[index], &expected, busy, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

uint32_t flow_table_claim(struct flow_table *table, const struct flow_key *key, uint32_t slot,
                          uint32_t session_index, uint32_t *intent)
{
    struct flow_place place = place_of(table, key);
    bool second_first = room_in(table, place.buckets[1]) > room_in(table, place.buckets[0]);
    struct flow_entry content = {
        .local_port = key->local_port,
        .remote_port = key->remote_port,
        .session_index = session_index,
    };

    memcpy(content.remote, key->remote, sizeof(content.remote));
    memcpy(content.local, key->local, sizeof(content.local));
    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        uint32_t bucket = place.buckets[(i / FLOW_WAYS) ^ second_first];
        uint32_t index = bucket + i % FLOW_WAYS;
        if (!claim_slot(table, index, slot, intent)) {
            continue;
        }
        struct flow_entry *entry = &table->entries[index];
        FAULT_POINT(FLOW_CLAIMED);
        set_content(entry, &content);
        set_head(entry, (struct head){.state = FLOW_ACTIVE, .tos = (uint8_t)slot});
        FAULT_POINT(FLOW_ACTIVE);
        set_tag(table, index, place.tag);
        return index;
    }
    return FLOW_NONE;
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
        uint8_t state = entry_state(entry);
        struct flow_entry content = get_content(entry);
        if (flow_state_lives(state) && flow_matches(&content, key) && entry_state(entry) == state) {
            return index;
        }
    }
    return FLOW_NONE;
}

void flow_table_release(struct flow_table *table, uint32_t index)
{
    set_tag(table, index, 0);
    FAULT_POINT(FLOW_HIDDEN);
    set_head(&table->entries[index], (struct head){.state = FLOW_FREE});
}

void flow_table_time_wait(struct flow_table *table, uint32_t index, uint64_t now_ms, uint32_t *intent)
{
    struct flow_entry *entry = &table->entries[index];

    note_intent(intent, index);
    __atomic_store_n(&entry->expire_ms, (uint32_t)now_ms + FLOW_TWO_MSL_MS,
                     __ATOMIC_RELAXED); /* before set_head */
    FAULT_POINT(FLOW_EXPIRING);
    set_head(entry, (struct head){.state = FLOW_TIME_WAIT});
}

bool flow_table_owned(const struct flow_table *table, uint32_t index, uint32_t slot, uint32_t session_index)
{
    if (index >= table->groups * FLOW_GROUP) {
        return false;
    }
    struct head head = get_head(&table->entries[index]);
    return head.state == FLOW_ACTIVE && head.tos == slot &&
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
    const struct flow_entry *entry = &table->entries[index];
    struct head head = get_head(entry);
    bool mine = (head.state == FLOW_BUSY || head.state == FLOW_ACTIVE) && head.tos == slot;
    bool half_swept = head.state == FLOW_TIME_WAIT && get_tag(table, index) == 0;
    bool unused = mine && (head.state == FLOW_BUSY || !in_use(context, entry->session_index, index));
    if (unused || half_swept) {
        flow_table_release(table, index);
    }
    FAULT_POINT(FLOW_SETTLED);
    *intent = FLOW_NONE;
}

uint32_t flow_table_sweep(struct flow_table *table, uint32_t *cursor, uint32_t stride, uint32_t groups,
                          uint64_t now_ms, uint32_t *intent)
{
    uint32_t freed = 0;

    for (uint32_t n = 0; n < groups && table->groups > 0; n++) {
        if (*cursor >= table->groups) {
            *cursor %= stride; /* a cursor keeps its remainder: back to the first of its groups */
            if (*cursor >= table->groups) {
                break;
            }
        }
        for (uint32_t i = 0; i < FLOW_GROUP; i++) {
            uint32_t index = *cursor * FLOW_GROUP + i;
            const struct flow_entry *entry = &table->entries[index];
            if (get_tag(table, index) == 0 || entry_state(entry) != FLOW_TIME_WAIT) {
                continue;
            }
            uint32_t expire_ms = __atomic_load_n(&entry->expire_ms, __ATOMIC_RELAXED);
            if ((int32_t)((uint32_t)now_ms - expire_ms) >= 0) {
                note_intent(intent, index);
                flow_table_release(table, index);
                freed++;
            }
        }
        *cursor += stride;
    }
    return freed;
}

/* Whether the bucket that begins at `index` has no tag. */
static bool bucket_is_empty(const struct flow_table *table, uint32_t index)
{
    return __atomic_load_n((const uint64_t *)(const void *)&table->tags[index], __ATOMIC_RELAXED) == 0;
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
