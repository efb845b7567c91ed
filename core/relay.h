/*
 * The relay's step: a pure function from (session, event) to actions.
 *
 * It knows nothing of rings, descriptors or time but what it is told. io/relay.c turns completions into events,
 * calls relay_step() inside a transaction and carries out the actions. After a death, adoption applies the
 * completions left behind the same way, clears what was in flight and asks RELAY_PLAN what each session needs:
 * there is no second path.
 */
#ifndef PENSTOCK_CORE_RELAY_H
#define PENSTOCK_CORE_RELAY_H

#include "core/chain.h"

enum relay_event_kind {
    RELAY_PLAN,          /* nothing happened: what is to be done? */
    RELAY_CHOSEN,        /* a server was chosen and a socket made for it: `fd`, `cookie`, `row` */
    RELAY_NO_SERVER,     /* no server is left to try; `result` is -errno of a local failure or 0 */
    RELAY_NO_PORT,       /* no source port is free for the connect that was asked for */
    RELAY_CONNECTED,     /* the connect ended: `result` is 0 or -errno, -ECANCELED by us */
    RELAY_RECEIVED,      /* `result` bytes from `side` into `buffer`; `more` while the receive stays armed */
    RELAY_RECEIVE_ENDED, /* the receive on `side` ended: `result` is 0 at EOF, else -errno */
    RELAY_SENT,      /* the send to `side` ended: `result` is bytes or -errno; `more`: its notice follows */
    RELAY_RETURNED,  /* the kernel reads the buffers of the zero-copy sends in `places` no more */
    RELAY_POLLED,    /* the poll on `side` ended: `result` is 0 or -errno; `more`: bytes, and nothing else */
    RELAY_FILLED,    /* the splice from `side` into its pipe: `result` is bytes or -errno */
    RELAY_DRAINED,   /* the splice from the other side's pipe to `side`: `result` is bytes or -errno */
    RELAY_WRITABLE,  /* `side` takes bytes again */
    RELAY_GRANTED,   /* a receiver on `side` that was refused a buffer may try again */
    RELAY_TIMED_OUT, /* session_due_ms() may have come: deadlines are lazy */
    RELAY_STOP,      /* end now: `reason` */
};

struct relay_event {
    enum relay_event_kind kind;
    enum side side;
    int32_t result;
    bool more;
    uint32_t buffer;
    int fd;
    uint64_t cookie;
    uint16_t row;
    uint8_t places; /* bits: core/lent.h */
    enum close_reason reason;
};

/* What a session wants done; bits marked (side) are shifted left by the side. */
enum relay_action {
    RELAY_DO_RECV = 1 << 0,         /* (side) arm a receive */
    RELAY_DO_POLL = 1 << 2,         /* (side) arm a poll for readability, or writability while connecting */
    RELAY_DO_SEND = 1 << 4,         /* (side) send the other side's chain to this side */
    RELAY_DO_SHUTDOWN = 1 << 6,     /* (side) pass on EOF: shutdown(SHUT_WR) */
    RELAY_DO_CANCEL_INPUT = 1 << 8, /* (side) cancel the receive, poll or connect in flight */
    RELAY_DO_WATCH = 1 << 10,       /* (side) wait until this side takes bytes again: RELAY_WRITABLE */
    RELAY_DO_WAIT = 1 << 12,        /* (side) queue the receiver for a buffer */
    RELAY_DO_CONNECT = 1 << 14,     /* connect the server's socket */
    RELAY_DO_CHOOSE = 1 << 15,      /* choose a server; answered by RELAY_CHOSEN or RELAY_NO_SERVER */
    RELAY_DO_DROP_SERVER = 1 << 16, /* close the socket whose connect failed; before RELAY_DO_CHOOSE */
    RELAY_DO_FINISH = 1 << 17,      /* close both descriptors and free the record */
    RELAY_DO_FILL = 1 << 18,  /* (side) splice from this side into its pipe, or into one that is lent now */
    RELAY_DO_DRAIN = 1 << 20, /* (side) splice the other side's pipe to this side */
    RELAY_DO_PAUSE = 1 << 22, /* ask RELAY_TIMED_OUT in RELAY_PORT_PAUSE_MS */
    RELAY_DO_RESET = 1 << 23, /* (side) reset the connection, which ends what is lent; may be repeated */
};

struct relay_actions {
    uint32_t todo;               /* enum relay_action */
    struct buffer_list released; /* buffers the step took out of a chain: back to the bank */
    struct {
        uint16_t pipe;  /* given back; PIPE_NONE: none */
        uint32_t bytes; /* that are still in it */
    } pipes[SIDE_COUNT];
};

/* A stream's splice of fewer bytes, twice in a row, sends the direction back to receiving: there a small message costs
 * less. */
enum { RELAY_STREAM_MIN_BYTES = 8 * 1024 };

/* A connect whose source port the kernel finds taken is tried from so many other ports. */
enum { RELAY_PORT_TRIES = 4 };

/* When there is none at all it is tried again for a while: a port in TIME_WAIT may be used for the same server after a
 * second (core/port_queue.h). */
enum { RELAY_PORT_PAUSE_MS = 20, RELAY_PORT_WAIT_MS = 1500 };

/* The step's surroundings. */
struct relay_env {
    struct buffer_table table;
    uint32_t share_bytes; /* what a direction may hold now */
    bool pipes;           /* there are some to lend */
    uint64_t now_ms;
    uint64_t now_us;
    bool adopting; /* only the event is applied; what is to be done is asked by RELAY_PLAN later */
    struct image_timeouts timeouts; /* of this session; read by RELAY_TIMED_OUT, as what follows */
    uint64_t heard_ms;              /* when a peer last acknowledged bytes on their way to it; 0: none are */
    uint32_t retries;               /* of this session's pool; read when a connect fails */
};

/* Changes the session by the event and says what is to be done. In-flight bits of what it asks for are set by the
 * caller when it submits. */
struct relay_actions relay_step(struct session *session, const struct relay_event *event,
                                const struct relay_env *env);

#endif
