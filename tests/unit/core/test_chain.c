/* Chains of buffers: single operations, what the check refuses, and a random walk beside a plain queue of bytes. */
#include "core/chain.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "bench/rng.h"

enum {
    LARGE = 12,
    BUFFERS = 40,
    MODEL_BYTES = LARGE * BUFFER_LARGE_BYTES + (BUFFERS - LARGE) * BUFFER_SMALL_BYTES
};

static struct buffer_record records[BUFFERS];
static const struct buffer_table table = {.records = records, .large_count = LARGE, .count = BUFFERS};
static struct conn conn;

static void setup(void)
{
    memset(records, 0xee, sizeof(records));
    conn = (struct conn){.chain_head = BUFFER_NONE, .chain_tail = BUFFER_NONE};
}

TestSuite(chain, .init = setup);

Test(chain, empty)
{
    cr_expect(chain_check(&conn, &table));
    cr_expect_eq(chain_clear(&conn, &table).count, 0);
    cr_expect_eq(chain_consume(&conn, &table, 0).count, 0);
    cr_expect(chain_check(&conn, &table));
}

Test(chain, append_counts_bytes_and_capacity)
{
    chain_append(&conn, &table, 3, 100);
    chain_append(&conn, &table, LARGE, BUFFER_SMALL_BYTES);
    cr_expect_eq(conn.queued_bytes, 100 + BUFFER_SMALL_BYTES);
    cr_expect_eq(conn.held_bytes, BUFFER_LARGE_BYTES + BUFFER_SMALL_BYTES);
    cr_expect_eq(conn.chain_head, 3);
    cr_expect_eq(conn.chain_tail, LARGE);
    cr_expect(chain_check(&conn, &table));
}

Test(chain, consume_releases_what_it_empties)
{
    chain_append(&conn, &table, 1, 100);
    chain_append(&conn, &table, 2, 100);
    chain_append(&conn, &table, 0, 100);
    cr_expect_eq(chain_consume(&conn, &table, 99).count, 0);
    cr_expect_eq(conn.chain_offset, 99);
    struct buffer_list released = chain_consume(&conn, &table, 102);
    cr_expect_eq(released.first, 1);
    cr_expect_eq(released.count, 2);
    cr_expect_eq(records[1].next, 2, "links stay for whoever undoes the step");
    cr_expect_eq(conn.chain_head, 0);
    cr_expect_eq(conn.chain_offset, 1);
    cr_expect_eq(conn.queued_bytes, 99);
    cr_expect_eq(conn.held_bytes, BUFFER_LARGE_BYTES);
    cr_expect(chain_check(&conn, &table));
    released = chain_clear(&conn, &table);
    cr_expect_eq(released.count, 1);
    cr_expect_eq(conn.chain_head, BUFFER_NONE);
    cr_expect_eq(conn.chain_tail, BUFFER_NONE);
    cr_expect_eq(conn.held_bytes, 0);
    cr_expect(chain_check(&conn, &table));
}

Test(chain, replace_moves_the_rest_to_another_buffer)
{
    chain_append(&conn, &table, 1, 5000);
    chain_consume(&conn, &table, 4000);
    cr_expect_eq(chain_replace(&conn, &table, LARGE + 1), 1);
    cr_expect_eq(conn.chain_head, LARGE + 1);
    cr_expect_eq(conn.chain_tail, LARGE + 1);
    cr_expect_eq(conn.chain_offset, 0);
    cr_expect_eq(conn.queued_bytes, 1000);
    cr_expect_eq(conn.held_bytes, BUFFER_SMALL_BYTES);
    cr_expect(chain_check(&conn, &table));
    chain_append(&conn, &table, 2, 1);
    cr_expect(chain_check(&conn, &table));
}

Test(chain, append_of_nothing_dies, .signal = SIGABRT)
{
    chain_append(&conn, &table, 0, 0);
}

Test(chain, append_of_more_than_fits_dies, .signal = SIGABRT)
{
    chain_append(&conn, &table, LARGE, BUFFER_SMALL_BYTES + 1);
}

Test(chain, append_of_no_buffer_dies, .signal = SIGABRT)
{
    chain_append(&conn, &table, BUFFERS, 1);
}

Test(chain, consuming_more_than_there_is_dies, .signal = SIGABRT)
{
    chain_append(&conn, &table, 0, 10);
    chain_consume(&conn, &table, 11);
}

Test(chain, replace_of_several_dies, .signal = SIGABRT)
{
    chain_append(&conn, &table, 0, 10);
    chain_append(&conn, &table, 1, 10);
    chain_replace(&conn, &table, 2);
}

Test(chain, replace_by_one_too_small_dies, .signal = SIGABRT)
{
    chain_append(&conn, &table, 0, BUFFER_SMALL_BYTES + 1);
    chain_replace(&conn, &table, LARGE);
}

