#include "shm/image_box.h"

#include <errno.h>
#include <string.h>

#include "shm/worker_slot.h"

const struct image *image_box_current(const struct region *region)
{
    /* Acquire pairs with the release in image_box_publish(). */
    return region_row(region, TABLE_IMAGES,
                      __atomic_load_n(&region->header->image_current, __ATOMIC_ACQUIRE) & 1);
}

static bool uses(const struct worker_slot *slot)
{
    uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);

    return state == SLOT_SERVING || state == SLOT_ADOPTING;
}

static bool has_taken(const struct worker_slot *slot, uint64_t generation)
{
    return __atomic_load_n(&slot->image_generation, __ATOMIC_ACQUIRE) == generation;
}

bool image_box_is_free(const struct region *region)
{
    uint64_t generation = image_box_current(region)->generation;

    for (uint32_t i = 0; i < region_slots_used(region); i++) {
        const struct worker_slot *slot = region_slot(region, i);
        if (uses(slot) && !has_taken(slot, generation)) {
            return false;
        }
    }
    return true;
}

bool image_box_taken(const struct region *region)
{
    const struct image *image = image_box_current(region);

    for (uint32_t i = 0; i < image->workers; i++) {
        const struct worker_slot *slot = region_slot(region, i);
        if (__atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) != SLOT_SERVING ||
            !has_taken(slot, image->generation)) {
            return false;
        }
    }
    return image_box_is_free(region);
}

int image_box_publish(const struct region *region, const struct image *image)
{
    if (image->size > IMAGE_BYTES_MAX) {
        return -EFBIG;
    }
    uint32_t next = region->header->image_current ^ 1;
    if (region->header->slots_used < image->workers) {
        __atomic_store_n(&region->header->slots_used, image->workers, __ATOMIC_RELEASE);
    }
    memcpy(region_row(region, TABLE_IMAGES, next), image, image->size);
    __atomic_store_n(&region->header->image_current, next, __ATOMIC_RELEASE);
    return 0;
}
