/*
 * What this kernel offers: a matrix of features, tried out at start, printed, and decided upon.
 */
#ifndef PENSTOCK_IO_PROBE_H
#define PENSTOCK_IO_PROBE_H

#include <stdbool.h>

enum probe_feature {
    PROBE_IO_URING,
    PROBE_DEFER_TASKRUN,
    PROBE_BUFFER_RINGS,
    PROBE_MULTISHOT_RECEIVE,
    PROBE_PORT_WINDOW,
    PROBE_ZERO_COPY,
    PROBE_FEATURES
};

struct probe_result {
    bool have[PROBE_FEATURES];
    char cause[256]; /* where a needed feature is missing: what is in the way, and the remedy */
};

/* Tries every feature. 0, or -1 where a needed one is missing. */
int probe_kernel(struct probe_result *result);

const char *probe_name(enum probe_feature feature);

#endif
