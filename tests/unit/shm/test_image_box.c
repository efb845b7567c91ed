/* Publishing a configuration: two places in turn, never over one that a worker may still read. */
#include "shm/image_box.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "shm/worker_slot.h"
#include "tests/unit/shm/region_make.h"

static struct region region;

static void setup(void)
{
    region = region_make();
}

TestSuite(image_box, .init = setup);

static int publish(uint64_t generation)
{
    struct image image = {.magic = IMAGE_MAGIC, .generation = generation};

    (void)image_layout(&image, 0, 0, 0, 0);
    return image_box_publish(&region, &image);
}

static void take(uint32_t slot, enum slot_state state)
{
    region_slot(&region, slot)->state = state;
    region_slot(&region, slot)->image_generation = image_box_current(&region)->generation;
}

Test(image_box, before_anything_is_published)
{
    cr_expect_eq(image_box_current(&region)->magic, 0);
    cr_expect(image_box_taken(&region));
}

Test(image_box, the_places_take_turns)
{
    const struct image *last = image_box_current(&region);

    for (uint64_t generation = 1; generation < 6; generation++) {
        cr_assert_eq(publish(generation), 0);
        cr_expect_neq(image_box_current(&region), last);
        cr_expect_eq(image_box_current(&region)->generation, generation);
        cr_expect(last->generation == generation - 1, "the one before is untouched");
        last = image_box_current(&region);
    }
}

Test(image_box, busy_until_every_serving_slot_has_taken_it)
{
    cr_assert_eq(publish(1), 0);
    take(0, SLOT_SERVING);
    take(1, SLOT_ADOPTING);
    cr_expect(image_box_is_free(&region));
    cr_assert_eq(publish(2), 0);
    cr_expect_not(image_box_taken(&region));
    cr_expect_not(image_box_is_free(&region));
    take(0, SLOT_SERVING);
    cr_expect_not(image_box_is_free(&region), "slot 1 is adopting and may read");
    take(1, SLOT_SERVING);
    cr_expect(image_box_taken(&region));
    cr_expect(image_box_is_free(&region));
    cr_expect_eq(publish(3), 0);
}

/* A reload has given up listening sockets by then: it must not fail any more. */
Test(image_box, a_worker_that_begins_after_the_look_does_not_stop_the_publication)
{
    cr_assert_eq(publish(1), 0);
    take(0, SLOT_SERVING);
    cr_expect(image_box_is_free(&region));
    region_slot(&region, 1)->state = SLOT_ADOPTING;
    cr_expect_eq(publish(2), 0);
    take(0, SLOT_SERVING);
    cr_expect_not(image_box_is_free(&region), "it may read the one before");
    take(1, SLOT_SERVING);
    cr_expect(image_box_is_free(&region));
}

Test(image_box, slots_that_do_not_serve_do_not_count)
{
    cr_assert_eq(publish(1), 0);
    take(0, SLOT_SERVING);
    take(1, SLOT_DONE);
    cr_assert_eq(publish(2), 0);
    take(0, SLOT_SERVING);
    cr_expect(image_box_is_free(&region), "slot 1 is done, slot 2 empty");
}

Test(image_box, one_too_large_is_refused)
{
    struct image image = {.size = IMAGE_BYTES_MAX + 1};

    cr_expect_eq(image_box_publish(&region, &image), -EFBIG);
    cr_expect_eq(image_box_current(&region)->magic, 0);
}

/* A reload that wants more workers is through when they serve. */
Test(image_box, taken_when_every_wanted_worker_serves)
{
    struct image image = {.magic = IMAGE_MAGIC, .generation = 1, .workers = 2};

    (void)image_layout(&image, 0, 0, 0, 0);
    region.header->slots_used = 0;
    cr_assert_eq(image_box_publish(&region, &image), 0);
    cr_expect_eq(region.header->slots_used, 2);
    take(0, SLOT_SERVING);
    cr_expect(image_box_is_free(&region));
    cr_expect_not(image_box_taken(&region));
    take(1, SLOT_ADOPTING);
    cr_expect_not(image_box_taken(&region));
    take(1, SLOT_SERVING);
    cr_expect(image_box_taken(&region));
}