/* DAMAGE: on a chain of the buffers 5 (its first 10 bytes gone), 7 and LARGE + 2. */
#define DAMAGE(store)                                      \
    do {                                                   \
        setup();                                           \
        chain_append(&conn, &table, 5, 100);               \
        chain_append(&conn, &table, 7, 200);               \
        chain_append(&conn, &table, LARGE + 2, 300);       \
        chain_consume(&conn, &table, 10);                  \
        cr_assert(chain_check(&conn, &table));             \
        store;                                             \
        cr_expect_not(chain_check(&conn, &table), #store); \
    } while (0)

Test(chain, check_refuses_damage)
{
    DAMAGE(conn.queued_bytes++);
    DAMAGE(conn.queued_bytes = 0);
    DAMAGE(conn.held_bytes -= BUFFER_SMALL_BYTES);
    DAMAGE(conn.chain_offset = 11);
    DAMAGE(conn.chain_offset = 100);
    DAMAGE(conn.chain_tail = 7);
    DAMAGE(conn.chain_tail = BUFFER_NONE);
    DAMAGE(conn.chain_head = 7);
    DAMAGE(conn.chain_head = BUFFER_NONE);
    DAMAGE(conn.chain_head = BUFFERS);
    DAMAGE(records[5].next = BUFFERS + 100);
    DAMAGE(records[5].next = BUFFER_NONE);
    DAMAGE(records[LARGE + 2].next = 5);
    DAMAGE(records[7].next = 7);
    DAMAGE(records[7].length = 0);
    DAMAGE(records[7].length = BUFFER_LARGE_BYTES + 1);
    DAMAGE(records[LARGE + 2].length = BUFFER_SMALL_BYTES + 1);
}

/* The model: bytes between `read` and `write` are queued, byte n of the stream is (uint8_t)(n * 31 + n / 251). Buffers
 * hold real bytes, so a wrong order or offset shows. */
struct walk {
    struct rng rng;
    uint64_t read, write;
    uint32_t free_ids[BUFFERS];
    uint32_t free_count;
    uint8_t bytes[BUFFERS][BUFFER_LARGE_BYTES];
};

static uint8_t stream_byte(uint64_t n)
{
    return (uint8_t)(n * 31 + n / 251);
}

static void walk_append(struct walk *walk)
{
    if (walk->free_count == 0) {
        return;
    }
    uint32_t pick = (uint32_t)rng_below(&walk->rng, walk->free_count);
    uint32_t id = walk->free_ids[pick];
    walk->free_ids[pick] = walk->free_ids[--walk->free_count];
    uint32_t length = 1 + (uint32_t)rng_log_uniform(&walk->rng, buffer_capacity(&table, id) - 1);
    for (uint32_t i = 0; i < length; i++) {
        walk->bytes[id][i] = stream_byte(walk->write + i);
    }
    walk->write += length;
    chain_append(&conn, &table, id, length);
}

static void walk_take_back(struct walk *walk, struct buffer_list list)
{
    uint32_t id = list.first;

    for (uint32_t i = 0; i < list.count; i++) {
        cr_assert_lt(id, BUFFERS);
        cr_assert_lt(walk->free_count, BUFFERS);
        walk->free_ids[walk->free_count++] = id;
        id = records[id].next;
    }
}

static void walk_consume(struct walk *walk)
{
    uint32_t bytes = (uint32_t)rng_log_uniform(&walk->rng, walk->write - walk->read);

    walk->read += bytes;
    walk_take_back(walk, chain_consume(&conn, &table, bytes));
}

static void walk_replace(struct walk *walk)
{
    uint32_t head = conn.chain_head;

    if (head == BUFFER_NONE || head != conn.chain_tail || walk->free_count == 0) {
        return;
    }
    uint32_t id = walk->free_ids[walk->free_count - 1];
    if (buffer_capacity(&table, id) < conn.queued_bytes) {
        return;
    }
    memcpy(walk->bytes[id], walk->bytes[head] + conn.chain_offset, conn.queued_bytes);
    walk->free_ids[walk->free_count - 1] = chain_replace(&conn, &table, id);
}

/* Whether the chain's ends and sums are the model's; its first and last byte stand for the rest. */
static bool walk_agrees(const struct walk *walk)
{
    uint32_t held = 0;

    for (uint32_t id = conn.chain_head; id != BUFFER_NONE; id = records[id].next) {
        held++;
    }
    if (conn.queued_bytes != walk->write - walk->read || held + walk->free_count != BUFFERS ||
        !chain_check(&conn, &table)) {
        return false;
    }
    if (conn.queued_bytes == 0) {
        return true;
    }
    return walk->bytes[conn.chain_head][conn.chain_offset] == stream_byte(walk->read) &&
           walk->bytes[conn.chain_tail][records[conn.chain_tail].length - 1] == stream_byte(walk->write - 1);
}

/* All bytes of the chain, in order. */
static bool walk_content_agrees(const struct walk *walk)
{
    uint64_t n = walk->read;
    uint32_t offset = conn.chain_offset;

    for (uint32_t id = conn.chain_head; id != BUFFER_NONE; id = records[id].next) {
        for (; offset < records[id].length; offset++, n++) {
            if (walk->bytes[id][offset] != stream_byte(n)) {
                return false;
            }
        }
        offset = 0;
    }
    return n == walk->write;
}

Test(chain, random_walk_beside_a_queue_of_bytes)
{
    static struct walk walk;

    rng_init(&walk.rng, 20240611);
    for (uint32_t id = 0; id < BUFFERS; id++) {
        walk.free_ids[walk.free_count++] = id;
    }
    for (int n = 0; n < 100000; n++) {
        uint64_t what = rng_below(&walk.rng, 1000);
        if (what < 480) {
            walk_append(&walk);
        } else if (what < 960) {
            walk_consume(&walk);
        } else if (what < 998) {
            walk_replace(&walk);
        } else {
            walk.read = walk.write;
            walk_take_back(&walk, chain_clear(&conn, &table));
        }
        if (!walk_agrees(&walk) || (n % 100 == 0 && !walk_content_agrees(&walk))) {
            cr_assert_fail("operation %d: %lu..%lu, %u queued", n, (unsigned long)walk.read,
                           (unsigned long)walk.write, conn.queued_bytes);
        }
    }
    cr_expect_gt(walk.write, 10 * MODEL_BYTES, "the walk came to something");
}
