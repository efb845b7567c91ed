/*
 * What an instance does now, added up from its region by a reader that stops nobody.
 */
#ifndef PENSTOCK_CMD_SUMMARY_H
#define PENSTOCK_CMD_SUMMARY_H

#include "shm/worker_slot.h"

struct summary_worker {
    uint32_t pid;
    uint32_t state; /* enum slot_state */
    uint32_t incarnation;
    uint32_t deaths;
    uint32_t sessions;
    uint64_t adoption_us;
    uint64_t heap_bytes;
};

struct summary {
    uint64_t generation; /* of the configuration */
    uint64_t up_seconds;
    uint64_t sessions;          /* now */
    uint64_t sessions_draining; /* of them: of listeners, servers or workers that are no longer configured */
    uint64_t sessions_limit;
    uint64_t phases[SESSION_PHASE_COUNT];
    uint64_t client_bytes; /* received from clients, of ended and living sessions */
    uint64_t server_bytes;
    uint64_t buffer_budget_bytes;
    uint64_t buffer_lent_bytes;
    uint64_t receivers_waiting;
    uint32_t workers; /* configured */
    uint32_t slots;   /* in `worker`: those, and others that leave or have left */
    uint32_t serving;
    uint32_t accept_paused;
    struct slot_stats stats; /* of all slots */
    struct summary_worker worker[IMAGE_WORKERS_MAX];
};

/* Fills the summary. Values of different workers may be some moments apart. */
void summary_read(struct summary *summary, const struct region *region);

/* Sessions and counters of one server row over all workers. */
void summary_server(struct server_counters *sum, const struct region *region, uint16_t row);

#endif
