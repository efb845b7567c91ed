/*
 * TIME_WAIT owned by the flow table, in the lab: programs on the test's cgroup and the server's interface, a kernel
 * that keeps none itself.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_OWNED_H
#define PENSTOCK_TESTS_E2E_HARNESS_OWNED_H

#include <sys/types.h>

#include "io/time_wait.h"
#include "io/time_wait_attach.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"

struct owned {
    struct time_wait *time_wait;
    struct flow_table table;
    struct flow_sweep sweep; /* the table's */
    struct time_wait_shape shape;
    const char *pins; /* where it is somebody else's */
    int native[2];    /* links of XDP programs, at the server's and the peer's interface; -1: none */
};

extern struct owned owned;

/* 4096 entries, 2MSL of a minute, no limit on ACKs. */
struct time_wait_shape owned_shape(void);

/* Loads the programs; the test is skipped where they cannot be. */
void owned_load(const struct time_wait_shape *shape);

/* Packets go through native XDP from now on, where the responder will be; the peer's veth takes what is sent back only
 * where it has a program as well. The kernel makes larger buffers of such packets: its windows tell. */
void owned_go_native(void);

/* Loads the programs, attaches them, and takes TIME_WAIT from the kernel if they are to be its sole owner. */
void owned_begin(const struct time_wait_shape *shape);
void owned_end(void);

/* Somebody else's instead: the table that is pinned there, as it is now, for the functions below. */
void owned_open(const char *pins);
void owned_close(void);

/* Answers at this interface instead. */
void owned_answer(const char *interface);

struct flow_key owned_key(const struct lab_peer *peer);

/* The entry of the hand-made peer's connection; FLOW_FREE: none. */
struct flow_entry owned_entry(const struct lab_peer *peer);

/* As a worker claims one. */
enum { OWNED_SLOT = 3, OWNED_SESSION = 77 };
uint32_t owned_claim(const struct flow_key *key);

/* The accepted end of a connection of the test's claims its entry and closes, then the other. Returns index
 * and tuple. */
uint32_t owned_end_pair(struct net_pair pair, struct flow_key *key);

uint32_t owned_count_entries(void);
struct time_wait_counters owned_counters(void);

/* What the kernel counts for the maps that a process has open. */
uint64_t owned_map_bytes(pid_t pid);

#endif
