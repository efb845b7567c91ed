/* The configuration image: its layout, the check of one that may be damaged, the levels of timeouts. */
#include "core/image.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(image);

/* A valid image of two listeners with three binds, two pools with three servers. */
static struct image *image_make(void)
{
    struct image head = {
        .magic = IMAGE_MAGIC,
        .workers = 2,
        .sessions_limit = 10,
        .name = "test",
        .timeouts = {1, 2, 3, 4},
        .time_wait = {.two_msl_ms = 1000, .interface_count = 2, .interfaces = {"lo", "eth0"}}};
    struct image *image;

    cr_assert_neq(image_layout(&head, 2, 3, 2, 3), 0);
    image = calloc(1, head.size);
    *image = head;
    for (uint32_t i = 0; i < 2; i++) {
        struct image_listener *listener = (struct image_listener *)image_listener(image, i);
        struct image_pool *pool = (struct image_pool *)image_pool(image, i);

        *listener = (struct image_listener){.name = "l", .pool = i, .bind_first = i, .bind_count = 1 + i};
        *pool = (struct image_pool){.name = "p", .server_first = i, .server_count = 1 + i};
        memset(&listener->timeouts, 0xff, sizeof(listener->timeouts));
        memset(&pool->timeouts, 0xff, sizeof(pool->timeouts));
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct image_bind *bind = (struct image_bind *)image_bind(image, i);
        struct image_server *server = (struct image_server *)image_server(image, i);

        bind->endpoint = (struct endpoint){.family = ENDPOINT_V4, .port = 80};
        bind->listener = i > 0;
        server->address = (struct endpoint){.family = ENDPOINT_UNIX, .bytes = "/x"};
        server->weight = 1;
    }
    return image;
}

Test(image, layout_is_aligned_and_without_overlap)
{
    struct image image = {0};
    uint32_t size = image_layout(&image, 3, 5, 7, 9);

    cr_expect_eq(size, image.size);
    cr_expect_eq(image.listener_count, 3);
    cr_expect_eq(image.server_count, 9);
    cr_expect_geq(image.listener_offset, sizeof(struct image));
    cr_expect_geq(image.bind_offset, image.listener_offset + 3 * sizeof(struct image_listener));
    cr_expect_geq(image.pool_offset, image.bind_offset + 5 * sizeof(struct image_bind));
    cr_expect_geq(image.server_offset, image.pool_offset + 7 * sizeof(struct image_pool));
    cr_expect_geq(size, image.server_offset + 9 * sizeof(struct image_server));
    cr_expect_eq(
        (image.listener_offset | image.bind_offset | image.pool_offset | image.server_offset | size) % 8, 0);
}

Test(image, layout_has_room_for_the_greatest_and_not_for_more)
{
    struct image image = {0};
    uint32_t size =
        image_layout(&image, IMAGE_LISTENERS_MAX, IMAGE_BINDS_MAX, IMAGE_POOLS_MAX, IMAGE_SERVERS_MAX);

    cr_expect_gt(size, 0);
    cr_expect_leq(size, IMAGE_BYTES_MAX);
    cr_expect_eq(image_layout(&image, IMAGE_LISTENERS_MAX + 1, 1, 1, 1), 0);
    cr_expect_eq(image_layout(&image, 1, IMAGE_BINDS_MAX + 1, 1, 1), 0);
    cr_expect_eq(image_layout(&image, 1, 1, IMAGE_POOLS_MAX + 1, 1), 0);
    cr_expect_eq(image_layout(&image, 1, 1, 1, IMAGE_SERVERS_MAX + 1), 0);
}

Test(image, check_accepts_a_valid_one_and_no_part_of_it)
{
    struct image *image = image_make();

    cr_expect(image_check(image, image->size));
    cr_expect(image_check(image, image->size + 100));
    cr_expect_not(image_check(image, image->size - 1));
    cr_expect_not(image_check(image, sizeof(*image) - 1));
    cr_expect_not(image_check(image, 0));
    free(image);
}

