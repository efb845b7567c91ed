/*
 * A session: one client connection and one server connection, bound.
 *
 * It is two connection blocks, allocated as one record of 256 bytes: what both share, then one cache line a side.
 * This is the truth about a session. It lies in shared memory (shm/session_slab.h), is changed only by the worker
 * that owns it, inside transactions (shm/undo.h), and read by anybody. Fields marked "derived" are not part of the
 * truth: a new incarnation rebuilds them.
 *
 * A *direction* is named by the side it comes from: conn[CLIENT] holds what was received from the client and not
 * yet sent to the server.
 */
#ifndef PENSTOCK_CORE_SESSION_H
#define PENSTOCK_CORE_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/image.h"

enum side { SIDE_CLIENT = 0, SIDE_SERVER = 1, SIDE_COUNT = 2 };

enum session_phase {
#define SESSION_PHASE(name, text) SESSION_##name,
#include "core/session.def"
#undef SESSION_PHASE
    SESSION_PHASE_COUNT
};

enum close_reason {
#define CLOSE_REASON(name, text, meaning) CLOSE_##name,
#include "core/close_reason.def"
#undef CLOSE_REASON
    CLOSE_REASON_COUNT
};

/* Operations in flight on one connection: bits of conn.in_flight. At most one of the input operations and at most
 * one send. */
enum conn_op {
    CONN_OP_RECV = 1 << 0,
    CONN_OP_POLL = 1 << 1,
    CONN_OP_CONNECT = 1 << 2,
    CONN_OP_SEND = 1 << 3,
    CONN_OP_NOTICE = 1 << 4, /* of zero-copy sends: that the kernel reads their buffers no more */
    CONN_OP_INPUT = CONN_OP_RECV | CONN_OP_POLL | CONN_OP_CONNECT,
    CONN_OP_ALL = CONN_OP_INPUT | CONN_OP_SEND | CONN_OP_NOTICE,
};

/* Receiving from a side. */
enum conn_source { SOURCE_OPEN = 0, SOURCE_EOF = 1, SOURCE_RESET = 2, SOURCE_COUNT };

/* Sending to a side: SHUT once our FIN was handed to the kernel, DEAD once a send failed. */
enum conn_sink { SINK_OPEN = 0, SINK_SHUT = 1, SINK_DEAD = 2, SINK_COUNT };

enum conn_flag {
    CONN_CANCEL_INPUT = 1 << 0, /* the input operation is being cancelled */
    CONN_BLOCKED = 1 << 1,      /* the kernel takes no more for this side until it is writable */
    CONN_WAITING = 1 << 2,      /* refused a buffer, in the queue of receivers */
    CONN_DOZING = 1 << 3,       /* idle for long: a POLL instead of a receive */
    CONN_CONNECT_POLL = 1 << 4, /* adopted while connecting: wait for writability before asking again */
    CONN_FIN_FIRST = 1 << 5,    /* our FIN went out before the peer's came: TIME_WAIT is on our end */
    CONN_SMALL = 1 << 6,        /* the receive in flight takes small buffers */
    CONN_WATCHED = 1 << 7,      /* derived: known to the worker's watch set */
    CONN_INTERACTIVE = 1 << 8,  /* the last receive left room in its buffer: small messages */
    CONN_FULL = 1 << 9,         /* the last receive filled a large buffer */
    CONN_STREAMING = 1 << 10,   /* a stream: polled, and spliced through a pipe instead of received */
    CONN_READABLE = 1 << 11,    /* of a stream: the poll has fired, a splice is due */
    CONN_TRICKLE = 1 << 12,     /* of a stream: the last splice brought little */
    CONN_NONBLOCKING = 1 << 13, /* the socket has been made so, for splice(2) */
    CONN_NO_PORT = 1 << 14,     /* server: no source port is free, the connect is tried again soon */
};

enum session_flag {
    SESSION_ABORT = 1 << 0,         /* close with RST */
    SESSION_SERVER_FIRST = 1 << 1,  /* the server's direction ended first */
    SESSION_NEVER_STREAMS = 1 << 2, /* one side is a unix socket */
    SESSION_ZERO_COPY = 1 << 3,     /* shifted left by the side: large sends to it are zero-copy */
};

/* An armed receive holds 864 bytes of kernel memory a side, a POLL 256: after this long without a byte it pays. */
enum { SESSION_DOZE_AFTER_MS = 5000 };

/* Zero-copy sends to a side at once. Further ones copy, so that none ever waits for the peer. */
enum { LENT_SENDS = 3 };

#define BUFFER_NONE  UINT32_MAX
#define FLOW_NONE    UINT32_MAX
#define SESSION_NONE UINT32_MAX
#define PIPE_NONE    UINT16_MAX

