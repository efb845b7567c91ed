/*
 * The BPF programs of io/bpf, as functions: they see sockets and segments, and work on the table that they are given.
 */
#ifndef PENSTOCK_TESTS_SIM_PROGRAMS_H
#define PENSTOCK_TESTS_SIM_PROGRAMS_H

#include "core/time_wait.h"
#include "core/time_wait_counter.h"

struct program_table {
    uint8_t *tags;
    struct flow_entry *entries;
    uint32_t groups;
    uint64_t seed;
    uint32_t two_msl_ms;
    bool sole_owner;
};

/* A socket as it is just before its state changes. */
struct program_socket {
    const struct flow_key *key;
    uint32_t state; /* TCP_ESTABLISHED and so on */
    bool reset;     /* by the peer */
    bool aborted;   /* by us */
    bool fin_acked, fin_received;
    bool timestamps;
};

enum { PROGRAM_RCV_NXT = 1000 }; /* of all sockets, without the FIN */

enum { PROGRAM_CPUS = 32 };

/* The CPU that a program runs on. */
uint32_t programs_cpu(void);

/* Nothing is counted yet. */
void programs_load(const struct program_table *loaded);

uint64_t programs_count(enum time_wait_counter counter);

/* BPF_SOCK_OPS_STATE_CB, to TCP_CLOSE. */
void programs_end(const struct program_socket *socket);

/* BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB and BPF_SOCK_OPS_TCP_CONNECT_CB. */
void programs_open(const struct flow_key *key);

/* The responder, on a segment of the tuple's; what it says to it. TIME_WAIT_DROP as well where there is no entry. */
enum time_wait_action programs_respond(const struct flow_key *key, struct time_wait_segment *segment);

#endif
