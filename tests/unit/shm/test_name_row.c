/* Rows of names: the same after a reload, kept while sessions refer to them, used again afterwards. */
#include "shm/name_row.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/order.h"
#include "shm/worker_slot.h"
#include "tests/unit/shm/region_make.h"

static struct region region;

static void setup(void)
{
    region = region_make();
}

static struct image *made[4];
static uint32_t made_count;

static void teardown(void)
{
    while (made_count > 0) {
        free(made[--made_count]);
    }
}

TestSuite(name_row, .init = setup, .fini = teardown);

/* One listener, one pool named `pool`, and `count` servers with ports from `port` on. */
static struct image *image_make(const char *pool, uint16_t port, uint32_t count)
{
    struct image head = {.magic = IMAGE_MAGIC};
    struct image *image = calloc(1, image_layout(&head, 1, 0, 1, count));

    cr_assert(image != NULL && made_count < sizeof(made) / sizeof(made[0]));
    made[made_count++] = image;
    *image = head;
    strcpy(((struct image_listener *)image_listener(image, 0))->name, "web");
    struct image_pool *row = (struct image_pool *)image_pool(image, 0);
    strcpy(row->name, pool);
    row->server_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct image_server *server = (struct image_server *)image_server(image, i);
        server->address =
            (struct endpoint){.family = ENDPOINT_V4, .port = (uint16_t)(port + i), .bytes = {127, 0, 0, 1}};
        server->weight = 1;
    }
    return image;
}

static uint16_t server_row(const struct image *image, uint32_t index)
{
    return image_server(image, index)->row;
}

static const char *server_name(uint16_t row)
{
    return region_name(&region, NAME_SERVER, row)->name;
}

Test(name_row, rows_are_given_in_order_and_named)
{
    struct image *image = image_make("app", 9001, 3);

    cr_assert_eq(name_rows_assign(&region, image), 0);
    cr_expect_eq(image_listener(image, 0)->row, 0);
    cr_expect_eq(image_pool(image, 0)->row, 0);
    cr_expect_str_eq(region_name(&region, NAME_LISTENER, 0)->name, "web");
    cr_expect_str_eq(region_name(&region, NAME_POOL, 0)->name, "app");
    for (uint32_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "127.0.0.1:%u", 9001 + i);
        const struct name_row *row = region_name(&region, NAME_SERVER, server_row(image, i));
        cr_expect_eq(server_row(image, i), i);
        cr_expect_str_eq(row->name, name);
        cr_expect_str_eq(row->pool, "app");
        cr_expect(row->used && row->current);
    }
    cr_expect_not(region_name(&region, NAME_SERVER, 3)->used);
}

Test(name_row, what_was_said_of_a_server_stays_with_its_name)
{
    struct image *first = image_make("app", 9001, 2);
    struct image *second = image_make("app", 9002, 2); /* 9001 goes, 9003 comes */

    cr_assert_eq(name_rows_assign(&region, first), 0);
    order_server_state(&region, server_row(first, 0), ADMIN_DOWN);
    order_server_weight(&region, server_row(first, 1), 7);
    cr_assert_eq(name_rows_assign(&region, second), 0);
    cr_expect_eq(admin_weight_of(order_server(&region, server_row(second, 0))), 7);
    cr_expect_eq(order_server(&region, server_row(second, 1)), 0);
    cr_assert_eq(name_rows_assign(&region, first), 0);
    cr_expect_eq(admin_state_of(order_server(&region, server_row(first, 0))), ADMIN_DOWN,
                 "and is found again");
}

Test(name_row, there_is_no_row_beyond_the_last)
{
    cr_expect_not_null(region_name(&region, NAME_LISTENER, IMAGE_LISTENERS_MAX - 1));
    cr_expect_null(region_name(&region, NAME_LISTENER, IMAGE_LISTENERS_MAX));
    cr_expect_null(region_name(&region, NAME_POOL, IMAGE_POOLS_MAX));
    cr_expect_null(region_name(&region, NAME_SERVER, IMAGE_SERVERS_MAX));
    cr_expect_null(region_name(&region, NAME_SERVER, ROW_NONE));
}

