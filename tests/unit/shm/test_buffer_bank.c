/* A shard of the buffer bank: classes, addresses, lending and the rebuild after a death. */
#include "shm/buffer_bank.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rng.h"
#include "tests/unit/shm/region_make.h"

static struct region region;
static struct buffer_bank bank;

static void setup(void)
{
    region = region_make();
    cr_assert_eq(buffer_bank_open(&bank, &region, 1), 0);
}

static void teardown(void)
{
    buffer_bank_close(&bank);
}

TestSuite(buffer_bank, .init = setup, .fini = teardown);

Test(buffer_bank, opens_with_everything_free)
{
    cr_expect_eq(bank.stacks[BUFFER_LARGE].count, 47);
    cr_expect_eq(bank.stacks[BUFFER_SMALL].count, 128);
    cr_expect_eq(bank.budget_bytes, 47 * BUFFER_LARGE_BYTES + 128 * BUFFER_SMALL_BYTES);
    cr_expect_eq(buffer_bank_free_bytes(&bank), bank.budget_bytes);
}

Test(buffer_bank, each_class_lends_its_own_until_none_is_left)
{
    for (int class = 0; class < BUFFER_CLASSES; class ++) {
        uint32_t last = 0;
        for (uint32_t i = 0; i < bank.stacks[class].total; i++) {
            uint32_t id = buffer_bank_acquire(&bank, class);
            cr_assert_neq(id, BUFFER_NONE);
            cr_expect_eq(buffer_bank_class(&bank, id), (enum buffer_class) class);
            cr_expect(i == 0 || id == last + 1, "the lowest first");
            last = id;
        }
        cr_expect_eq(buffer_bank_acquire(&bank, class), BUFFER_NONE);
    }
    cr_expect_eq(buffer_bank_free_bytes(&bank), 0);
}

Test(buffer_bank, the_last_given_back_is_lent_first)
{
    uint32_t a = buffer_bank_acquire(&bank, BUFFER_LARGE);
    uint32_t b = buffer_bank_acquire(&bank, BUFFER_LARGE);

    buffer_bank_release(&bank, a);
    buffer_bank_release(&bank, b);
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), b);
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), a);
}

Test(buffer_bank, a_list_goes_back_by_its_links)
{
    struct conn conn = {.chain_head = BUFFER_NONE, .chain_tail = BUFFER_NONE};
    uint64_t free_bytes = buffer_bank_free_bytes(&bank);

    for (int i = 0; i < 5; i++) {
        chain_append(&conn, &bank.table, buffer_bank_acquire(&bank, i % 2 ? BUFFER_SMALL : BUFFER_LARGE),
                     100);
    }
    buffer_bank_release_list(&bank, chain_consume(&conn, &bank.table, 300));
    cr_expect_eq(buffer_bank_free_bytes(&bank), free_bytes - BUFFER_LARGE_BYTES - BUFFER_SMALL_BYTES);
    buffer_bank_release_list(&bank, chain_clear(&conn, &bank.table));
    cr_expect_eq(buffer_bank_free_bytes(&bank), free_bytes);
    buffer_bank_release_list(&bank, (struct buffer_list){.first = BUFFER_NONE, .count = 0});
}

Test(buffer_bank, giving_back_what_is_none_dies, .signal = SIGABRT)
{
    buffer_bank_release(&bank, bank.table.count);
}

Test(buffer_bank, giving_back_more_than_there_are_dies, .signal = SIGABRT)
{
    buffer_bank_release(&bank, 0);
}

/* Every buffer of every slot is filled with its own mark; none disturbs another. Odd sizes, so that the shards do not
 * end on pages by themselves. */
