/*
 * The fake network: TCP connections between Penstock and its peers, the descriptor table, the accept queues.
 *
 * A connection is two streams with bounded kernel buffers. Every byte a peer writes is a function of the stream and
 * its position, so buffers are counters and what Penstock sends is compared where the fake kernel takes it. The first
 * eight bytes of a stream name it: that tells, by content alone, whose bytes these are.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_NET_H
#define PENSTOCK_TESTS_SIM_FAKE_NET_H

#include <sys/uio.h>

#include "io/ring.h"
#include "tests/sim/sim.h"

enum net_state { NET_UNCONNECTED, NET_CONNECTING, NET_CONNECTED, NET_FAILED };

enum net_fin_order { NET_FIN_NONE, NET_FIN_FIRST, NET_FIN_SECOND };

enum net_fault {
    NET_FAULT_NONE,
    NET_FAULT_RESET, /* the peer resets */
    NET_FAULT_CLOSE, /* the peer closes whatever is under way */
    NET_FAULT_STILL, /* the peer neither reads nor writes any more */
};

enum {
    SIM_SERVERS = 8,
    NET_NAME_BYTES = 8,
    NET_REST_US = 50000,
};

/* A zero-copy send that the kernel has not told to be through: tests/sim/fake_lent.h. */
struct net_lent {
    bool used;
    bool due; /* the notice is still to come; false: a death took it */
    struct ring_tag tag;
    uint64_t position; /* in the stream to the peer */
    uint32_t length;
    uint32_t count;
    struct iovec vector[RING_SEND_VECTOR];
};

struct net_conn {
    uint32_t id;   /* place in the table; 0 is none */
    uint8_t owner; /* worker whose descriptor it is, by number */
    bool server;   /* a connection Penstock opened */
    uint8_t state;
    uint8_t listener;
    uint8_t outstanding; /* enum conn_op: submitted to the ring and not completed */
    uint8_t unseen;      /* enum conn_op: completed, the completion not yet consumed */
    bool bound;          /* to the port of its window, for good */
    int fd;              /* -1: closed by Penstock, or not accepted yet */
    uint64_t cookie;
    uint16_t remote_port, local_port;
    uint16_t window_low, window_high;

    /* From the peer. */
    uint64_t in_total; /* what the peer is going to write */
    uint64_t in_written;
    uint64_t in_read;
    uint32_t in_room; /* size of the kernel's buffer */
    bool peer_fin;
    uint64_t eof_order; /* when Penstock saw the end: counts all such events; 0: not yet */

    /* To the peer. */
    uint64_t out_sent;
    uint64_t out_read;
    uint64_t out_acked; /* acknowledged by the peer's kernel, read or not */
    struct net_lent lent[LENT_SENDS];
    uint32_t out_room;
    bool our_fin;
    bool ack_late;   /* only what the peer has read is acknowledged */
    uint8_t notices; /* that Penstock knows to come */

    bool accepted; /* or opened */
    bool closed;   /* by Penstock */
    bool aborted;  /* close() will send RST */
    bool reset;    /* ended by RST, from either side */
    bool reset_by_peer;
    int error;        /* sk_err: what the next call reports */
    bool peer_closed; /* the peer's descriptor is gone: what still comes is answered by RST */
    bool peer_done;   /* the peer has seen the end */
    bool fin_waits;   /* the peer ends its stream after ours */
    bool paired_by_content;
    uint8_t fault;       /* enum net_fault */
    uint64_t fault_at;   /* bytes read and written by the peer until it happens */
    uint64_t wake_us;    /* the peer sleeps until then */
    uint64_t acted_us;   /* the last time the peer read, wrote or ended */
    uint64_t moved_us;   /* the last time Penstock moved a byte or saw the end */
    uint64_t stirred_us; /* when it began to move after a rest, and until when it had moved before */
    uint64_t rested_us;

    /* A connect under way, or its outcome nobody asked for yet. */
    int connect_result;
    uint64_t connect_at_us;
    int failed; /* outcome told to Penstock, 0: none */
    bool cut;   /* the connect, or the poll for it, was cut off by a death */
    bool told;  /* that it is connected */

    bool stream;      /* the peer has much to write */
    bool trickles;    /* and does it in small pieces now */
    bool nonblocking; /* O_NONBLOCK */

    uint32_t partner;             /* the connection on the other side of Penstock */
    uint32_t attempts;            /* client: connects made for it */
    uint8_t name[NET_NAME_BYTES]; /* the first bytes sent to the peer */
    uint32_t place;               /* session index * 2 + side that it last had an operation for */
    bool hot;                     /* listed by the ring: something may have become possible */
    bool peer_listed;
    bool watched; /* in the set of io/watch.h, and to be reported */
    bool watch_listed;
    uint64_t watch_handle;
    /* From the access log. */
    bool logged;
    uint8_t reason;
    bool serial_known;

