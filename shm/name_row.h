/*
 * Rows of names: listeners, pools and servers as sessions, counters and the log refer to them.
 *
 * A row belongs to a name for as long as any session refers to it, so that established sessions and counters survive
 * a reload that no longer names their server. Written by the supervisor only; a row is published by storing `used`.
 */
#ifndef PENSTOCK_SHM_NAME_ROW_H
#define PENSTOCK_SHM_NAME_ROW_H

#include "core/image.h"
#include "shm/region.h"

enum name_kind { NAME_LISTENER, NAME_POOL, NAME_SERVER, NAME_KINDS };

struct name_row {
    uint32_t used;    /* atomic */
    uint32_t current; /* named by the current configuration */
    char pool[IMAGE_NAME_MAX];
    char name[ENDPOINT_TEXT_MAX];
    uint8_t reserved[8];
};

_Static_assert(sizeof(struct name_row) == 192, "three cache lines a name");

uint32_t name_rows_max(enum name_kind kind);

/* The row, or NULL where `row` is none of this kind. */
struct name_row *region_name(const struct region *region, enum name_kind kind, uint16_t row);

/* Gives every listener, pool and server of `image` its row, the same as before where the name was known. Rows of
 * servers no longer named and without sessions are re-used, those of listeners and pools never. 0 or -ENOSPC; then
 * nothing changed that matters. */
int name_rows_assign(const struct region *region, struct image *image);

#endif