/* Each damages one thing of a valid image. */
#define DAMAGE(change)                                                                       \
    do {                                                                                     \
        struct image *image = image_make();                                                  \
        uint32_t size = image->size;                                                         \
        struct image_listener *listener = (struct image_listener *)image_listener(image, 1); \
        struct image_bind *bind = (struct image_bind *)image_bind(image, 2);                 \
        struct image_pool *pool = (struct image_pool *)image_pool(image, 1);                 \
        struct image_server *server = (struct image_server *)image_server(image, 2);         \
        (void)listener, (void)bind, (void)pool, (void)server;                                \
        change;                                                                              \
        cr_expect_not(image_check(image, size), #change);                                    \
        free(image);                                                                         \
    } while (0)

Test(image, check_refuses_a_damaged_head)
{
    DAMAGE(image->magic++);
    DAMAGE(image->size -= 8);
    DAMAGE(image->size += 8);
    DAMAGE(image->listener_count++);
    DAMAGE(image->bind_count = UINT32_MAX);
    DAMAGE(image->pool_count = 0);
    DAMAGE(image->server_count--);
    DAMAGE(image->listener_offset += 8);
    DAMAGE(image->bind_offset = UINT32_MAX);
    DAMAGE(image->pool_offset -= 8);
    DAMAGE(image->server_offset += 1);
    DAMAGE(image->workers = 0);
    DAMAGE(image->workers = IMAGE_WORKERS_MAX + 1);
    DAMAGE(image->log_level = LOG_LEVEL_DEBUG + 1);
    DAMAGE(image->access_format = ACCESS_JSON + 1);
    DAMAGE(image->spin_us = IMAGE_SPIN_MAX_US + 1);
    DAMAGE(image->timeouts.idle_ms = IMAGE_INHERIT);
    DAMAGE(memset(image->name, 'x', sizeof(image->name)));
    DAMAGE(memset(image->user, 'x', sizeof(image->user)));
    DAMAGE(memset(image->access_path, 'x', sizeof(image->access_path)));
}

Test(image, check_refuses_a_damaged_time_wait)
{
    DAMAGE(image->time_wait.mode = TIME_WAIT_KERNEL + 1);
    DAMAGE(image->time_wait.two_msl_ms = IMAGE_TWO_MSL_MIN_MS - 1);
    DAMAGE(image->time_wait.two_msl_ms = IMAGE_TWO_MSL_MAX_MS + 1);
    DAMAGE(image->time_wait.no_buckets = 2);
    DAMAGE(image->time_wait.interface_count = 3);
    DAMAGE(image->time_wait.interface_count = IMAGE_INTERFACES_MAX + 1);
    DAMAGE(memset(image->time_wait.interfaces[1], 'x', IMAGE_INTERFACE_MAX));
    DAMAGE(memset(image->time_wait.cgroup, 'x', sizeof(image->time_wait.cgroup)));
}

Test(image, check_refuses_damaged_rows)
{
    DAMAGE(memset(listener->name, 'x', sizeof(listener->name)));
    DAMAGE(memset(listener->congestion, 'x', sizeof(listener->congestion)));
    DAMAGE(listener->zero_copy = 2);
    DAMAGE(listener->pool = 2);
    DAMAGE(listener->bind_first = 2);
    DAMAGE(listener->bind_first = UINT32_MAX);
    DAMAGE(listener->bind_count = UINT32_MAX);
    DAMAGE(bind->listener = 2);
    DAMAGE(bind->endpoint.family = 3);
    DAMAGE(bind->endpoint.port = 0);
    DAMAGE(memset(pool->name, 'x', sizeof(pool->name)));
    DAMAGE(memset(pool->congestion, 'x', sizeof(pool->congestion)));
    DAMAGE(pool->zero_copy = 2);
    DAMAGE(pool->source.port_low = 1);
    DAMAGE(pool->source.port_high = 1);
    DAMAGE(pool->source.address_count = 1);
    DAMAGE(pool->source.address_count = IMAGE_SOURCES_MAX + 1);
    DAMAGE(pool->balance = 2);
    DAMAGE(pool->retries = IMAGE_RETRIES_MAX + 1);
    DAMAGE(pool->server_count = 3);
    DAMAGE(server->weight = 0);
    DAMAGE(server->weight = IMAGE_WEIGHT_MAX + 1);
    DAMAGE(server->backup = 2);
    DAMAGE(memset(server->address.bytes, '/', sizeof(server->address.bytes)));
}

Test(image, zero_copy_can_be_done_without)
{
    struct image *image = image_make();
    struct image_listener *listener = (struct image_listener *)image_listener(image, 1);
    struct image_pool *pool = (struct image_pool *)image_pool(image, 1);

    cr_expect_not(image_clear_zero_copy(image));
    listener->zero_copy = 1;
    cr_expect(image_clear_zero_copy(image));
    pool->zero_copy = 1;
    cr_expect(image_clear_zero_copy(image));
    cr_expect_eq(listener->zero_copy + pool->zero_copy, 0);
    free(image);
}

Test(image, timeouts_come_from_pool_then_listener_then_top)
{
    struct image *image = image_make();
    struct image_listener *listener = (struct image_listener *)image_listener(image, 0);
    struct image_pool *pool = (struct image_pool *)image_pool(image, 1);
    struct image_timeouts timeouts;

    listener->timeouts.idle_ms = 20;
    listener->timeouts.half_closed_ms = 30;
    pool->timeouts.half_closed_ms = 0; /* no limit is a setting, too */
    pool->timeouts.connect_ms = 100;
    timeouts = image_timeouts_of(image, 0, 1);
    cr_expect_eq(timeouts.connect_ms, 100);
    cr_expect_eq(timeouts.idle_ms, 20);
    cr_expect_eq(timeouts.half_closed_ms, 0);
    cr_expect_eq(timeouts.drain_ms, 4);
    timeouts = image_timeouts_of(image, 1, 0);
    cr_expect_eq(timeouts.connect_ms, 1);
    cr_expect_eq(timeouts.idle_ms, 2);
    cr_expect_eq(timeouts.half_closed_ms, 3);
    free(image);
}

Test(image, rows_it_has)
{
    struct image *image = image_make();

    ((struct image_listener *)image_listener(image, 1))->row = 7;
    ((struct image_server *)image_server(image, 2))->row = 9;
    cr_expect(image_has_rows(image, 7, 9));
    cr_expect(image_has_rows(image, 7, ROW_NONE), "no server is chosen yet");
    cr_expect_not(image_has_rows(image, 8, 9));
    cr_expect_not(image_has_rows(image, 7, 8));
    free(image);
}
