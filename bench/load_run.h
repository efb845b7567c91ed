/*
 * One run of load: its connections, phases, counters and clock. What a connection does is its mode's affair
 * (load_mode.h); opening, retrying, counting, ending and reporting are here, for all modes alike.
 *
 *      opening --> running --> finishing --> over
 *
 * Modes that hold a fixed set of connections begin running when all are open (or given up), the others at
 * once. Finishing begins when the time is over, the count reached or a signal came; what is still open when
 * finishing has taken too long, or at a second signal, is unfinished.
 */
#ifndef PENSTOCK_BENCH_LOAD_RUN_H
#define PENSTOCK_BENCH_LOAD_RUN_H

#include "bench/histogram.h"
#include "bench/load_options.h"
#include "bench/loop.h"
#include "bench/rng.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LOAD_SCRATCH_BYTES  262144

/* Returned by modes and exchanges beside -errno values. */
#define LOAD_ERROR_MISMATCH (-EBADMSG) /* a byte is wrong, or one too many */
#define LOAD_ERROR_SHORT    (-ENODATA) /* FIN before everything had come */

struct load;
struct load_conn;

enum load_phase { LOAD_OPENING, LOAD_RUNNING, LOAD_FINISHING, LOAD_OVER };

struct load_mode {
    const char *name;
    const char *unit; /* what "completed" counts */
    size_t conn_size; /* of the mode's connection, whose first member is struct load_conn */
    bool fixed_set;
    void (*opened)(struct load_conn *conn);
    void (*ready)(struct load_conn *conn, uint32_t events);
    void (*woken)(struct load_conn *conn);  /* its timer fired; may be NULL */
    void (*begin)(struct load_conn *conn);  /* running begins: called for each open one; may be NULL */
    void (*finish)(struct load_conn *conn); /* finishing begins: called for each open one; may be NULL */
};

enum load_conn_state {
    LOAD_CONN_CLOSED,
    LOAD_CONN_WAITING, /* to connect again */
    LOAD_CONN_CONNECTING,
    LOAD_CONN_OPEN,
};

struct load_conn {
    struct loop_source source;
    struct loop_timer timer; /* of this module until open, then of the mode */
    struct load *load;
    enum load_conn_state state;
    uint32_t attempts;
    uint64_t connect_ns;  /* when the connection was begun */
    uint64_t progress_ns; /* since when it has been waiting for bytes it expects; 0: it expects none */
};

struct load_counters {
    uint64_t opened;
    uint64_t completed;
    uint64_t bytes_up;
    uint64_t bytes_down;
    uint64_t connect_retries; /* backlog full, ports taken for the moment: not bad in itself */
    /* All that follow are bad. */
    uint64_t connect_failures;
    uint64_t mismatches;
    uint64_t resets;
    uint64_t short_ends;
    uint64_t closed_early; /* idle and slow: FIN or reset while being held */
    uint64_t unfinished;
};

struct load {
    struct load_options options;
    const struct load_mode *mode;
    struct loop *loop;
    enum load_phase phase;
    struct load_counters counters;
    struct histogram latency_ns;
    uint64_t longest_gap_ns;
    struct rng rng;

    char *conns;       /* options.connections times mode->conn_size */
    size_t next_conn;  /* to open for the first time */
    size_t connecting; /* CONNECTING or WAITING */
    size_t live;       /* not CLOSED */
    uint64_t started;  /* units begun, against options.count */
    bool interrupted;
    bool abandoned;

    struct loop_source signals;
    struct loop_timer ramp; /* paces opening */
    struct loop_timer phase_end;
    struct loop_timer progress;
    uint64_t opening_ns; /* times of the phases */
    uint64_t running_ns;
    uint64_t finishing_ns;
    uint64_t over_ns;
    struct load_counters progress_last;
    uint8_t *scratch; /* LOAD_SCRATCH_BYTES, valid within one handler */
};

/* Takes all memory and descriptors. 0 or -errno, after having said on stderr what is missing. */
int load_init(struct load *load, const struct load_options *options, const struct load_mode *mode);

/* Runs to the end. 0 or -errno. */
int load_run(struct load *load);
void load_fini(struct load *load);

/* True if nothing went wrong. */
bool load_is_well(const struct load *load);

/* Claims one unit of --count. False if the run is finishing or the count is reached: no more may begin. */
bool load_claim(struct load *load);

/* Counts a failure of an open connection (-errno, LOAD_ERROR_...) and says the first few on stderr. */
void load_count_error(struct load *load, int error);

/* --- load_conn.c ------------------------------------------------------------------------------------- */

/* The i-th connection. */
struct load_conn *load_conn_at(const struct load *load, size_t index);

/* Begins to connect; the mode's opened follows, or the connection is given up and counted. */
void load_conn_open(struct load_conn *conn);

/* The connection has done its work, or failed: where connections turn over it is opened anew (after a failure
 * only after a moment, so that a dead server is not hammered), else closed. */
void load_conn_recycle(struct load_conn *conn, bool after_failure);

/* Counts the error and recycles. */
void load_conn_fail(struct load_conn *conn, int error);

/* Closes; a run that is finishing ends with its last connection. */
void load_conn_close(struct load_conn *conn);

/* Watches the events. Closes and counts the connection if epoll refuses: false then. */
bool load_conn_watch(struct load_conn *conn, uint32_t events);

void load_conn_sleep(struct load_conn *conn, uint64_t delay_ns);

/* As socket_send and socket_receive, counting the bytes. */
ssize_t load_conn_send(struct load_conn *conn, const void *data, size_t length);
ssize_t load_conn_receive(struct load_conn *conn, void *data, size_t length);

/* From now on the connection expects bytes; each arrival, the end of the expectation, and the end of the run
 * settle the gap since. */
void load_conn_expect(struct load_conn *conn);
void load_conn_settle_gap(struct load_conn *conn);

/* --- load_run.c, for load_conn.c --------------------------------------------------------------------- */

/* A connection has opened, failed or closed: opens the next, moves on to the next phase. */
void load_advance(struct load *load);

#endif
