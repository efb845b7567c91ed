/*
 * A worker slot: what outlives a worker and is handed to the next incarnation.
 *
 * Written by the slot's worker, but for what is marked; read by anybody. Cache lines are split by who writes.
 */
#ifndef PENSTOCK_SHM_WORKER_SLOT_H
#define PENSTOCK_SHM_WORKER_SLOT_H

#include "core/session.h"
#include "core/time_histogram.h"
#include "shm/fault_point.h"
#include "shm/region.h"
#include "shm/undo.h"

enum {
    SLOT_RING_PARAMS_BYTES = 128, /* room for struct io_uring_params */
    SLOT_RING_BUFFERS = 64,       /* entries of each provided-buffer ring */
    SLOT_CLASSES = 2,             /* large, small */
    LOG_RING_RECORDS = 4096,
};

enum slot_state {
    SLOT_EMPTY = 0,
    SLOT_ADOPTING = 1, /* an incarnation is starting */
    SLOT_SERVING = 2,
    SLOT_DONE = 3, /* drained or stopped */
};

struct slot_stats {
#define SLOT_STAT(name, meaning) uint64_t name;
#include "shm/stats.def"
#undef SLOT_STAT
    uint64_t closes[CLOSE_REASON_COUNT];
};

/* A place for a listening socket; its descriptor has an agreed number. */
enum slot_listener_state {
    SLOT_LISTENER_NONE = 0,
    SLOT_LISTENER_RECEIVED = 1, /* for an image that is to come */
    SLOT_LISTENER_OPEN = 2,     /* accepts; not in the image any more: takes who still waits, then closes */
};

struct slot_listener {
    uint64_t generation; /* of the first image that may name it */
    uint16_t row;
    uint8_t state; /* enum slot_listener_state */
    uint8_t local; /* unix */
    uint32_t reserved;
};

/* The session that was being handled at the last faults, and how many in a row: io/suspect.h. */
struct slot_suspect {
    uint32_t session;
    uint32_t generation;
    uint32_t faults;
};

struct worker_slot {
    /* Who serves. `epoch` is stored last when a new ring is ready: its parity says which of the two rings lives. */
    uint32_t pid;              /* 0: nobody */
    uint32_t keeper_pid;       /* written by the keeper */
    uint32_t state;            /* enum slot_state */
    uint32_t epoch;            /* incarnations that got a ring */
    uint32_t session_high;     /* sessions ever used: 0..session_high-1 */
    uint32_t fd_floor;         /* written by the keeper: descriptors below are not sessions' */
    uint64_t image_generation; /* the configuration taken */
    uint64_t serial;           /* sessions ever accepted */
    uint32_t flow_claim;       /* flow entry being claimed, see shm/flow_table.h; FLOW_NONE: none */
    uint32_t deaths;           /* written by the keeper */
    uint64_t adopted_us;       /* when the last adoption was through */
    uint64_t adoption_us;      /* how long it took */
    uint32_t handling;         /* session that something is being done for; SESSION_NONE: none */
    uint32_t fault;            /* not 0: the death is a fault of the worker's own, see io/suspect.h */
    struct slot_suspect suspect;
    uint32_t unresumed;      /* sessions that the last adoption has not come to: io/adopt.h */
    uint64_t order_answered; /* the last order that was carried out: shm/order.h */
#ifdef PENSTOCK_FAULT_POINTS
    struct fault_choice fault_choice;
    uint32_t reserved0[3];
#else
    uint32_t reserved0[8];
#endif

    /* Derived, published for status and least_sessions; busy_us and completions last. */
    _Alignas(64) uint32_t sessions_active;
    uint32_t buffers_large_lent; /* in chains or in the receive rings */
    uint32_t buffers_small_lent;
    uint32_t receivers_waiting;
    uint32_t accept_paused;
    uint32_t share_bytes;
    uint64_t beat_ms; /* the loop's last turn */
    uint64_t heap_bytes;
    uint64_t busy_us; /* of all incarnations: CPU time but for spinning; one store, so never half counted */
    uint32_t busy_permille; /* of the last second or two */
    uint32_t reserved1;
    uint64_t completions; /* of all incarnations, but for a dead one's last turn */

