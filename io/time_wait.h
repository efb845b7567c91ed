/*
 * TIME_WAIT answered from the flow table: loads the BPF programs of io/bpf and attaches them.
 *
 * Needs Linux 6.6 (tcx) with its BTF, CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a build with clang, bpftool and libbpf
 * (io/time_wait_absent.c stands in otherwise). The programs and the table end with the process that created them.
 */
#ifndef PENSTOCK_IO_TIME_WAIT_H
#define PENSTOCK_IO_TIME_WAIT_H

#include "core/time_wait_counter.h"
#include "shm/flow_table.h"

enum { TIME_WAIT_WHY_MAX = 160 };

struct time_wait;

struct time_wait_shape {
    uint32_t groups; /* of FLOW_GROUP entries; 65 bytes of kernel memory an entry, from the start */
    uint64_t seed;
    uint32_t two_msl_ms;
    uint32_t
        ack_limit_ms; /* between ACKs of a flow to what may be no peer's; as net.ipv4.tcp_invalid_ratelimit */
    bool sole_owner;  /* net.ipv4.tcp_max_tw_buckets is 0: publish what has no entry yet, announce nothing */
};

/* Whether TIME_WAIT can be owned here; why not. Changes nothing. */
bool time_wait_probe(char why[TIME_WAIT_WHY_MAX]);

/* Loads the programs and maps their table. NULL: why. */
struct time_wait *time_wait_create(const struct time_wait_shape *shape, char why[TIME_WAIT_WHY_MAX]);

/* The table, which lives as long as `time_wait`. */
void time_wait_table(const struct time_wait *time_wait, struct flow_table *table);

/* From now on connections that are made by processes of this cgroup are published at their end. Once. -errno. */
int time_wait_publish(struct time_wait *time_wait, int cgroup_fd);

/* Answers what comes through this interface of the caller's network namespace, Ethernet or loopback. -errno;
 * -ENOTSUP: neither of these, -ENOSPC: TIME_WAIT_INTERFACES_MAX. */
enum { TIME_WAIT_INTERFACES_MAX = 64 };
int time_wait_answer(struct time_wait *time_wait, const char *interface);

void time_wait_count(const struct time_wait *time_wait, struct time_wait_counters *counters);

/* The responder's descriptor, for test runs. */
int time_wait_responder(const struct time_wait *time_wait);

/* Detaches the programs; entries and answers are gone. */
void time_wait_destroy(struct time_wait *time_wait);

#endif
