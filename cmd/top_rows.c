#include "cmd/top_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"

static int add(struct top_rows *rows, const struct top_row *row)
{
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity > 0 ? rows->capacity * 2 : 1024;
        struct top_row *larger = realloc(rows->rows, capacity * sizeof(*larger));
        if (larger == NULL) {
            return -ENOMEM;
        }
        rows->rows = larger;
        rows->capacity = capacity;
    }
    rows->rows[rows->count++] = *row;
    return 0;
}

static bool is_before(const struct top_row *a, const struct top_row *b)
{
    return a->slot != b->slot ? a->slot < b->slot : a->index < b->index;
}

/* Both looks are in the order of the walk, so one pass over both finds every session that is in both. */
static uint64_t rate_of(const struct top_row *row, const struct top_rows *before, size_t *at,
                        uint64_t span_us)
{
    while (*at < before->count && is_before(&before->rows[*at], row)) {
        (*at)++;
    }
    if (*at == before->count || span_us == 0) {
        return 0;
    }
    const struct top_row *old = &before->rows[*at];
    bool same = old->slot == row->slot && old->index == row->index && old->generation == row->generation;
    return same && row->bytes > old->bytes ? (row->bytes - old->bytes) * 1000000 / span_us : 0;
}

int top_rows_read(struct top_rows *now, const struct top_rows *before, const struct region *region)
{
    struct session_walk walk;
    struct session session;
    size_t at = 0;
    int result = 0;

    now->count = 0;
    now->read_us = clock_now_us();
    session_walk_begin(&walk, region);
    while (result == 0 && session_walk_next(&walk, &session)) {
        struct top_row row = {
            .slot = walk.slot,
            .index = walk.index,
            .generation = session.generation,
            .accepted_us = session.accepted_us,
            .bytes = session.conn[SIDE_CLIENT].received_bytes + session.conn[SIDE_SERVER].received_bytes,
        };
        row.queued =
            (uint64_t)session.conn[SIDE_CLIENT].queued_bytes + session.conn[SIDE_SERVER].queued_bytes;
        row.rate = rate_of(&row, before, &at, now->read_us - before->read_us);
        result = add(now, &row);
    }
    return result;
}

/* Whether `a` stands above `b`; of equals the older does. */
static bool is_above(const struct top_row *a, const struct top_row *b, enum top_order order)
{
    if (order == TOP_BY_BYTES && a->bytes != b->bytes) {
        return a->bytes > b->bytes;
    }
    if (order == TOP_BY_RATE && a->rate != b->rate) {
        return a->rate > b->rate;
    }
    if (order == TOP_BY_QUEUED && a->queued != b->queued) {
        return a->queued > b->queued;
    }
    return a->accepted_us < b->accepted_us;
}

size_t top_rows_first(const struct top_rows *rows, enum top_order order, struct top_row *first, size_t wanted)
{
    size_t count = 0;

    for (size_t i = 0; i < rows->count; i++) {
        const struct top_row *row = &rows->rows[i];
        size_t place = count;
        while (place > 0 && is_above(row, &first[place - 1], order)) {
            place--;
        }
        if (place == wanted) {
            continue;
        }
        size_t behind = (count < wanted ? count : wanted - 1) - place;
        memmove(&first[place + 1], &first[place], behind * sizeof(*first));
        first[place] = *row;
        count += count < wanted;
    }
    return count;
}