Test(name_row, a_reload_finds_the_same_rows)
{
    struct image *first = image_make("app", 9001, 3);
    struct image *second = image_make("app", 9000, 3); /* 9003 goes, 9000 comes, and the order is another */

    cr_assert_eq(name_rows_assign(&region, first), 0);
    cr_assert_eq(name_rows_assign(&region, second), 0);
    cr_expect_eq(server_row(second, 1), server_row(first, 0));
    cr_expect_eq(server_row(second, 2), server_row(first, 1));
    cr_expect_eq(server_row(second, 0), 3);
    cr_expect_str_eq(server_name(2), "127.0.0.1:9003", "kept though no longer named");
    cr_expect_not(region_name(&region, NAME_SERVER, 2)->current);
    cr_assert_eq(name_rows_assign(&region, first), 0);
    cr_expect_eq(server_row(first, 2), 2, "and found again");
}

Test(name_row, the_same_address_in_another_pool_is_another_server)
{
    struct image *first = image_make("app", 9001, 1);
    struct image *second = image_make("api", 9001, 1);

    cr_assert_eq(name_rows_assign(&region, first), 0);
    cr_assert_eq(name_rows_assign(&region, second), 0);
    cr_expect_neq(server_row(first, 0), server_row(second, 0));
    cr_expect_eq(image_pool(second, 0)->row, 1);
    cr_expect_eq(image_listener(second, 0)->row, 0);
}

/* Fills all rows of servers; whoever comes next needs one that is no longer named and without sessions. */
static struct image *fill(void)
{
    struct image *image = image_make("app", 1000, IMAGE_SERVERS_MAX);

    cr_assert_eq(name_rows_assign(&region, image), 0);
    cr_assert_eq(server_row(image, IMAGE_SERVERS_MAX - 1), IMAGE_SERVERS_MAX - 1);
    return image;
}

Test(name_row, a_retired_row_is_kept_while_any_slot_has_sessions_of_it)
{
    struct image *next = image_make("app", 5000, 1);

    fill();
    for (uint16_t row = 0; row < IMAGE_SERVERS_MAX; row++) {
        region_server_counters(&region, row % MAKE_SLOTS, row)->sessions = 1;
        region_server_counters(&region, 0, row)->connects = 9;
        region_connect_times(&region, 0, row)->buckets[3] = 9;
    }
    cr_expect_eq(name_rows_assign(&region, next), -ENOSPC);
    cr_expect_str_eq(server_name(500), "127.0.0.1:1500");
    region_server_counters(&region, 500 % MAKE_SLOTS, 500)->sessions = 0;
    order_server_state(&region, 500, ADMIN_DRAIN);
    cr_assert_eq(name_rows_assign(&region, next), 0);
    cr_expect_eq(server_row(next, 0), 500);
    cr_expect_str_eq(server_name(500), "127.0.0.1:5000");
    cr_expect_eq(order_server(&region, 500), 0, "nothing was said of it");
    cr_expect_eq(region_server_counters(&region, 0, 500)->connects, 0, "counts from 0");
    cr_expect_eq(region_connect_times(&region, 0, 500)->buckets[3], 0);
    cr_expect_eq(region_server_counters(&region, 0, 501)->connects, 9);
    cr_expect_eq(region_connect_times(&region, 0, 501)->buckets[3], 9);
}

/* A newcomer before them in the file must not get the row of a server that stays, however idle that is. */
Test(name_row, a_server_that_stays_keeps_its_row_when_rows_run_short)
{
    struct image *first = fill();
    struct image *second = image_make("app", 999, IMAGE_SERVERS_MAX); /* 999 comes, 2023 goes */

    cr_assert_eq(name_rows_assign(&region, second), 0);
    for (uint32_t i = 1; i < IMAGE_SERVERS_MAX; i++) {
        cr_expect_eq(server_row(second, i), server_row(first, i - 1), "server %u", i);
    }
    cr_expect_eq(server_row(second, 0), server_row(first, IMAGE_SERVERS_MAX - 1));
    cr_expect_str_eq(server_name(server_row(second, 0)), "127.0.0.1:999");
}

/* Sessions refer to rows of pools and listeners without a count: these are never used again. */
Test(name_row, pools_are_not_recycled)
{
    for (uint32_t i = 0; i <= IMAGE_POOLS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%u", i);
        struct image *image = image_make(name, 9000, 0);
        cr_expect_eq(name_rows_assign(&region, image), i < IMAGE_POOLS_MAX ? 0 : -ENOSPC);
        cr_expect(i == IMAGE_POOLS_MAX || image_pool(image, 0)->row == i);
        teardown();
    }
}
