/*
 * What an instance does now, added up from its region by a reader that stops nobody.
 *
 * What workers have written is not believed where it would lead somewhere: it is counted and printed.
 */
#ifndef PENSTOCK_CMD_SUMMARY_H
#define PENSTOCK_CMD_SUMMARY_H

#include "cmd/exporter/accept_queue.h"
#include "cmd/source_ports.h"
#include "cmd/time_wait_view.h"
#include "core/admin.h"
#include "shm/worker_slot.h"

struct summary_worker {
    uint32_t pid;
    uint32_t state; /* enum slot_state */
    uint32_t incarnation;
    uint32_t deaths;
    uint32_t sessions;
    uint32_t records_used;   /* of its slab, ever */
    uint32_t share_bytes;    /* that one direction may hold of the buffers */
    uint64_t beat_age_ms;    /* since its loop last turned */
    uint64_t adopted_age_ms; /* since its last incarnation was through with its beginning */
    uint64_t adoption_us;
    uint64_t heap_bytes;
    uint64_t busy_us;       /* CPU time without spinning, of all incarnations */
    uint32_t busy_permille; /* of the last second or two */
    uint64_t completions;
};

struct summary {
    uint64_t read_us;   /* when: CLOCK_MONOTONIC */
    uint32_t run_state; /* enum run_state */
    uint32_t reloads_failed;
    uint64_t generation;    /* of the configuration */
    uint64_t taken_time_us; /* when that was taken: CLOCK_REALTIME */
    uint64_t taken_seconds; /* since then */
    uint64_t start_time_us; /* CLOCK_REALTIME */
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
    uint64_t records_capacity; /* of all slabs */
    uint64_t flows[FLOW_STATE_COUNT];
    uint64_t flow_capacity;
    uint64_t flows_expired; /* that the sweeper has not freed yet */
    uint64_t sweep_lag_ms;  /* how long the first of them has */
    struct time_wait_view time_wait;
    uint32_t workers; /* configured */
    uint32_t slots;   /* in `worker`: those, and others that leave or have left */
    uint32_t serving;
    uint32_t accept_paused;
    uint32_t listener_rows; /* rows ever named */
    uint32_t server_rows;
    struct slot_stats stats; /* of all slots */
    struct time_histogram adoptions;
    struct summary_worker worker[IMAGE_WORKERS_MAX];
    uint64_t listener_sessions[IMAGE_LISTENERS_MAX]; /* by row */
    struct listener_counters listener[IMAGE_LISTENERS_MAX];
    struct accept_queue queue[IMAGE_LISTENERS_MAX]; /* without sockets where the kernel does not say */
    struct server_counters server[IMAGE_SERVERS_MAX];
    struct time_histogram connect_times[IMAGE_SERVERS_MAX];
    struct ports_used ports[IMAGE_SERVERS_MAX];
    struct source_pairs source_pairs;
    uint16_t server_orders[IMAGE_SERVERS_MAX];  /* core/admin.h */
    uint32_t server_weights[IMAGE_SERVERS_MAX]; /* while it is up; 0: not in the configuration */
};

/* Fills the summary. Values of different workers may be some moments apart. */
void summary_read(struct summary *summary, const struct region *region);

/* Raises counters to what they were in an earlier summary: a transaction that a death undid, or a session that ended
 * while it was counted, must not look like a counter that began anew. */
void summary_keep_rising(struct summary *summary, const struct summary *before);

const char *summary_run_state_text(uint32_t state);
const char *summary_slot_state_text(uint32_t state);

#endif
