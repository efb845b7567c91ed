/*
 * The worker: one incarnation's private state, and its loop.
 *
 * Everything here but `slot`, `slab.sessions`, `bank.table` and the flow table is private to the incarnation and
 * derived: it dies with it and is rebuilt by adoption. One worker per slot at a time; single-threaded.
 */
#ifndef PENSTOCK_IO_WORKER_H
#define PENSTOCK_IO_WORKER_H

#include "core/relay.h"
#include "core/wheel.h"
#include "io/pipe.h"
#include "io/ring.h"
#include "io/source_port.h"
#include "shm/buffer_bank.h"
#include "shm/flow_table.h"
#include "shm/session_slab.h"
#include "shm/worker_slot.h"

enum {
    WORKER_TXN_SUBMISSIONS = 16, /* what one transaction submits at most */
    WORKER_TICK_MS = 1000,       /* the loop turns at least this often: heartbeat, sweeper */
    LEAVE_TURN_MS = 20,          /* and this often while listening sockets are to be closed */
    LISTENER_LOCAL_BATCH = 8,    /* accepts submitted at once for a unix listener */
    WORKER_RESUME_BATCH = 256,   /* sessions resumed in one turn after an adoption: about a millisecond */
    DESCRIPTORS_SPARE = 32,      /* kept free of sessions: rings, files read now and then */
    WORKER_PAUSE_MS = 100,       /* accepting looks again this long after a limit was reached */
    WORKER_DONE = 1,             /* drained or stopped */
};

/* A place for a listening socket of this worker. What lasts is in struct slot_listener. */
struct worker_listener {
    bool open;
    bool leaving;    /* accepts who still waits, then is closed */
    bool local;      /* unix: polled and then accepted from, since workers share it */
    bool readable;   /* unix: a poll said so and no accept since has found it empty */
    bool waits;      /* unix before Linux 6.10: its accepts cannot but wait, so it is armed like the others */
    bool multishot;  /* the accept in flight stays armed */
    bool cancelling; /* and is being cancelled */
    uint16_t row;
    uint32_t pending;   /* accepts or polls in flight */
    uint64_t closes_ms; /* leaving: not before; every accept moves it */
};

/* What the current image says of a listener's row. */
struct worker_route {
    uint32_t pool; /* index in the image */
    uint16_t pool_row;
    bool zero_copy;
    struct image_timeouts timeouts;
};

/* Receivers that were refused a buffer, first come first served; linked by conn.wait_next. */
struct wait_queue {
    uint32_t head, tail; /* session index * 2 + side; SESSION_NONE: empty */
    uint32_t count;
};

/* Sessions that an adoption has not resumed yet (io/adopt.h), linked by session.wheel_next. */
struct resume_queue {
    uint32_t head, tail; /* session index; SESSION_NONE: empty */
    uint32_t count;
};

/* Splices that the last step asked for and that wait for its commit. */
struct worker_splices {
    uint32_t todo; /* RELAY_DO_FILL, RELAY_DO_DRAIN; 0: none */
    uint32_t session;
};

struct worker {
    struct region region;
    uint32_t slot_index;
    struct worker_slot *slot;
    struct ring *ring;
    struct session_slab slab;
    struct buffer_bank bank;
    struct flow_table flows;
    struct wheel wheel;

    const struct image *image;
    struct worker_route routes[IMAGE_LISTENERS_MAX]; /* by listener row */
    uint16_t pool_index[IMAGE_POOLS_MAX];            /* by pool row; ROW_NONE: not in the image */
    int32_t credit[IMAGE_SERVERS_MAX];               /* round robin's memory, by server row */

    struct worker_listener listeners[IMAGE_BINDS_MAX]; /* by place */
    uint32_t listeners_open, listeners_leaving;
    int listener_base; /* descriptor of place 0 */
    int inbox_fd;
    uint64_t bank_bytes;      /* this worker's part of the bank */
    uint64_t accept_after_ms; /* accepting is paused until then */
    uint64_t pause_log_after_ms;
    uint64_t rekick_ms; /* after an adoption: when accepts are armed once more; 0: done */
    uint32_t rekick_pause_ms;
    uint32_t descriptors_limit; /* RLIMIT_NOFILE */
    uint32_t sessions_max;      /* what descriptors and the completion queue allow this worker */

    struct wait_queue waiting;
    struct resume_queue resuming;
    uint32_t resume_batch;
    uint32_t ring_entries[BUFFER_CLASSES]; /* size of each provided-buffer ring */
    uint32_t ring_filled[BUFFER_CLASSES];  /* buffers the kernel holds of each */
    uint32_t active_directions;            /* with data in flight */
    uint32_t notices_due;                  /* zero-copy sends of which the kernel has not let go */
    uint32_t finishing;                    /* session to finish after the commit; SESSION_NONE */
    uint32_t resetting;                    /* session whose lent bytes end after the commit; likewise */

    int pipe_base; /* io/pipe.h */
    uint16_t pipes[PIPE_COUNT];
    uint32_t pipes_free; /* pipes[0..pipes_free-1] are ready to be lent */
    uint32_t pipes_full; /* pipes[PIPE_COUNT-pipes_full..PIPE_COUNT-1], taken back, have to be emptied */

    struct worker_splices splices;

    struct source_ports sources;
    uint32_t accept_kick; /* of the region's header, as last seen */
    uint64_t sweep_after_ms;
    uint64_t now_us;
    uint64_t now_ms;
    bool adopting; /* completions are applied, nothing is issued */
    bool refusing; /* takes nobody any more, not even who waits in a queue */
    int wake_fd;
    bool wake_armed;
    int watch_fd; /* io/watch.h */
    bool watch_armed;
    bool watch_crowded;     /* more sockets had become writable than were served */
    uint64_t completed_us;  /* when the last completion was handled: spinning ends some time after */
    uint64_t cpu_us;        /* of this process, when it was last counted */
    uint64_t counted_us;    /* when that was */
    uint64_t spun_us;       /* since then */
    bool congestion_warned; /* since the current image was taken */
    bool image_complete;    /* the sockets of all its binds have come */
    bool image_drained;     /* what it has no place for any more was ended */
};

/* What the process gives a worker to begin with. Descriptor numbers are the keeper's (cmd/descriptors.h). */
struct worker_setup {
    const struct region *region;
    uint32_t slot;
    int ring_fds[2];            /* where the rings of even and odd epochs live */
    int watch_fd;               /* where the set of io/watch.h lives */
    int pipe_base;              /* where the pipes of io/pipe.h begin */
    int wake_fd;                /* eventfd: look at the run state and the image */
    int inbox_fd;               /* io/inbox.h */
    int listener_base;          /* descriptor of the first place for a listening socket */
    uint32_t descriptors_limit; /* RLIMIT_NOFILE */
    uint32_t resume_batch;      /* sessions resumed in one turn after an adoption */
};

/* Makes the worker of a slot: adopts what the last incarnation left, or begins anew. 0 or -errno. */
int worker_start(struct worker *worker, const struct worker_setup *setup);

/* One turn of the loop: handles what has completed, submits, waits for more. 0, WORKER_DONE, or -errno where the ring
 * failed. */
int worker_turn(struct worker *worker);

/* Serves until drained or stopped. 0, or -errno where the ring failed. */
int worker_run(struct worker *worker);

#endif
