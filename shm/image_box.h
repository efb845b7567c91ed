/*
 * Where the configuration image is published: two places in the region, one of them current.
 *
 * Written by the supervisor only. A place is overwritten only when no worker uses it: every slot has taken the
 * current image since. Workers take the current one between two batches and store its generation in their slot.
 */
#ifndef PENSTOCK_SHM_IMAGE_BOX_H
#define PENSTOCK_SHM_IMAGE_BOX_H

#include "core/image.h"
#include "shm/region.h"

/* The current image. */
const struct image *image_box_current(const struct region *region);

/* Whether nobody uses the place of the image before the current one any more: another may be published. */
bool image_box_is_free(const struct region *region);

/* Whether every worker that the current image wants serves by it, and nobody by another. */
bool image_box_taken(const struct region *region);

/* Copies `image` into the region and makes it current. It was seen that another may be published: no worker that begins
 * after that look changes it, as it reads the current image. 0, or -EFBIG where it is too large. */
int image_box_publish(const struct region *region, const struct image *image);

#endif
