/*
 * The source ports that one worker has toward one server from one address, and which of them is used next:
 * the one whose last use ended longest ago.
 *
 * A port is fresh (not used yet), taken, or waits in one of two queues in the order in which its last use
 * ended: `ready` where nothing is left of that, `resting` where TIME_WAIT may be. Who rests is not given out
 * again for PORT_REST_MS, and then only for the caller to look whether it may be used. Taking costs the same
 * however many ports are in use, and so does the answer that there is none.
 *
 * Pure. The memory, one node for each port that was ever taken, is the caller's.
 */
#ifndef PENSTOCK_CORE_PORT_QUEUE_H
#define PENSTOCK_CORE_PORT_QUEUE_H

#include "core/flow.h"

enum {
    PORT_REST_MS = 1000,      /* RFC 6191, 2: the clock of the timestamps has surely moved on */
    PORT_NODES_INITIAL = 256, /* a page of them */
};

struct port_node {
    uint16_t next; /* in its queue; its own index: taken */
    /* The end of its last use, in eighths of a second; may wrap, which costs a rest too many. */
    uint16_t since;
};

struct port_list {
    uint16_t head, tail;
};

struct port_queue {
    uint16_t first;    /* the lowest of its ports */
    uint32_t count;    /* of ports */
    uint32_t start;    /* node n is port first + (start + n) % count */
    uint32_t used;     /* nodes[0..used-1] were taken before, the others are fresh */
    uint32_t capacity; /* of nodes */
    struct port_list ready, resting;
    struct port_node *nodes;
};

/* All `count` ports from `first` on are fresh; `start` chooses the first to be taken. Without nodes. */
void port_queue_init(struct port_queue *queue, uint16_t first, uint32_t count, uint32_t start);

/* How many nodes there have to be before the next port can be taken; 0: there is room. */
uint32_t port_queue_needs(const struct port_queue *queue);

/* Gives it `capacity` nodes. Returns those it had, for the caller to free. */
struct port_node *port_queue_extend(struct port_queue *queue, struct port_node *nodes, uint32_t capacity);

/* Takes the port whose last use ended longest ago. 0: there is none, or none that has rested. */
uint16_t port_queue_take(struct port_queue *queue, uint64_t now_ms);

/* Gives back a taken port, or never: then it is not given out again. Others are left alone. Into `resting`
 * where it must not be used at once. */
void port_queue_return(struct port_queue *queue, uint16_t port, bool rests, uint64_t now_ms);

/* Who says whether a tuple that was used lately may be used anew. */
enum port_reuse {
    PORT_REUSE_LATE,       /* nobody: not before 2MSL are over */
    PORT_REUSE_KERNEL,     /* the kernel, after PORT_REST_MS: net.ipv4.tcp_tw_reuse */
    PORT_REUSE_TIMESTAMPS, /* we, by RFC 6191: after PORT_REST_MS where both ends had timestamps */
};

/* Whether a tuple with this entry in the flow table may be used for a new connection. */
bool port_may_reuse(const struct flow_entry *entry, enum port_reuse reuse, uint32_t two_msl_ms,
                    uint64_t now_ms);

#endif
