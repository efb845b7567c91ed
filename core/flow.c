#include "core/flow.h"

#include <string.h>

#include "core/flow_hash.h"

uint64_t flow_hash(const struct flow_key *key, uint64_t seed)
{
    uint64_t addresses[4];

    memcpy(&addresses[0], key->remote, sizeof(key->remote));
    memcpy(&addresses[2], key->local, sizeof(key->local));
    return flow_hash_words(addresses, key->local_port, key->remote_port, seed);
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
        [FLOW_FREE] = "free",         [FLOW_BUSY] = "busy",           [FLOW_ACTIVE] = "active",
        [FLOW_ORPHANED] = "orphaned", [FLOW_FIN_WAIT2] = "fin_wait2", [FLOW_TIME_WAIT] = "time_wait",
        [FLOW_RELEASED] = "released",
    };
    return (unsigned)state < FLOW_STATE_COUNT ? texts[state] : "damaged";
}