Test(buffer_bank, addresses_do_not_overlap_and_stay_inside)
{
    struct region_shape shape = region_shape_small();
    struct buffer_bank banks[MAKE_SLOTS];

    shape.bank_bytes = 3 * (1000 * 1000 + 777);
    cr_assert_eq(region_create(&region, &shape), 0);
    for (uint32_t slot = 0; slot < MAKE_SLOTS; slot++) {
        cr_assert_eq(buffer_bank_open(&banks[slot], &region, slot), 0);
    }
    const unsigned char *end = region.segments[SEGMENT_BANK] + region.header->segment_bytes[SEGMENT_BANK];
    for (int round = 0; round < 2; round++) {
        uint32_t mark = 1;
        for (uint32_t slot = 0; slot < MAKE_SLOTS; slot++) {
            for (uint32_t id = 0; id < banks[slot].table.count; id++, mark++) {
                unsigned char *bytes = buffer_bank_address(&banks[slot], id);
                uint32_t size = buffer_capacity(&banks[slot].table, id);
                cr_assert(bytes >= region.segments[SEGMENT_BANK] && bytes + size <= end);
                if (round == 0) {
                    memset(bytes, (int)(mark % 251), size);
                } else if (bytes[0] != mark % 251 || memcmp(bytes, bytes + 1, size - 1) != 0) {
                    cr_assert_fail("slot %u buffer %u", slot, id);
                }
            }
        }
    }
    for (uint32_t slot = 0; slot < MAKE_SLOTS; slot++) {
        buffer_bank_close(&banks[slot]);
    }
}

Test(buffer_bank, records_of_slots_do_not_overlap)
{
    struct buffer_bank next;

    cr_assert_eq(buffer_bank_open(&next, &region, 2), 0);
    cr_expect_eq(next.table.records, bank.table.records + bank.table.count);
    buffer_bank_close(&next);
}

Test(buffer_bank, rebuild_frees_what_nobody_holds)
{
    uint8_t held[47 + 128] = {0};
    uint32_t expected[BUFFER_CLASSES] = {47, 128};
    struct rng rng;

    rng_init(&rng, 8);
    for (int i = 0; i < 20; i++) {
        (void)buffer_bank_acquire(&bank, BUFFER_LARGE); /* lost with the incarnation */
    }
    for (uint32_t id = 0; id < sizeof(held); id++) {
        held[id] = rng_chance(&rng, 40);
        expected[buffer_bank_class(&bank, id)] -= held[id];
    }
    buffer_bank_rebuild(&bank, held);
    for (int class = 0; class < BUFFER_CLASSES; class ++) {
        uint32_t id;
        cr_expect_eq(bank.stacks[class].count, expected[class]);
        while ((id = buffer_bank_acquire(&bank, class)) != BUFFER_NONE) {
            cr_expect_not(held[id]);
            held[id] = 1;
        }
    }
    cr_expect_null(memchr(held, 0, sizeof(held)));
}

/* --- A limit below what is reserved ------------------------------------------------------------------------- */

Test(buffer_bank, a_limit_leaves_the_lowest_of_each_class)
{
    buffer_bank_limit(&bank, 512 * 1024);
    buffer_bank_rebuild(&bank, NULL);
    uint32_t large = bank.stacks[BUFFER_LARGE].total;
    uint32_t small = bank.stacks[BUFFER_SMALL].total;
    cr_expect(large < 47 && small == 64, "%u large, %u small", large, small);
    for (uint32_t i = 0; i < large; i++) {
        cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), i);
    }
    for (uint32_t i = 0; i < small; i++) {
        cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_SMALL), 47 + i);
    }
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), BUFFER_NONE);
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_SMALL), BUFFER_NONE);
}

Test(buffer_bank, what_is_lent_beyond_a_limit_rests_when_it_comes_back)
{
    uint8_t *held = calloc(bank.table.count, 1);
    uint32_t last = BUFFER_NONE;

    for (uint32_t i = 0; i < 47; i++) {
        last = buffer_bank_acquire(&bank, BUFFER_LARGE);
        held[last] = 1;
    }
    buffer_bank_limit(&bank, 512 * 1024);
    buffer_bank_rebuild(&bank, held);
    cr_expect_eq(bank.stacks[BUFFER_LARGE].count, 0);
    buffer_bank_release(&bank, last);
    held[last] = 0;
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), BUFFER_NONE);
    buffer_bank_release(&bank, 0);
    held[0] = 0;
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), 0);
    held[0] = 1;
    buffer_bank_limit(&bank, UINT64_MAX / 2);
    buffer_bank_rebuild(&bank, held);
    cr_expect_eq(bank.stacks[BUFFER_LARGE].total, 47, "no more than is reserved");
    cr_expect_eq(buffer_bank_acquire(&bank, BUFFER_LARGE), last);
    free(held);
}
