#include "core/flow.h"

#include <string.h>

/* The finaliser of MurmurHash3: every input bit changes every output bit with probability one half. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ull;
    h ^= h >> 33;
    return h;
}

uint64_t flow_hash(const struct flow_key *key, uint64_t seed)
{
    uint64_t words[4];
    uint64_t h = mix(seed ^ ((uint64_t)key->local_port << 16 | key->remote_port));

    memcpy(&words[0], key->remote, sizeof(key->remote));
    memcpy(&words[2], key->local, sizeof(key->local));
    for (int i = 0; i < 4; i++) {
        h = mix((h + 0x9e3779b97f4a7c15ull) ^ words[i]);
    }
    return h;
}

bool flow_matches(const struct flow_entry *entry, const struct flow_key *key)
{
    return entry->local_port == key->local_port && entry->remote_port == key->remote_port &&
           memcmp(entry->remote, key->remote, sizeof(key->remote)) == 0 &&
           memcmp(entry->local, key->local, sizeof(key->local)) == 0;
}

const char *flow_state_text(enum flow_state state)
{
    static const char *const texts[FLOW_STATE_COUNT] = {
        [FLOW_FREE] = "free",           [FLOW_BUSY] = "busy",           [FLOW_ACTIVE] = "active",
        [FLOW_FIN_WAIT2] = "fin_wait2", [FLOW_TIME_WAIT] = "time_wait",
    };
    return (unsigned)state < FLOW_STATE_COUNT ? texts[state] : "damaged";
}
