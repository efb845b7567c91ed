/*
 * The kernel's end of TCP connections where the flow table owns TIME_WAIT: when a socket goes, what the
 * programs make of that and of the segments that still come, and what must be in the table for it.
 *
 * Programs run when a connection goes on by itself, which may be at any load or store of a worker, and within
 * the calls that end one. A worker that is killed does not cut them short.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_TCP_H
#define PENSTOCK_TESTS_SIM_FAKE_TCP_H

#include "shm/flow_table.h"
#include "tests/sim/crew.h"
#include "tests/sim/fake_net.h"

struct tcp_world {
    uint32_t two_msl_ms;
    uint32_t *listed; /* connections that are to go on */
    uint32_t listed_count;
    uint64_t published, reopened; /* as it has to be */
};

extern struct tcp_world tcp_world;

/* The region's table is the programs', and of all regions after it. */
void tcp_world_init(struct region *region);
void tcp_world_share(struct region *region);
void tcp_world_free(void);

/* A connection begins: Penstock connects, or the tuple's SYN has been passed on. */
void tcp_open(struct net_conn *conn);

/* Something has happened to it: a FIN, a reset, data that nobody reads. */
void tcp_stir(struct net_conn *conn);

/* Penstock has closed it. */
void tcp_close(struct net_conn *conn);

/* Waits for a program that runs under the socket's lock. */
void tcp_lock(const struct net_conn *conn);

/* A client of the listener whose tuple is in TIME_WAIT, and whose SYN was just passed on; NULL: none. */
struct net_conn *tcp_reopen(uint32_t listener);

/* Lets a connection go on, perhaps; whether it did. */
bool tcp_run(void);

/* A load or store of a worker passes. */
static inline void tcp_interrupt(void)
{
    if (tcp_world.listed_count > 0 && crew.host == 0 && sim_once_in(24)) {
        (void)tcp_run();
    }
}

/* When one goes on next. */
uint64_t tcp_next_us(void);

/* Whether the entry is as it has to be. */
void tcp_check_entry(uint32_t index);

/* All workers have ended: what is left ends as well, and is swept away. */
void tcp_finish(void);

#endif
