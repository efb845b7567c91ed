/*
 * The flow table as BPF maps: the words that shm/flow_table.h describes, written by the same rules.
 *
 * Whoever changes an entry does so by compare-and-swap of its first word from what was seen; a responder also
 * notes the time and a timestamp in an entry of FIN_WAIT2 or TIME_WAIT that another CPU may be releasing. So
 * such a slot is RELEASED for a moment before it is free; an entry that has expired is not touched any more,
 * and after the same moment its slot may be taken.
 */
#ifndef PENSTOCK_IO_BPF_TABLE_BPF_H
#define PENSTOCK_IO_BPF_TABLE_BPF_H

#include "core/flow.h"
#include "core/flow_hash.h"
#include "core/time_wait_counter.h"
#include "io/bpf/kernel.bpf.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* BPF functions return no structures: what does is inlined. */
#pragma clang attribute push(__attribute__((always_inline)), apply_to = function)
#include "core/time_wait.h"
#pragma clang attribute pop

enum {
    ACK_LIMITS = 4096, /* flows share a place of the limit by their hash */
    COPY_TRIES = 4,    /* more than an entry changes while it is copied */
    PUBLISHED_BYTES = 1 << 20,
    NS_PER_MS = 1000000,
    NS_PER_US = 1000,
    CONTENT_WORDS = sizeof(struct flow_entry) / sizeof(uint64_t),
};

/* Set before loading. */
const volatile uint64_t flow_seed = 0;
const volatile uint32_t flow_groups = 1;
const volatile uint32_t two_msl_ms = 60000;
const volatile uint32_t ack_limit_ms = 500;
const volatile bool sole_owner = false; /* the kernel keeps no TIME_WAIT, whose ever the socket was */

struct flow_tags {
    uint64_t buckets[FLOW_GROUP / FLOW_WAYS];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, uint32_t);
    __type(value, struct flow_tags);
} flow_tags SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, FLOW_GROUP);
    __type(key, uint32_t);
    __type(value, struct flow_entry);
} flow_entries SEC(".maps");

/* The indices of entries that were filled, where the kernel keeps a TIME_WAIT of its own until it is destroyed. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, PUBLISHED_BYTES);
} published SEC(".maps");

/* When each place of the limit last answered. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, ACK_LIMITS);
    __type(key, uint32_t);
    __type(value, uint32_t);
} ack_limits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, TIME_WAIT_COUNTERS);
    __type(key, uint32_t);
    __type(value, uint64_t);
} counters SEC(".maps");

/* A flow's key, aligned for hashing and comparing. IPv4 addresses as ::ffff:a.b.c.d; ports in host order. */
struct tuple {
    union {
        uint64_t words[4]; /* remote, local */
        uint32_t quads[8];
    };
    uint16_t local_port;
    uint16_t remote_port;
};

/* An entry, and a copy of what it was at one moment. */
struct found {
    struct flow_entry *at;
    uint32_t index;
    union {
        struct flow_entry entry;
        uint64_t words[CONTENT_WORDS];
        uint32_t head;
    };
};

/* Addresses are words[0], words[1]: an IPv4 address in its mapped form, and one of a host to itself. */
static __always_inline bool is_mapped(const uint64_t *address)
{
    return address[0] == 0 && (uint32_t)address[1] == bpf_htonl(0xffff);
}

static __always_inline bool is_loopback(const uint64_t *address)
{
    const uint8_t *last = (const uint8_t *)&address[1] + 4;

    return is_mapped(address) ? last[0] == 127 : address[0] == 0 && address[1] == bpf_cpu_to_be64(1);
}

static __always_inline void count(enum time_wait_counter which)
{
    uint32_t key = which;
    uint64_t *counter = bpf_map_lookup_elem(&counters, &key);

    if (counter != NULL) {
        ++*counter;
    }
}

static __always_inline uint32_t now_ms(void)
{
    return (uint32_t)(bpf_ktime_get_ns() / NS_PER_MS);
}

static __always_inline uint64_t hash_of(const struct tuple *tuple)
{
    return flow_hash_words(tuple->words, tuple->local_port, tuple->remote_port, flow_seed);
}

static __always_inline uint32_t *head_of(struct flow_entry *entry)
{
    return (uint32_t *)entry;
}

