/*
 * Source ports toward servers: which (address, port) a connection comes from.
 *
 * For each (source address, server, part of the range) that was connected from there is a core/port_queue.h.
 * The range, a pool's `source.ports` or else the host's, is split among the workers; whose part is all in use
 * tries a few ports of the others'. A tuple is chosen only if the flow table says that it may be. What is not
 * known here (connections of other programs, of the incarnation before) the flow table or the kernel says,
 * and that port then rests.
 *
 * All of it is private to the incarnation, and begun anew after a death: which ports rest and which are in use is found
 * out when their turn comes. A queue costs 4 bytes for each port that was ever taken from it and is dropped some time
 * after the last of them was.
 */
#ifndef PENSTOCK_IO_SOURCE_PORT_H
#define PENSTOCK_IO_SOURCE_PORT_H

#include "core/port_queue.h"
#include "io/sock.h"

enum {
    SOURCE_CHAINS = 1024,
    SOURCE_QUEUES_MAX = 65534,
    SOURCE_LOG_EVERY_MS = 10000,
};

struct worker;
struct source_queue;

/* What the session holds; `queue` 0: nothing. */
struct source_use {
    uint16_t queue; /* and 1 */
    uint16_t port;
};

struct source_ports {
    struct sock_ports host;
    struct source_use *uses;        /* by session */
    struct source_queue **queues;   /* NULL: free */
    uint32_t first_free;            /* none before it is */
    uint32_t queue_places;          /* of `queues` */
    uint16_t chains[SOURCE_CHAINS]; /* index of a queue and 1, by hash; 0: none */
    uint32_t turn;                  /* through the addresses of a pool */
    uint64_t log_after_ms;          /* that an address failed, that ports are exhausted */
    uint64_t full_log_after_ms;
};

/* Before the sandbox: reads the host's range. 0 or -ENOMEM. */
int source_port_start(struct worker *worker);

/* Takes a port toward `server` for a session of `pool`. False: none is free now, from no address. */
bool source_port_take(struct worker *worker, uint32_t session_index, const struct image_pool *pool,
                      const struct endpoint *server);

bool source_port_is_taken(const struct worker *worker, uint32_t session_index);

/* Makes `fd`, which is not bound to a port, connect from what was taken. -errno: it was given back, and
 * another may do. */
int source_port_apply(struct worker *worker, uint32_t session_index, int fd);

/* The connection stands; `key` is what it turned out to be. */
void source_port_connected(struct worker *worker, uint32_t session_index, const struct flow_key *key);

/* Gives back what the session holds, if it does. `rests`: the kernel knows of a use; else the flow table is asked. */
void source_port_release(struct worker *worker, uint32_t session_index, bool rests);

#endif
