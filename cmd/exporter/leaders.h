/*
 * The sessions that stand out, as JSON: the exporter's /api/top.
 */
#ifndef PENSTOCK_CMD_EXPORTER_LEADERS_H
#define PENSTOCK_CMD_EXPORTER_LEADERS_H

#include <stdio.h>

#include "cmd/top_rows.h"

enum { LEADERS_MAX = 8 };

struct leaders {
    struct top_rows rows;
    struct top_row first[3][LEADERS_MAX]; /* by bytes, by age, by what is queued */
    size_t counts[3];
    uint64_t cost_us; /* what reading them took */
};

/* Looks at all sessions again, unless that would take more than a tenth of the time. 0 or -ENOMEM. */
int leaders_read(struct leaders *leaders, const struct region *region);

/* An object of the arrays `bytes`, `age` and `queued`: the largest, the oldest, and those with most bytes
 * that wait for a slow end; LEADERS_MAX at most, as they are now; and a newline. */
void leaders_print(FILE *out, const struct leaders *leaders, const struct region *region);

#endif
