#include "tests/e2e/harness_owned.h"

#include <arpa/inet.h>
#include <string.h>

#include "core/session.h"
#include "tests/e2e/harness.h"

struct owned owned;

struct time_wait_shape owned_shape(void)
{
    return (struct time_wait_shape){
        .groups = 64, .seed = 42, .two_msl_ms = 60000, .ack_limit_ms = 0, .sole_owner = true};
}

void owned_load(const struct time_wait_shape *shape)
{
    char why[TIME_WAIT_WHY_MAX];

    owned.shape = *shape;
    owned.time_wait = time_wait_create(shape, why);
    if (owned.time_wait == NULL) {
        cr_skip("%s", why);
    }
    time_wait_table(owned.time_wait, &owned.table);
    owned.sweep = (struct flow_sweep){0};
    owned.table.sweep = &owned.sweep;
    owned.table.owned = true;
    owned.table.two_msl_ms = shape->two_msl_ms;
}

void owned_begin(const struct time_wait_shape *shape)
{
    owned_load(shape);
    cr_assert_eq(time_wait_publish(owned.time_wait, lab_cgroup()), 0);
    cr_assert_eq(time_wait_answer(owned.time_wait, LAB_INTERFACE), 0);
    if (shape->sole_owner) {
        lab_sysctl("net/ipv4/tcp_max_tw_buckets", 0);
    }
    lab_enter_cgroup(true);
}

void owned_end(void)
{
    lab_enter_cgroup(false);
    time_wait_destroy(owned.time_wait);
    owned.time_wait = NULL;
}

struct flow_key owned_key(const struct lab_peer *peer)
{
    struct flow_key key = {
        .local_port = peer->server_port,
        .remote_port = peer->port,
        .remote[10] = 0xff,
        .remote[11] = 0xff,
        .local[10] = 0xff,
        .local[11] = 0xff,
    };

    if (peer->ipv6) {
        inet_pton(AF_INET6, LAB_PEER6, key.remote);
        inet_pton(AF_INET6, LAB_SERVER6, key.local);
    } else {
        inet_pton(AF_INET, LAB_PEER, key.remote + 12);
        inet_pton(AF_INET, LAB_SERVER, key.local + 12);
    }
    return key;
}

struct flow_entry owned_entry(const struct lab_peer *peer)
{
    struct flow_key key = owned_key(peer);
    uint32_t index = flow_table_find(&owned.table, &key);

    return index != FLOW_NONE ? owned.table.entries[index] : (struct flow_entry){.state = FLOW_FREE};
}

uint32_t owned_claim(const struct flow_key *key)
{
    uint32_t intent = FLOW_NONE;
    uint32_t index = flow_table_claim(&owned.table, key, OWNED_SLOT, OWNED_SESSION, bed_now_ms(), &intent);

    cr_assert_neq(index, FLOW_NONE);
    return index;
}

uint32_t owned_count_entries(void)
{
    struct flow_walk walk = {0};
    struct flow_entry entry;
    uint32_t count = 0;

    while (flow_walk_next(&walk, &owned.table, &entry)) {
        count++;
    }
    return count;
}

struct time_wait_counters owned_counters(void)
{
    struct time_wait_counters counters;

    time_wait_count(owned.time_wait, &counters);
    return counters;
}
