/*
 * The largest sessions, by bytes, age, rate or what is queued, from one look to the next.
 */
#ifndef PENSTOCK_CMD_TOP_ROWS_H
#define PENSTOCK_CMD_TOP_ROWS_H

#include "shm/session_slab.h"

enum top_order { TOP_BY_BYTES, TOP_BY_AGE, TOP_BY_RATE, TOP_BY_QUEUED };

struct top_row {
    uint32_t slot, index, generation;
    uint64_t accepted_us;
    uint64_t bytes;  /* both ways */
    uint64_t queued; /* of them: bytes that the other end has not taken yet */
    uint64_t rate;   /* bytes a second since the last look; 0 where it was not there then */
};

struct top_rows {
    struct top_row *rows; /* in the order of the walk until they are sorted */
    size_t count, capacity;
    uint64_t read_us;
};

/* Fills `now` from the region; `before` is the last look, not sorted. 0 or -ENOMEM. */
int top_rows_read(struct top_rows *now, const struct top_rows *before, const struct region *region);

/* The first `wanted` of `rows` in that order, copied to `first`; returns how many there are. */
size_t top_rows_first(const struct top_rows *rows, enum top_order order, struct top_row *first,
                      size_t wanted);

#endif
