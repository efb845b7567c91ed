/*
 * Whether an instance is well, judged from a summary. Pure.
 */
#ifndef PENSTOCK_CMD_EXPORTER_HEALTH_H
#define PENSTOCK_CMD_EXPORTER_HEALTH_H

#include "cmd/summary.h"

struct health {
    bool live;        /* every configured worker serves what it has */
    bool ready;       /* and takes new connections */
    char reason[128]; /* what is wrong, for people; "" */
};

void health_judge(struct health *health, const struct summary *summary);

#endif
