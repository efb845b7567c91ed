/*
 * io/bpf compiled for this machine, for the thread sanitizer like the engine: what happens between two of its loads and
 * stores is up to store_hook.c.
 */
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "tests/sim/programs.h"

#include <string.h>

#include "core/flow_hash.h"
#include "io/bpf/kernel.bpf.h"

#include <bpf/bpf_helpers.h>

/* What is set before loading is set here while running. */
#define const
#include "io/bpf/table.bpf.h"
#undef const

#include "io/bpf/publish.bpf.h"
#include "io/clock.h"

enum { FAMILY_INET = 2 };

static struct program_table table;
static uint64_t counted[PROGRAM_CPUS][TIME_WAIT_COUNTERS];

void *bpf_map_lookup_elem(const void *map, const void *key)
{
    uint32_t index;

    memcpy(&index, key, sizeof(index));
    if (map == (const void *)&flow_tags) {
        return index < table.groups ? table.tags + (size_t)index * FLOW_GROUP : NULL;
    }
    if (map == (const void *)&flow_entries) {
        return index < table.groups * FLOW_GROUP ? &table.entries[index] : NULL;
    }
    return map == (const void *)&counters && index < TIME_WAIT_COUNTERS ? &counted[programs_cpu()][index]
                                                                        : NULL;
}

uint64_t bpf_ktime_get_ns(void)
{
    return clock_now_us() * 1000;
}

long bpf_ringbuf_output(const void *ring, const void *data, uint64_t size, uint64_t flags)
{
    (void)ring;
    (void)data;
    (void)size;
    (void)flags;
    return 0;
}

void programs_load(const struct program_table *loaded)
{
    table = *loaded;
    flow_seed = table.seed;
    flow_groups = table.groups;
    two_msl_ms = table.two_msl_ms;
    sole_owner = table.sole_owner;
    memset(counted, 0, sizeof(counted));
}

uint64_t programs_count(enum time_wait_counter counter)
{
    uint64_t sum = 0;

    for (int cpu = 0; cpu < PROGRAM_CPUS; cpu++) {
        sum += counted[cpu][counter];
    }
    return sum;
}

static void set_tuple(struct tcp_sock *tcp, const struct flow_key *key)
{
    struct sock_common *common = &sock_of(tcp)->__sk_common;

    common->skc_family = FAMILY_INET;
    common->skc_num = key->local_port;
    common->skc_dport = bpf_htons(key->remote_port);
    memcpy(&common->skc_daddr, key->remote + 12, 4);
    memcpy(&common->skc_rcv_saddr, key->local + 12, 4);
}

void programs_end(const struct program_socket *socket)
{
    struct tcp_sock tcp = {.rcv_nxt = PROGRAM_RCV_NXT + socket->fin_received};

    set_tuple(&tcp, socket->key);
    tcp.copied_seq = tcp.rcv_nxt;
    tcp.write_seq = tcp.snd_una + !socket->fin_acked;
    tcp.rx_opt.tstamp_ok = socket->timestamps;
    tcp.rx_opt.ts_recent = now_ms();
    sock_of(&tcp)->sk_err = socket->reset;
    sock_of(&tcp)->__sk_common.skc_flags =
        (unsigned long)socket->aborted << SOCK_LINGER | (unsigned long)socket->fin_received << SOCK_DONE;
    end(&tcp, socket->state);
}

void programs_open(const struct flow_key *key)
{
    struct tcp_sock tcp = {.rcv_nxt = PROGRAM_RCV_NXT};

    set_tuple(&tcp, key);
    (void)release_flow(&tcp, false);
}

/* respond() and carry_out() of io/bpf/respond.bpf.h, without packets. */
enum time_wait_action programs_respond(const struct flow_key *key, struct time_wait_segment *segment)
{
    struct tcp_sock tcp = {0};
    struct tuple tuple = {0};
    struct found found = {0};
    uint32_t now = now_ms();

    set_tuple(&tcp, key);
    tuple_of_sock(&tuple, &tcp);
    struct flow_place place = flow_place_of(hash_of(&tuple), flow_groups);
    if (!find(&found, &tuple, &place, now) || found.entry.state < FLOW_FIN_WAIT2) {
        return TIME_WAIT_DROP;
    }
    struct time_wait_verdict verdict = time_wait_judge(&found.entry, segment);
    if (verdict.fin && !take_fin(&found, segment, now)) {
        return TIME_WAIT_DROP;
    }
    if (!verdict.fin) {
        note(&found, segment, &verdict, now);
    }
    if (verdict.action >= TIME_WAIT_END) {
        (void)release(&found, now);
    }
    return verdict.action;
}