struct conn {
    uint64_t cookie;         /* SO_COOKIE of fd: a descriptor's number is not its identity */
    uint64_t received_bytes; /* from this side, in all */
    int32_t fd;              /* -1: none */
    uint32_t flow;           /* flow entry, FLOW_NONE: none */
    uint32_t chain_head;     /* buffers received from this side, oldest first; BUFFER_NONE: none */
    uint32_t chain_tail;
    uint32_t chain_offset; /* bytes of the head already sent */
    uint32_t queued_bytes; /* received from this side, not yet taken by the other side's kernel, or lent */
    uint32_t held_bytes;   /* capacity of the chain's buffers: what counts against the fair share */
    uint32_t wait_next;    /* derived: neighbours in the queue of receivers without a buffer */
    uint32_t wait_prev;
    uint32_t offered_bytes; /* of the send in flight: less taken means the kernel's buffer is full */
    uint16_t flags;         /* enum conn_flag */
    uint8_t in_flight;      /* enum conn_op */
    uint8_t source;         /* enum conn_source */
    uint8_t sink;           /* enum conn_sink */
    uint8_t port_tries;     /* server: source ports that turned out to be taken */
    uint16_t pipe; /* lent, with queued_bytes of this side in it instead of a chain; PIPE_NONE: none */
};

/* Zero-copy sends to a side that the kernel may still read: core/lent.h. */
struct lent_queue {
    uint8_t first : 4; /* place of the oldest */
    uint8_t count : 4;
    uint8_t waiting; /* bits: places whose notice has not come */
};

struct session {
    uint32_t generation; /* +1 with every allocation; atomic, see shm/session_slab.h */
    uint8_t phase;       /* enum session_phase; atomic, written by session_set_phase() only */
    uint8_t reason;      /* enum close_reason */
    uint8_t flags;       /* enum session_flag */
    uint8_t tries;       /* servers that failed so far: tried[0..tries-1] */
    uint64_t serial;     /* counts all sessions of the slot, for the log */
    uint64_t accepted_us;
    uint64_t connected_us;  /* 0: not yet */
    uint64_t first_byte_us; /* first byte from the server; 0: not yet */
    uint64_t active_ms;     /* the last time a byte moved, or the phase began */
    uint16_t listener_row;  /* rows of the region's name tables: stable across reloads */
    uint16_t pool_row;
    uint16_t server_row; /* ROW_NONE: none */
    uint16_t tried[IMAGE_RETRIES_MAX];
    uint8_t source_family; /* of the client: enum endpoint_family, port and address */
    uint8_t reserved8;
    uint16_t source_port;
    uint8_t source_address[16];
    uint32_t wheel_next; /* derived: the timer wheel's links, or the slab's free list */
    uint32_t wheel_prev;
    uint32_t wheel_slot;
    uint32_t lent_bytes[SIDE_COUNT][LENT_SENDS]; /* by place */
    struct lent_queue lent[SIDE_COUNT];
    struct conn conn[SIDE_COUNT];
};

_Static_assert(sizeof(struct conn) == 64, "one cache line a side");
_Static_assert(sizeof(struct session) == 256, "a session's two connection blocks: 128 bytes each");

/* Whether an armed receive on this side could be a POLL instead, once it has been idle for long. */
static inline bool conn_may_doze(const struct conn *conn)
{
    return (conn->in_flight & CONN_OP_RECV) && conn->queued_bytes == 0 && !(conn->flags & CONN_DOZING);
}

/* Makes a free record a session that was just accepted. `fd` is the client's descriptor. */
void session_init(struct session *session, int fd, uint64_t cookie, uint64_t now_us);

/* The only writer of the phase: checks the step against core/session.def. */
void session_set_phase(struct session *session, enum session_phase phase, uint64_t now_ms);

/* The first reason stays. Moves the session to CLOSING, with RST if `abort`. */
void session_close(struct session *session, enum close_reason reason, bool abort, uint64_t now_ms);

/* Whether the record obeys its invariants; false means it was damaged. */
bool session_check(const struct session *session);

/* Which timeout the session's silence has reached; CLOSE_NONE: none. */
enum close_reason session_silence(const struct session *session, const struct image_timeouts *timeouts,
                                  uint64_t now_ms);

/* When the session must be looked at next for a timeout or to put its receivers to rest; UINT64_MAX: never. */
uint64_t session_due_ms(const struct session *session, const struct image_timeouts *timeouts);

const char *session_phase_text(enum session_phase phase);
const char *close_reason_text(enum close_reason reason);

#endif
