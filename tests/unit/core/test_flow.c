/* The flow entry: its hash spreads, its tuple is compared in every byte, its layout is what it is. */
#include "core/flow.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

TestSuite(flow);

static struct flow_key key_make(uint32_t address, uint16_t port)
{
    struct flow_key key = {.local_port = 443, .remote_port = port, .remote[10] = 0xff, .remote[11] = 0xff};

    for (int i = 0; i < 4; i++) {
        key.remote[12 + i] = (uint8_t)(address >> (24 - 8 * i));
    }
    key.local[15] = 1;
    return key;
}

Test(flow, layout_is_as_drawn)
{
    cr_expect_eq(offsetof(struct flow_entry, local_port), 4);
    cr_expect_eq(offsetof(struct flow_entry, expire_ms), 8);
    cr_expect_eq(offsetof(struct flow_entry, session_index), 8);
    cr_expect_eq(offsetof(struct flow_entry, rcv_nxt), 12);
    cr_expect_eq(offsetof(struct flow_entry, ts_offset), 24);
    cr_expect_eq(offsetof(struct flow_entry, window), 28);
    cr_expect_eq(offsetof(struct flow_entry, remote), 32);
    cr_expect_eq(offsetof(struct flow_entry, local), 48);
}

/* Chi squared over the buckets that hash bits name, for tuples as near to each other as real ones are. With 255
 * degrees of freedom the mean is 255 and the deviation 22.6: within five deviations. */
static void expect_even(unsigned shift)
{
    enum { BUCKETS = 256, KEYS = 65536 };
    uint32_t counts[BUCKETS] = {0};
    double chi = 0;

    for (uint32_t i = 0; i < KEYS; i++) {
        struct flow_key key = key_make(0x0a000000 + i % 16, (uint16_t)(i / 16 + 1024));
        counts[flow_hash(&key, 42) >> shift & (BUCKETS - 1)]++;
    }
    for (int i = 0; i < BUCKETS; i++) {
        double off = counts[i] - (double)KEYS / BUCKETS;
        chi += off * off / ((double)KEYS / BUCKETS);
    }
    cr_expect_lt(chi, 255 + 5 * 22.6, "bits from %u: %f", shift, chi);
    cr_expect_gt(chi, 255 - 5 * 22.6, "bits from %u: %f", shift, chi);
}

Test(flow, hash_spreads_near_tuples_over_all_buckets)
{
    for (unsigned shift = 0; shift <= 56; shift += 8) {
        expect_even(shift);
    }
}

Test(flow, hash_depends_on_every_byte_and_on_the_seed)
{
    struct flow_key key = key_make(0x01020304, 5555);
    uint64_t hash = flow_hash(&key, 1);

    cr_expect_eq(flow_hash(&key, 1), hash);
    cr_expect_neq(flow_hash(&key, 2), hash);
    for (size_t i = 0; i < sizeof(key); i++) {
        struct flow_key other = key;
        ((uint8_t *)&other)[i] ^= 0x10;
        cr_expect_neq(flow_hash(&other, 1), hash, "byte %zu", i);
    }
}

Test(flow, hash_tells_the_two_ends_apart)
{
    struct flow_key key = key_make(0x01020304, 5555);
    struct flow_key swapped = {.local_port = key.remote_port, .remote_port = key.local_port};

    memcpy(swapped.remote, key.local, sizeof(key.local));
    memcpy(swapped.local, key.remote, sizeof(key.remote));
    cr_expect_neq(flow_hash(&key, 1), flow_hash(&swapped, 1));
}

Test(flow, matches_compares_the_whole_tuple_and_nothing_else)
{
    struct flow_key key = key_make(0xc0000201, 1234);
    struct flow_entry entry = {.local_port = key.local_port, .remote_port = key.remote_port};

    memcpy(entry.remote, key.remote, sizeof(key.remote));
    memcpy(entry.local, key.local, sizeof(key.local));
    cr_expect(flow_matches(&entry, &key));
    for (size_t i = 0; i < sizeof(entry); i++) {
        struct flow_entry other = entry;
        bool in_tuple = (i >= 4 && i < 8) || i >= 32;
        ((uint8_t *)&other)[i] ^= 0x10;
        cr_expect_eq(flow_matches(&other, &key), !in_tuple, "byte %zu", i);
    }
}

Test(flow, state_texts)
{
    cr_expect_str_eq(flow_state_text(FLOW_FREE), "free");
    cr_expect_str_eq(flow_state_text(FLOW_TIME_WAIT), "time_wait");
    cr_expect_str_eq(flow_state_text((enum flow_state)200), "damaged");
}
