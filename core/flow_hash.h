/*
 * Where a tuple stands in the flow table. Header only: user space and the BPF programs of io/bpf work on one table.
 */
#ifndef PENSTOCK_CORE_FLOW_HASH_H
#define PENSTOCK_CORE_FLOW_HASH_H

#include <stdint.h>

enum {
    FLOW_GROUP = 64, /* entries whose tags share a cache line */
    FLOW_WAYS = 8,   /* entries of a bucket */
};

/* The finaliser of MurmurHash3: every input bit changes every output bit with probability one half. */
static inline uint64_t flow_mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ull;
    h ^= h >> 33;
    return h;
}

/* `addresses`: the remote one, then the local one, as they stand in an entry. `seed` keeps an attacker from choosing
 * buckets. */
static inline uint64_t flow_hash_words(const uint64_t addresses[4], uint16_t local_port, uint16_t remote_port,
                                       uint64_t seed)
{
    uint64_t h = flow_mix(seed ^ ((uint64_t)local_port << 16 | remote_port));

    for (int i = 0; i < 4; i++) {
        h = flow_mix((h + 0x9e3779b97f4a7c15ull) ^ addresses[i]);
    }
    return h;
}

/* A group, and the first slot of each of the tuple's two buckets. */
struct flow_place {
    uint32_t buckets[2];
    uint8_t tag; /* never 0 */
};

static inline struct flow_place flow_place_of(uint64_t hash, uint32_t groups)
{
    uint32_t group = (uint32_t)(((hash & 0xffffffffu) * groups) >> 32);
    uint32_t first = (hash >> 32) % 8;
    uint32_t second = (first + 1 + (hash >> 35) % 7) % 8;
    uint8_t tag = (uint8_t)(hash >> 56);

    return (struct flow_place){
        .buckets = {group * FLOW_GROUP + first * FLOW_WAYS, group * FLOW_GROUP + second * FLOW_WAYS},
        .tag = tag != 0 ? tag : 1,
    };
}

#endif