static __always_inline uint32_t head_make(uint8_t state, const struct flow_entry *entry)
{
    return flow_head(state, entry->flags, entry->tos, entry->window_scales);
}

/* Makes an entry BUSY if its head still is what was seen. */
static __always_inline bool seize(struct flow_entry *entry, uint32_t head)
{
    return __sync_val_compare_and_swap(head_of(entry), head, flow_head(FLOW_BUSY, 0, FLOW_PROGRAM, 0)) ==
           head;
}

static __always_inline volatile uint8_t *tag_at(uint32_t index)
{
    uint32_t group = index / FLOW_GROUP;
    uint8_t *tags = bpf_map_lookup_elem(&flow_tags, &group);

    return tags != NULL ? &tags[index % FLOW_GROUP] : NULL;
}

/* The eight tags of a bucket; all set where there is none. */
static __always_inline uint64_t tags_of(uint32_t bucket)
{
    uint32_t group = bucket / FLOW_GROUP;
    struct flow_tags *tags = bpf_map_lookup_elem(&flow_tags, &group);

    return tags != NULL ? *(volatile uint64_t *)&tags->buckets[bucket / FLOW_WAYS % 8] : ~0ull;
}

/* The highest bit of each byte that is `tag`, and perhaps of bytes above such a one: who looks closer knows. */
static __always_inline uint64_t bytes_like(uint64_t bytes, uint8_t tag)
{
    uint64_t difference = bytes ^ (tag * 0x0101010101010101ull);

    return (difference - 0x0101010101010101ull) & ~difference & 0x8080808080808080ull;
}

static __always_inline bool same_tuple(const struct found *found, const struct tuple *tuple)
{
    return found->entry.local_port == tuple->local_port && found->entry.remote_port == tuple->remote_port &&
           found->words[4] == tuple->words[0] && found->words[5] == tuple->words[1] &&
           found->words[6] == tuple->words[2] && found->words[7] == tuple->words[3];
}

/* Copies the entry, again where it changed meanwhile: it may still be the tuple's. */
static __always_inline bool copy_entry(struct found *found, struct flow_entry *entry, uint32_t index)
{
    found->at = entry;
    found->index = index;
    for (int n = 0; n < COPY_TRIES; n++) {
        uint32_t head = *(volatile uint32_t *)head_of(entry);
        for (int i = 0; i < CONTENT_WORDS; i++) {
            found->words[i] = ((volatile uint64_t *)entry)[i];
        }
        if (found->head == head && *(volatile uint32_t *)head_of(entry) == head) {
            return true;
        }
    }
    return false;
}

/* The tuple's living entry; one that has ended is not touched any more. */
static __always_inline bool find(struct found *found, const struct tuple *tuple,
                                 const struct flow_place *place, uint32_t now)
{
    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        uint32_t bucket = place->buckets[i / FLOW_WAYS];
        uint32_t index = bucket + i % FLOW_WAYS;
        if ((bytes_like(tags_of(bucket), place->tag) >> (i % FLOW_WAYS * 8) & 0x80) == 0) {
            continue;
        }
        struct flow_entry *entry = bpf_map_lookup_elem(&flow_entries, &index);
        if (entry != NULL && copy_entry(found, entry, index) && flow_state_lives(found->entry.state) &&
            same_tuple(found, tuple) && !flow_has_ended(found->head, found->entry.expire_ms, now, 0)) {
            return true;
        }
    }
    return false;
}

/* Takes the entry as it was found out of the table. False where somebody else did. */
static __always_inline bool release(const struct found *found, uint32_t now)
{
    volatile uint8_t *tag = tag_at(found->index);

    if (tag == NULL || !seize(found->at, found->head)) {
        return false;
    }
    *tag = 0;
    bool rests = found->entry.state >= FLOW_FIN_WAIT2; /* a responder may be noting something */
    if (rests) {
        *(volatile uint32_t *)&found->at->expire_ms = now + FLOW_GRACE_MS;
    }
    __sync_lock_test_and_set(head_of(found->at),
                             head_make(rests ? FLOW_RELEASED : FLOW_FREE, &(struct flow_entry){0}));
    return true;
}

