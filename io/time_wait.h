/*
 * TIME_WAIT answered from the flow table: loads the BPF programs of io/bpf and attaches them.
 *
 * Needs Linux 6.6 (tcx) with its BTF, CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a build with clang, bpftool
 * and libbpf (io/time_wait_absent.c stands in otherwise). Maps and links are pinned in a directory of a BPF
 * file system, so table, programs and answers outlive every process; whoever comes next takes them from
 * there. Without pins they end with the process that made them.
 */
#ifndef PENSTOCK_IO_TIME_WAIT_H
#define PENSTOCK_IO_TIME_WAIT_H

#include "core/time_wait_counter.h"
#include "shm/flow_table.h"

enum {
    TIME_WAIT_WHY_MAX = REGION_WHY_MAX,
    TIME_WAIT_INTERFACES_MAX = 64,
};

struct time_wait;

struct time_wait_shape {
    const char *pins; /* the directory; NULL: not pinned */
    uint32_t groups;  /* of FLOW_GROUP entries; 65 bytes of kernel memory an entry, from the start */
    uint64_t seed;
    uint32_t two_msl_ms;
    /* Between ACKs of a flow to what may be no peer's; as net.ipv4.tcp_invalid_ratelimit. */
    uint32_t ack_limit_ms;
    bool sole_owner; /* net.ipv4.tcp_max_tw_buckets is 0: publish what has no entry yet, announce nothing */
};

/* Loads the programs on a new table, or on the one that is pinned where that has as many groups: then the
 * seed is its own. NULL: why. Attached programs stay as they are until others take their place. */
struct time_wait *time_wait_create(const struct time_wait_shape *shape, char why[TIME_WAIT_WHY_MAX]);

/* What the table's entries are placed by. */
uint64_t time_wait_seed(const struct time_wait *time_wait);

/* The descriptors of the table's arrays, which stay `time_wait`'s: struct region. */
void time_wait_maps(const struct time_wait *time_wait, int fds[REGION_FLOW_MAPS]);

/* From now on connections that are made by processes of this cgroup are published at their end; and still
 * those of a cgroup that a process before us had named. -errno. */
int time_wait_publish(struct time_wait *time_wait, int cgroup_fd);

/* Answers what comes through these interfaces of the caller's network namespace, and through no others. Those
 * that cannot be had are left out: the first one's -errno, else 0. */
int time_wait_answer(struct time_wait *time_wait, const int *interfaces, uint32_t count);

/* How many there are. */
uint32_t time_wait_interfaces(const struct time_wait *time_wait);

/* Indexes of entries that were published since the last call and whose connections the kernel keeps, too:
 * `max` at most. How many. What the ring buffer had no room for is counted as publish_overruns. */
uint32_t time_wait_take_published(struct time_wait *time_wait, uint32_t *indexes, uint32_t max);

void time_wait_count(const struct time_wait *time_wait, struct time_wait_counters *counters);

/* The responder's descriptor, for test runs. */
int time_wait_responder(const struct time_wait *time_wait);

/* The same for XDP, and of the program that sees what is sent. */
int time_wait_native_responder(const struct time_wait *time_wait);
int time_wait_guard(const struct time_wait *time_wait);

/* Closes what this process has of it. What is pinned goes on. */
void time_wait_destroy(struct time_wait *time_wait);

/* Opens the arrays that are pinned, for who only looks. 0 or -errno. */
int time_wait_open_maps(const char *pins, int fds[REGION_FLOW_MAPS]);

/* A number of the caller's beside the table, by a name of its own: -EEXIST where there is one; -ENOENT where
 * there is none. */
int time_wait_pin_number(const char *pins, const char *name, uint32_t number);
int time_wait_pinned_number(const char *pins, const char *name, uint32_t *number);

/* Removes what is pinned: with the last process that has it open it ends, programs and entries. 0 or -errno. */
int time_wait_unpin(const char *pins);

#endif
