/*
 * Who keeps TIME_WAIT, and how that goes: what status, flows, top, the exporter and the dashboard show of it.
 */
#ifndef PENSTOCK_CMD_TIME_WAIT_VIEW_H
#define PENSTOCK_CMD_TIME_WAIT_VIEW_H

#include <stdbool.h>

#include "shm/flow_table.h"

enum { TIME_WAIT_TEXT_MAX = REGION_WHY_MAX + 32 };

struct time_wait_view {
    bool owned;
    uint32_t two_msl_ms;
    uint32_t interfaces;
    uint64_t kernel_destroyed;
    struct time_wait_counters counters;
    uint64_t sweep_rounds;
    uint64_t sweep_freed;
    uint32_t sweep_round_ms;
    char why[REGION_WHY_MAX]; /* the kernel keeps it; "" where it is owned */
};

void time_wait_view_read(struct time_wait_view *view, const struct region *region);

/* "owned" or "kernel". */
const char *time_wait_mode_text(const struct time_wait_view *view);

/* "owned, 2MSL 1m00s, 3 interfaces" or "the kernel keeps it: why". Returns `text`. */
const char *time_wait_describe(char text[TIME_WAIT_TEXT_MAX], const struct time_wait_view *view);

#endif