/* Fills an entry that is ours, BUSY, and lets it be found. */
static __always_inline void fill(struct flow_entry *entry, volatile uint8_t *tag, const struct found *content,
                                 uint8_t tag_value)
{
    volatile uint64_t *words = (volatile uint64_t *)entry;
    volatile uint32_t *second = (volatile uint32_t *)entry + 1;

    *second = ((const uint32_t *)content->words)[1];
    for (int i = 1; i < CONTENT_WORDS; i++) {
        words[i] = content->words[i];
    }
    __sync_lock_test_and_set(head_of(entry), content->head);
    *tag = tag_value;
}

static __always_inline bool take(uint32_t index, const struct found *content, uint8_t tag_value, uint32_t now)
{
    struct flow_entry *entry = bpf_map_lookup_elem(&flow_entries, &index);
    volatile uint8_t *tag = tag_at(index);

    if (entry == NULL || tag == NULL) {
        return false;
    }
    uint32_t head = *(volatile uint32_t *)head_of(entry);
    if (!flow_is_takeable(head, *(volatile uint32_t *)&entry->expire_ms, now) || !seize(entry, head)) {
        return false;
    }
    fill(entry, tag, content, tag_value);
    return true;
}

/* Puts the entry where more room is. */
static __always_inline bool insert(const struct found *content, const struct flow_place *place, uint32_t now)
{
    uint64_t first = tags_of(place->buckets[0]);
    uint64_t second = tags_of(place->buckets[1]);
    uint32_t second_first =
        __builtin_popcountll(bytes_like(second, 0)) > __builtin_popcountll(bytes_like(first, 0));

    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        uint32_t bucket = place->buckets[(i / FLOW_WAYS ^ second_first) & 1];
        if (take(bucket + i % FLOW_WAYS, content, place->tag, now)) {
            return true;
        }
    }
    return false;
}

/* Fills the entry that the connection had while it was alive. */
static __always_inline bool replace(const struct found *old, const struct found *content, uint8_t tag_value)
{
    volatile uint8_t *tag = tag_at(old->index);

    if (tag == NULL || !seize(old->at, old->head)) {
        return false;
    }
    fill(old->at, tag, content, tag_value);
    return true;
}

/* The peer's FIN: FIN_WAIT2 becomes TIME_WAIT. False where somebody else did something to the entry. */
static __always_inline bool take_fin(struct found *found, const struct time_wait_segment *segment,
                                     uint32_t now)
{
    struct flow_entry *entry = found->at;

    if (!seize(entry, found->head)) {
        return false;
    }
    found->entry.rcv_nxt++;
    if (segment->has_timestamp) {
        found->entry.ts_recent = segment->ts_value;
    }
    *(volatile uint32_t *)&entry->rcv_nxt = found->entry.rcv_nxt;
    *(volatile uint32_t *)&entry->ts_recent = found->entry.ts_recent;
    *(volatile uint32_t *)&entry->expire_ms = now + two_msl_ms;
    __sync_lock_test_and_set(head_of(entry), head_make(FLOW_TIME_WAIT, &found->entry));
    count(COUNT_fins);
    return true;
}

/* What else a segment changes. */
static __always_inline void note(struct found *found, const struct time_wait_segment *segment,
                                 const struct time_wait_verdict *verdict, uint32_t now)
{
    const struct flow_entry *seen = &found->entry;

    if (verdict->restart) {
        __sync_val_compare_and_swap(&found->at->expire_ms, seen->expire_ms, now + two_msl_ms);
    }
    if (verdict->note_timestamp) {
        __sync_val_compare_and_swap(&found->at->ts_recent, seen->ts_recent, segment->ts_value);
    }
}

/* Whether an ACK that is limited may be sent: one in ack_limit_ms. */
static __always_inline bool may_answer(uint64_t hash, uint32_t now)
{
    uint32_t place = hash >> 44 & (ACK_LIMITS - 1);
    uint32_t *last = bpf_map_lookup_elem(&ack_limits, &place);

    if (last == NULL) {
        return false;
    }
    uint32_t seen = *(volatile uint32_t *)last;
    return (seen == 0 || now - seen >= ack_limit_ms) && __sync_val_compare_and_swap(last, seen, now) == seen;
}

#endif
