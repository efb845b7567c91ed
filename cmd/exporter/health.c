#include "cmd/exporter/health.h"

#include <inttypes.h>
#include <stdio.h>

enum { BEAT_AGE_MAX_MS = 3000 }; /* loops turn at least once a second */

/* Whether the worker serves; else why not. One that is through with draining is well. */
static bool judge_worker(char *reason, size_t size, const struct summary *summary, uint32_t index)
{
    const struct summary_worker *worker = &summary->worker[index];
    bool drained = summary->run_state != RUN_SERVE && worker->state == SLOT_DONE;

    if (!drained && worker->state != SLOT_SERVING) {
        snprintf(reason, size, "worker %u does not serve: %s", index, summary_slot_state_text(worker->state));
        return false;
    }
    if (!drained && worker->beat_age_ms > BEAT_AGE_MAX_MS) {
        snprintf(reason, size, "worker %u hangs: its loop has not turned for %" PRIu64 " s", index,
                 worker->beat_age_ms / 1000);
        return false;
    }
    return true;
}

void health_judge(struct health *health, const struct summary *summary)
{
    *health = (struct health){.live = true};
    for (uint32_t i = 0; i < summary->workers && health->live; i++) {
        health->live = judge_worker(health->reason, sizeof(health->reason), summary, i);
    }
    health->ready = health->live && summary->run_state == RUN_SERVE;
    if (health->live && !health->ready) {
        snprintf(health->reason, sizeof(health->reason), "%s", summary_run_state_text(summary->run_state));
    }
}
