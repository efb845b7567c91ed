/*
 * The origin: listeners, connections and totals. What a connection does is a service (origin_service.h).
 */
#ifndef PENSTOCK_BENCH_ORIGIN_SERVER_H
#define PENSTOCK_BENCH_ORIGIN_SERVER_H

#include "bench/address.h"
#include "bench/loop.h"
#include "bench/pacer.h"
#include "bench/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ORIGIN_LISTENERS_MAX 64
#define ORIGIN_SCRATCH_BYTES 262144

struct origin;
struct origin_conn;

/* What a connection does once its first bytes, or --mode, have decided it. */
struct origin_service {
    const char *name;
    /* Takes over: head[0, head_length) has been received. The connection may end in here. */
    void (*start)(struct origin_conn *conn);
    void (*ready)(struct origin_conn *conn, uint32_t events);
    void (*woken)(struct origin_conn *conn); /* its timer fired; may be NULL */
};

/* How a connection ended; each is a total. */
enum origin_end {
    ORIGIN_END_OK,
    ORIGIN_END_RESET,      /* the peer reset it, or it broke */
    ORIGIN_END_SHORT,      /* FIN before everything promised had come */
    ORIGIN_END_MISMATCH,   /* wrong bytes, or too many */
    ORIGIN_END_BAD_HEADER, /* not the protocol, or out of its bounds */
    ORIGIN_END_NO_MEMORY,
    ORIGIN_END_COUNT,
};

struct origin_totals {
    uint64_t connections;
    uint64_t streams_verified;
    uint64_t exchanges;
    uint64_t http_requests;
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t accept_pauses; /* accepting stopped for want of descriptors */
    uint64_t accept_errors;
    uint64_t active;
    uint64_t active_max;
    uint64_t ends[ORIGIN_END_COUNT];
};

struct origin_listener {
    struct loop_source source;
    struct origin *origin;
    struct address address;
};

struct origin {
    struct loop *loop;
    const struct origin_service *service; /* of new connections */
    struct origin_listener listeners[ORIGIN_LISTENERS_MAX];
    unsigned listener_count;
    struct loop_timer resume;  /* accepts again after a pause */
    struct origin_conn *conns; /* all of them, for the end */
    size_t conn_max;
    struct origin_totals totals;
    uint64_t started_ns;
    uint8_t *scratch; /* ORIGIN_SCRATCH_BYTES, valid within one handler */
};

struct origin_conn {
    struct loop_source source;
    struct loop_timer timer;
    struct origin *origin;
    const struct origin_service *service;
    struct origin_conn *previous;
    struct origin_conn *next;

    uint8_t head[STREAM_HEADER_BYTES]; /* first bytes */
    uint32_t head_length;
    struct stream_header header;
    uint64_t received; /* after the header */
    uint64_t sent;
    bool input_ended;
    bool output_ended;
    bool paused;
    bool may_be_cut; /* a reset by the peer is its normal end */
    bool failed;     /* what came was wrong; the verdict is kept in status */
    uint64_t status;
    struct pacer pacer;

    /* One message, pingpong and connect-request. */
    uint32_t request_left;
    uint32_t response_left;

    /* A buffer of the service's own, allocated when it needs one, freed with the connection. */
    void *buffer;
};

/* Takes all memory. 0 or -errno. */
int origin_init(struct origin *origin, const struct origin_service *service);

/* Opens a listener; its actual address is in listeners[listener_count - 1]. send_buffer (0: default) is
 * SO_SNDBUF of its connections. 0 or -errno. */
int origin_listen(struct origin *origin, const struct address *address, int send_buffer);

/* Closes everything and removes unix socket files. */
void origin_fini(struct origin *origin);

/* One JSON line with the totals. */
void origin_print(const struct origin *origin, FILE *out);

/* Hands the connection to a service. */
void origin_conn_serve(struct origin_conn *conn, const struct origin_service *service);

/* Watches the events; ends the connection if epoll refuses. False if it ended. */
bool origin_conn_watch(struct origin_conn *conn, uint32_t events);

/* Receives up to length bytes into data: > 0, 0 at the FIN (input_ended is set), -EAGAIN, or -1 after the
 * connection has been ended because of an error. */
ssize_t origin_conn_receive(struct origin_conn *conn, void *data, size_t length);

/* Sends: > 0, -EAGAIN, or -1 after the connection has been ended. */
ssize_t origin_conn_send(struct origin_conn *conn, const void *data, size_t length);

/* Sends the FIN, once. */
void origin_conn_finish(struct origin_conn *conn);

/* Closes, counts and frees the connection. */
void origin_conn_end(struct origin_conn *conn, enum origin_end end);

#endif