    /* The access log's ring: records head-LOG_RING_RECORDS..head-1 of this slot's part of LOG_RECORDS. */
    _Alignas(64) uint64_t log_head;
    _Alignas(64) uint64_t log_tail; /* written by the logger */

    _Alignas(64) uint8_t ring_params[2][SLOT_RING_PARAMS_BYTES];
    /* The buffer behind each id of the provided-buffer rings. */
    uint32_t ring_buffers[SLOT_CLASSES][SLOT_RING_BUFFERS];

    struct slot_listener listeners[IMAGE_BINDS_MAX];

    _Alignas(64) struct slot_stats stats;
    _Alignas(4096) struct undo_log undo;
};

/* What each slot counts for each server row; `sessions` is derived. */
struct server_counters {
    uint32_t sessions;
    uint32_t reserved;
    uint64_t connects;
    uint64_t failures;
    uint64_t bytes_to;
    uint64_t bytes_from;
    uint64_t redispatches; /* sessions that another server took over, since connecting to this one failed */
    uint64_t ports_exhausted; /* times it was passed over because no source port was free toward it */
    uint64_t reserved1;
};

_Static_assert(sizeof(struct server_counters) == 64, "one cache line a server and slot");

/* What each slot counts for each listener row. */
struct listener_counters {
    uint64_t accepted;
    uint64_t closes[CLOSE_REASON_COUNT];
    struct time_histogram first_bytes; /* from accepting to the server's first byte */
    struct time_histogram durations;   /* of sessions that ended, but for damaged ones */
};

/* One ended session for the access log. Times are CLOCK_MONOTONIC microseconds, 0 where it never came to that. */
struct log_record {
    uint64_t serial;
    uint64_t accepted_us;
    uint64_t connected_us;
    uint64_t first_byte_us;
    uint64_t closed_us;
    uint64_t bytes_from_client;
    uint64_t bytes_from_server;
    uint16_t listener_row;
    uint16_t pool_row;
    uint16_t server_row;
    uint16_t source_port;
    uint8_t reason;
    uint8_t tries;
    uint8_t source_family;
    uint8_t reserved[5];
    uint8_t source_address[16];
    uint8_t reserved1[40];
};

_Static_assert(sizeof(struct log_record) == 128, "two cache lines a record");

static inline struct worker_slot *region_slot(const struct region *region, uint32_t slot)
{
    return region_row(region, TABLE_SLOTS, slot);
}

static inline struct server_counters *region_server_counters(const struct region *region, uint32_t slot,
                                                             uint16_t row)
{
    return region_row(region, TABLE_SERVER_COUNTERS, (uint64_t)slot * IMAGE_SERVERS_MAX + row);
}

/* How long connecting to a server took. A row's pages are there once it was connected to: look at its
 * connects first. */
static inline struct time_histogram *region_connect_times(const struct region *region, uint32_t slot,
                                                          uint16_t row)
{
    return region_row(region, TABLE_CONNECT_TIMES, (uint64_t)slot * IMAGE_SERVERS_MAX + row);
}

/* How long adoptions of the slot took. */
static inline struct time_histogram *region_adoption_times(const struct region *region, uint32_t slot)
{
    return region_row(region, TABLE_ADOPTION_TIMES, slot);
}

static inline struct listener_counters *region_listener_counters(const struct region *region, uint32_t slot,
                                                                 uint16_t row)
{
    return region_row(region, TABLE_LISTENER_COUNTERS, (uint64_t)slot * IMAGE_LISTENERS_MAX + row);
}

/* A record of the slot's log ring; `number` counts from 0 and wraps in the ring. */
static inline struct log_record *region_log_record(const struct region *region, uint32_t slot,
                                                   uint64_t number)
{
    return region_row(region, TABLE_LOG_RECORDS,
                      (uint64_t)slot * LOG_RING_RECORDS + number % LOG_RING_RECORDS);
}

/* Whether what a new incarnation relies on is sound. */
bool worker_slot_check(const struct worker_slot *slot, const struct region *region);

#endif
