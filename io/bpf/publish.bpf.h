/*
 * The publisher: fills the flow entry when the kernel gives a connection up to FIN_WAIT2 or TIME_WAIT.
 *
 * It runs under the socket's lock, before the kernel unhashes the socket: until it returns the socket answers, then the
 * entry does.
 */
#ifndef PENSTOCK_IO_BPF_PUBLISH_BPF_H
#define PENSTOCK_IO_BPF_PUBLISH_BPF_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "io/bpf/table.bpf.h"

enum {
    FAMILY_INET6 = 10,
    ECN_MASK = 3,
    FLOW_LABEL_MASK = 0xfffff,
    CHANGE_TRIES = 3,  /* a worker, and perhaps a responder, may have been quicker */
    LABELS_OF_OWN = 1, /* net.ipv6.auto_flowlabels: sockets have labels unless they opt out */
};

static __always_inline struct sock *sock_of(struct tcp_sock *tcp)
{
    return (struct sock *)tcp;
}

static __always_inline bool sock_is_mapped(const struct in6_addr *address)
{
    return address->in6_u.u6_addr32[0] == 0 && address->in6_u.u6_addr32[1] == 0 &&
           address->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_ipv6(struct tcp_sock *tcp)
{
    const struct sock_common *common = &sock_of(tcp)->__sk_common;

    return common->skc_family == FAMILY_INET6 && !sock_is_mapped(&common->skc_v6_daddr);
}

static __always_inline void tuple_of_sock(struct tuple *tuple, struct tcp_sock *tcp)
{
    const struct sock_common *common = &sock_of(tcp)->__sk_common;

    tuple->local_port = common->skc_num;
    tuple->remote_port = bpf_ntohs(common->skc_dport);
    if (is_ipv6(tcp)) {
        for (int i = 0; i < 4; i++) {
            tuple->quads[i] = common->skc_v6_daddr.in6_u.u6_addr32[i];
            tuple->quads[4 + i] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[i];
        }
        return;
    }
    tuple->quads[2] = tuple->quads[6] = bpf_htonl(0xffff);
    tuple->quads[3] = common->skc_daddr;
    tuple->quads[7] = common->skc_rcv_saddr;
}

static __always_inline bool sock_has(struct tcp_sock *tcp, uint32_t flag)
{
    return (sock_of(tcp)->__sk_common.skc_flags >> (flag & 31) & 1) != 0;
}

/* Whether what ends the socket here is TIME_WAIT's beginning. Everything else that ends it sends or has received a
 * RST; the kernel does not say so, the socket's state does. */
static __always_inline bool time_wait_begins(struct tcp_sock *tcp, uint32_t old_state, bool fin_received)
{
    if (sock_of(tcp)->sk_err != 0) {
        return false;
    }
    if (old_state == BPF_TCP_CLOSING) {
        return tcp->snd_una == tcp->write_seq;
    }
    if (old_state != BPF_TCP_FIN_WAIT2 || fin_received) {
        return old_state == BPF_TCP_FIN_WAIT2;
    }
    bool resets =
        sock_has(tcp, bpf_core_enum_value(enum sock_flags, SOCK_LINGER)) && sock_of(tcp)->sk_lingertime == 0;
    return !resets && tcp->linger2 >= 0 && tcp->copied_seq == tcp->rcv_nxt;
}

/* The label of the connection's packets: its own, or what the kernel makes of the socket's hash (RFC 6437). */
static __always_inline uint32_t flow_label_of(struct tcp_sock *tcp)
{
    struct inet_sock *inet = (struct inet_sock *)tcp;
    uint32_t label = inet->pinet6->flow_label;

    if (label == 0 && sock_of(tcp)->__sk_common.skc_net.net->ipv6.sysctl.auto_flowlabels == LABELS_OF_OWN) {
        uint32_t hash = sock_of(tcp)->sk_txhash;
        label = hash << 16 | hash >> 16;
    }
    return bpf_ntohl(label) & FLOW_LABEL_MASK;
}

static __always_inline void fill_network(struct flow_entry *entry, struct tcp_sock *tcp)
{
    struct inet_sock *inet = (struct inet_sock *)tcp;

    entry->tos = inet->tos & ~ECN_MASK;
    if (is_ipv6(tcp)) {
        uint32_t label = flow_label_of(tcp);
        entry->tos = inet->pinet6->tclass & ~ECN_MASK;
        entry->flow_label_low = (uint16_t)label;
        entry->flags |= label >> 16 << FLOW_LABEL_SHIFT;
    }
}

static __always_inline void fill_transport(struct flow_entry *entry, struct tcp_sock *tcp)
{
    struct tcp_options_received *options = &tcp->rx_opt;
    uint8_t ours = BPF_CORE_READ_BITFIELD(options, rcv_wscale);
    uint8_t theirs = BPF_CORE_READ_BITFIELD(options, snd_wscale);
    int32_t window = (int32_t)(tcp->rcv_wup + tcp->rcv_wnd - tcp->rcv_nxt);

    entry->rcv_nxt = tcp->rcv_nxt;
    entry->snd_nxt = tcp->snd_nxt;
    entry->window_scales = (ours & 15) | theirs << 4;
    entry->window = (uint16_t)((window > 0 ? (uint32_t)window : 0) >> (ours & 15));
    if (BPF_CORE_READ_BITFIELD(options, tstamp_ok) == 0) {
        return;
    }
    entry->flags |= FLOW_TIMESTAMPS;
    entry->ts_recent = options->ts_recent;
    entry->ts_offset = tcp->tsoffset;
    if (bpf_core_field_exists(tcp->tcp_usec_ts) && BPF_CORE_READ_BITFIELD(tcp, tcp_usec_ts)) {
        entry->flags |= FLOW_MICROSECONDS;
    }
}

static __always_inline void fill_content(struct found *content, struct tcp_sock *tcp,
                                         const struct tuple *tuple, bool fin_received, uint32_t now)
{
    content->entry.state = fin_received ? FLOW_TIME_WAIT : FLOW_FIN_WAIT2;
    content->entry.local_port = tuple->local_port;
    content->entry.remote_port = tuple->remote_port;
    content->entry.expire_ms = now + two_msl_ms;
    for (int i = 0; i < 4; i++) {
        content->words[4 + i] = tuple->words[i];
    }
    fill_network(&content->entry, tcp);
    fill_transport(&content->entry, tcp);
}

/* Tells who destroys what the kernel keeps. */
static __always_inline void announce(uint32_t index)
{
    if (!sole_owner && bpf_ringbuf_output(&published, &index, sizeof(index), BPF_RB_NO_WAKEUP) != 0) {
        count(COUNT_publish_overruns);
    }
}

/* Where the flow has no entry the connection was not Penstock's, or found no place: the kernel keeps its
 * TIME_WAIT, if it keeps any. */
static __always_inline void publish(struct tcp_sock *tcp, bool fin_received)
{
    struct tuple tuple = {0};
    struct found content = {0};
    uint32_t now = now_ms();

    tuple_of_sock(&tuple, tcp);
    fill_content(&content, tcp, &tuple, fin_received, now);
    struct flow_place place = flow_place_of(hash_of(&tuple), flow_groups);
    for (int n = 0; n < CHANGE_TRIES; n++) {
        struct found old = {0};
        if (!find(&old, &tuple, &place, now)) {
            break;
        }
        if (replace(&old, &content, place.tag)) {
            count(COUNT_published);
            announce(old.index);
            return;
        }
    }
    if (sole_owner) {
        count(insert(&content, &place, now) ? COUNT_published : COUNT_insert_failures);
    }
}

/* Releases the entries of the tuple that are there although a connection begins, or of one that ends without
 * TIME_WAIT. */
static __always_inline bool release_flow(struct tcp_sock *tcp, bool ends)
{
    struct tuple tuple = {0};
    uint32_t now = now_ms();

    tuple_of_sock(&tuple, tcp);
    struct flow_place place = flow_place_of(hash_of(&tuple), flow_groups);
    for (int n = 0; n < CHANGE_TRIES; n++) {
        struct found found = {0};
        if (!find(&found, &tuple, &place, now) || (ends && found.entry.state > FLOW_ORPHANED)) {
            return false;
        }
        if (release(&found, now)) {
            return true;
        }
    }
    return false;
}

/* The kernel's transition to CLOSE. */
static __always_inline void end(struct tcp_sock *tcp, uint32_t old_state)
{
    bool fin_received = sock_has(tcp, bpf_core_enum_value(enum sock_flags, SOCK_DONE));

    if (time_wait_begins(tcp, old_state, fin_received)) {
        publish(tcp, fin_received);
    } else if (release_flow(tcp, true)) {
        count(COUNT_released);
    }
}

#endif