    /* The kernel's end: fake_tcp.h. */
    uint8_t fin_order; /* enum net_fin_order: which our FIN is */
    bool timestamps;   /* negotiated */
    bool fin_acked;    /* our FIN */
    bool locked;       /* a program runs for it */
    bool gone;         /* there is no socket */
    bool claimed_late; /* while the program for that ran */
    bool tcp_listed;   /* it is to go on */
    uint32_t tuple;    /* of a client: the first connection from its address */
    uint32_t again;    /* the next one, 0: none */
    uint32_t holder;   /* and the last one, of the first */
    uint32_t before;   /* who had the tuple before; 0: nobody */
    uint32_t wait;     /* index and one of its entry in FIN_WAIT2 or TIME_WAIT */
    uint32_t expire_ms;
    uint64_t goes_on_us; /* where tcp_listed */

    uint64_t serial; /* where serial_known */
};

struct net_queue {
    uint32_t ids[512];
    uint32_t count;
    uint64_t dead_until_us; /* an accept of a dead ring may take a wake-up until then */
    uint32_t budget;        /* connections that may be accepted within one call: what a queue holds */
    bool open;
};

struct net {
    struct net_conn *conns; /* 1..count */
    uint32_t count, capacity;
    uint64_t cookies;
    struct net_queue queues[SIM_SLOTS_MAX][SIM_LISTENERS_MAX]; /* net_queue() */
    uint32_t slots;                                            /* that get connections */
    uint32_t clients;                                          /* created so far */
    uint32_t clients_alive;                                    /* whose peer has not seen the end */
    uint64_t eofs;
    uint64_t accepts; /* told to Penstock */
    uint64_t refused_buffers;
    uint64_t refused_beside; /* of them: a small one, while there were large ones in their ring */
    uint64_t open_failures;  /* sock_open() that failed */
    uint64_t pressed_us;     /* the last time accepting or receiving had to wait for something */
    uint32_t *peers;         /* connections with a peer that may act */
    uint32_t peer_count;
    uint32_t *connecting;
    uint32_t connecting_count;
    uint8_t ports_used[SIM_SERVERS][65536]; /* by net_port_used() */
    bool silent;                            /* no new clients */
};

extern struct net net;

/* The descriptors of a keeper and its workers. */
struct net_table {
    uint32_t conns[SIM_FDS]; /* connection behind a descriptor; 0: free */
    uint32_t limit, open;
    uint32_t *watched; /* connections that may be in the set of io/watch.h */
    uint32_t watched_count;
    uint32_t watch_turn; /* where the last look ended */
};

extern struct net_table *net_table; /* of the worker that runs */

void net_init(void);
void net_free(void);
void net_enter(uint32_t number);

/* The accept queue of a listener: a unix listener's is the same for all slots. */
struct net_queue *net_queue(uint32_t slot, uint32_t listener);

static inline struct net_conn *net_conn(uint32_t id)
{
    return id != 0 ? &net.conns[id] : NULL;
}

/* The connection behind a descriptor, NULL: none. */
struct net_conn *net_at(int fd);

/* Lowest free number from the floor up, -EMFILE at the limit. */
int net_take_fd(struct net_conn *conn);

struct net_conn *net_create(bool server);

/* Bytes Penstock may read now; bytes it may send. */
static inline uint64_t net_readable(const struct net_conn *conn)
{
    return conn->in_written - conn->in_read;
}

static inline uint64_t net_room(const struct net_conn *conn)
{
    uint64_t queued = conn->out_sent - conn->out_read;
    return queued < conn->out_room ? conn->out_room - queued : 0;
}

/* sk_err is told once: -errno or 0. */
static inline int net_take_error(struct net_conn *conn)
{
    int error = conn->error;

    conn->error = 0;
    return -error;
}

/* For the report of a failure. */
void net_print(const struct net_conn *conn);

void net_flow_key(const struct net_conn *conn, struct flow_key *key);

/* Receives `length` bytes. */
void net_read(struct net_conn *conn, uint8_t *to, uint32_t length);

/* Something was sent, received or seen on the connection just now. */
void net_moved(struct net_conn *conn);

/* Sends `length` bytes, checked against the partner's stream. */
void net_write(struct net_conn *conn, const struct iovec *vector, uint32_t count, uint32_t length);

/* Whether `bytes` are what was sent to the peer at `position`. */
bool net_was_sent(const struct net_conn *conn, uint64_t position, const uint8_t *bytes, uint32_t length);

/* connect(2) for `client`'s session: -EINPROGRESS if its outcome comes later, else the result. */
/* The mark of the connection's source port toward its server. */
uint8_t *net_port_used(const struct net_conn *conn, uint32_t port);

int net_connect(struct net_conn *conn, struct net_conn *client, uint16_t remote_port, bool local);

/* Settles connects whose time has come. */
void net_connects_run(void);

/* The peer's doing: see peer.c. */
void peer_plan(struct net_conn *conn);
void peer_list(struct net_conn *conn);
void peer_reset(struct net_conn *conn);

/* Lets about `count` peers act; returns how many did something. */
uint32_t peers_run(uint32_t count);

/* Penstock has closed all; what is on its way still arrives. */
void peers_finish(void);

/* Creates clients while there is room. Returns how many. */
uint32_t peers_arrive(void);

/* Whether the set of io/watch.h has something to report. */
bool net_watch_ready(void);

/* When a peer or a connect wakes next; UINT64_MAX: none. */
uint64_t net_next_us(void);

#endif
