/*
 * The responder: does what core/time_wait.h says to a segment for an entry that has no socket any more.
 *
 * An answer is written over the packet it answers and sent back through the interface it came from, to where it came
 * from. Two programs do so, with the same answers: tcx ingress and native XDP.
 */
#ifndef PENSTOCK_IO_BPF_RESPOND_BPF_H
#define PENSTOCK_IO_BPF_RESPOND_BPF_H

#include "io/bpf/packet.bpf.h"

enum {
    HOPS = 64,
    TCP_FLAGS_AT = 13,
    TCP_RST = 4,
    TCP_WITH_TIMESTAMPS = sizeof(struct tcphdr) + 12,
};

struct tcp_answer {
    struct tcphdr header;
    __be32 options[3];
};

static __always_inline bool answers_ipv4(const struct found *found)
{
    return is_mapped(&found->words[4]);
}

static __always_inline bool answers_timestamps(const struct flow_entry *entry)
{
    return (entry->flags & FLOW_TIMESTAMPS) != 0 && entry->ts_recent != 0;
}

static __always_inline uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static __always_inline uint32_t timestamp_of(const struct flow_entry *entry)
{
    uint64_t ns = bpf_ktime_get_ns();

    return (uint32_t)(ns / ((entry->flags & FLOW_MICROSECONDS) != 0 ? NS_PER_US : NS_PER_MS)) +
           entry->ts_offset;
}

static __always_inline uint32_t fill_tcp(struct tcp_answer *answer, const struct flow_entry *entry)
{
    uint32_t length = answers_timestamps(entry) ? TCP_WITH_TIMESTAMPS : sizeof(struct tcphdr);

    answer->header.source = bpf_htons(entry->local_port);
    answer->header.dest = bpf_htons(entry->remote_port);
    answer->header.seq = bpf_htonl(entry->snd_nxt);
    answer->header.ack_seq = bpf_htonl(entry->rcv_nxt);
    answer->header.doff = length / 4;
    answer->header.ack = 1;
    answer->header.window = bpf_htons(entry->window);
    if (length == TCP_WITH_TIMESTAMPS) {
        answer->options[0] = bpf_htonl(TCP_OPTION_NOP << 24 | TCP_OPTION_NOP << 16 |
                                       TCP_OPTION_TIMESTAMPS << 8 | TCP_TIMESTAMPS_BYTES);
        answer->options[1] = bpf_htonl(timestamp_of(entry));
        answer->options[2] = bpf_htonl(entry->ts_recent);
    }
    return length;
}

/* The TCP checksum; where the sender had left it to the device, what the device begins with. The mapped form of an
 * IPv4 address adds 0xffff to the sum, which is nothing in one's complement. */
static __always_inline uint16_t tcp_checksum(const struct found *found, const struct tcp_answer *answer,
                                             uint32_t length, bool left_to_device)
{
    int64_t sum = bpf_csum_diff(NULL, 0, (__be32 *)found->entry.remote, 32, 0);

    sum = fold((uint32_t)sum) + bpf_htons(PROTOCOL_TCP) + bpf_htons((uint16_t)length);
    if (left_to_device) {
        return fold(sum);
    }
    return ~fold((uint64_t)bpf_csum_diff(NULL, 0, (__be32 *)answer, sizeof(*answer), (uint32_t)sum));
}

static __always_inline long store_ipv4(const struct frame *frame, const struct found *found,
                                       uint32_t tcp_length)
{
    struct iphdr ip = {
        .version = 4,
        .ihl = 5,
        .tos = found->entry.tos,
        .tot_len = bpf_htons(sizeof(ip) + tcp_length),
        .frag_off = bpf_htons(0x4000),
        .ttl = HOPS,
        .protocol = PROTOCOL_TCP,
        .saddr = (uint32_t)(found->words[7] >> 32),
        .daddr = (uint32_t)(found->words[5] >> 32),
    };

    ip.check = ~fold((uint64_t)bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), 0));
    return frame_store(frame, frame->ip_at, &ip, sizeof(ip));
}

static __always_inline long store_ipv6(const struct frame *frame, const struct found *found,
                                       uint32_t tcp_length)
{
    uint32_t label = (uint32_t)(found->entry.flags >> FLOW_LABEL_SHIFT) << 16 | found->entry.flow_label_low;
    struct {
        __be32 first;
        __be16 length;
        uint8_t next;
        uint8_t hops;
        uint64_t addresses[4];
    } __attribute__((packed, aligned(8))) ip = {
        .first = bpf_htonl(6u << 28 | (uint32_t)found->entry.tos << 20 | label),
        .length = bpf_htons((uint16_t)tcp_length),
        .next = PROTOCOL_TCP,
        .hops = HOPS,
        .addresses = {found->words[6], found->words[7], found->words[4], found->words[5]},
    };

    return frame_store(frame, frame->ip_at, &ip, sizeof(ip));
}

static __always_inline long turn_round(const struct frame *frame)
{
    struct ethhdr ethernet;

    if (frame_load(frame, 0, &ethernet, sizeof(ethernet)) != 0) {
        return -1;
    }
    return frame_store(frame, 0, ethernet.h_source, ETH_ALEN) |
           frame_store(frame, ETH_ALEN, ethernet.h_dest, ETH_ALEN);
}

/* Writes the ACK over the packet and sends it back. */
static __always_inline int answer(const struct frame *frame, const struct packet *packet,
                                  const struct found *found)
{
    bool left_to_device = frame_sum_is_left(frame);
    bool ipv4 = answers_ipv4(found);
    uint32_t tcp_at = frame->ip_at + (ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
    struct tcp_answer tcp = {0};
    uint32_t length = fill_tcp(&tcp, &found->entry);

    tcp.header.check = tcp_checksum(found, &tcp, length, left_to_device);
    /* No shorter than up to where the kernel knows a TCP header, behind options: the rest is padding. */
    uint32_t size = tcp_at + length > packet->tcp_at ? tcp_at + length : packet->tcp_at;
    /* What the device would sum begins where the packet's TCP header was. */
    if ((left_to_device && packet->tcp_at != tcp_at) || frame_resize(frame, size) != 0 ||
        (frame->ip_at != 0 && turn_round(frame) != 0) ||
        (ipv4 ? store_ipv4(frame, found, length) : store_ipv6(frame, found, length)) != 0 ||
        frame_store(frame, tcp_at, &tcp, sizeof(tcp.header)) != 0 ||
        (length > sizeof(tcp.header) &&
         frame_store(frame, tcp_at + sizeof(tcp.header), tcp.options, sizeof(tcp.options)) != 0)) {
        count(COUNT_drops);
        return TCX_DROP;
    }
    count(COUNT_acks);
    return frame_send_back(frame);
}

static __always_inline int answer_limited(const struct frame *frame, const struct packet *packet,
                                          const struct found *found, uint32_t now)
{
    if (may_answer(hash_of(&packet->tuple), now)) {
        return answer(frame, packet, found);
    }
    count(COUNT_acks_suppressed);
    return TCX_DROP;
}

static __always_inline int drop(void)
{
    count(COUNT_drops);
    return TCX_DROP;
}

/* What the kernel would do with a SYN. */
enum syn_way {
    SYN_UNWANTED, /* nobody listens */
    SYN_WELCOME, /* somebody does, or the kernel has the tuple: again, or in a TIME_WAIT that it judges as we do */
    SYN_LATER, /* its own state never saw the FIN that we answered: it would reset. Soon it is destroyed */
};

static __always_inline enum syn_way way_of(struct bpf_sock *sock)
{
    struct tcp_timewait_sock *minisocket =
        sock->state == BPF_TCP_TIME_WAIT ? bpf_skc_to_tcp_timewait_sock(sock) : NULL;

    return minisocket != NULL && minisocket->tw_sk.tw_substate == BPF_TCP_FIN_WAIT2 ? SYN_LATER : SYN_WELCOME;
}

static __always_inline enum syn_way ask_kernel(void *context, const struct found *found)
{
    struct bpf_sock_tuple tuple = {0};
    uint32_t length = sizeof(tuple.ipv6);
    __be16 local_port = bpf_htons(found->entry.local_port);
    __be16 remote_port = bpf_htons(found->entry.remote_port);

    if (answers_ipv4(found)) {
        tuple.ipv4.saddr = (uint32_t)(found->words[5] >> 32);
        tuple.ipv4.daddr = (uint32_t)(found->words[7] >> 32);
        tuple.ipv4.sport = remote_port;
        tuple.ipv4.dport = local_port;
        length = sizeof(tuple.ipv4);
    } else {
        __builtin_memcpy(tuple.ipv6.saddr, &found->words[4], 16);
        __builtin_memcpy(tuple.ipv6.daddr, &found->words[6], 16);
        tuple.ipv6.sport = remote_port;
        tuple.ipv6.dport = local_port;
    }
    struct bpf_sock *sock =
        length == sizeof(tuple.ipv4)
            ? bpf_skc_lookup_tcp(context, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0)
            : bpf_skc_lookup_tcp(context, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
    if (sock == NULL) {
        return SYN_UNWANTED;
    }
    enum syn_way way = way_of(sock);
    bpf_sk_release(sock);
    return way;
}

static __always_inline int reopen(const struct frame *frame, const struct packet *packet, struct found *found,
                                  uint32_t now)
{
    switch (ask_kernel(frame->context, found)) {
    case SYN_UNWANTED:
        return answer_limited(frame, packet, found, now);
    case SYN_LATER:
        return drop();
    default:
        if (release(found, now)) {
            count(COUNT_reopened);
        }
        return TCX_NEXT;
    }
}

static __always_inline int carry_out(const struct frame *frame, const struct packet *packet,
                                     struct found *found, uint32_t now, enum time_wait_action action)
{
    switch (action) {
    case TIME_WAIT_ACK:
        return answer(frame, packet, found);
    case TIME_WAIT_ACK_LIMITED:
        return answer_limited(frame, packet, found, now);
    case TIME_WAIT_END:
        if (release(found, now)) {
            count(COUNT_ended);
        }
        return drop();
    case TIME_WAIT_REFUSE:
        if (release(found, now)) {
            count(COUNT_refused);
        }
        return TCX_NEXT;
    case TIME_WAIT_REOPEN:
        return reopen(frame, packet, found, now);
    default:
        return drop();
    }
}

/* Whether it is a RST, at a glance: the kernel's own have no IP options. */
static __always_inline bool is_reset(const struct frame *frame)
{
    bool ipv4 = frame_protocol(frame) == bpf_htons(ETH_P_IP);
    uint32_t tcp_at = frame->ip_at + (ipv4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
    uint32_t protocol_at =
        frame->ip_at + (ipv4 ? offsetof(struct iphdr, protocol) : offsetof(struct ipv6hdr, nexthdr));
    uint8_t protocol = 0;
    uint8_t flags = 0;

    return frame_load(frame, protocol_at, &protocol, sizeof(protocol)) == 0 && protocol == PROTOCOL_TCP &&
           frame_load(frame, tcp_at + TCP_FLAGS_AT, &flags, sizeof(flags)) == 0 && (flags & TCP_RST) != 0;
}

/* What is sent. A segment may have passed us just before its socket went: the kernel finds none and resets, though the
 * entry stands. */
static __always_inline int hold_back(const struct frame *frame)
{
    struct packet packet = {0};
    struct found found = {0};
    struct tuple tuple;

    if (!is_reset(frame) || !parse(frame, &packet)) {
        return TCX_NEXT;
    }
    tuple = (struct tuple){
        .words = {packet.tuple.words[2], packet.tuple.words[3], packet.tuple.words[0], packet.tuple.words[1]},
        .local_port = packet.tuple.remote_port,
        .remote_port = packet.tuple.local_port,
    };
    struct flow_place place = flow_place_of(hash_of(&tuple), flow_groups);
    if (!find(&found, &tuple, &place, now_ms()) || found.entry.state < FLOW_FIN_WAIT2) {
        return TCX_NEXT;
    }
    count(COUNT_resets_held_back);
    return TCX_DROP;
}

/* Whether both ends are here: nobody else has a loopback address (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3), nor our own. */
static __always_inline bool is_to_oneself(const struct found *found)
{
    return is_loopback(&found->words[4]) ||
           (found->words[4] == found->words[6] && found->words[5] == found->words[7]);
}

static __always_inline bool is_for_us(const struct frame *frame, const struct found *found)
{
    return frame_is_to_host(frame) && (!is_to_oneself(found) || frame_is_of_loopback(frame));
}

static __always_inline int respond(const struct frame *frame)
{
    struct packet packet = {0};
    struct found found = {0};
    uint32_t now = now_ms();

    if (!parse(frame, &packet)) {
        return TCX_NEXT;
    }
    struct flow_place place = flow_place_of(hash_of(&packet.tuple), flow_groups);
    if (!find(&found, &packet.tuple, &place, now) || found.entry.state < FLOW_FIN_WAIT2 ||
        !is_for_us(frame, &found)) {
        return TCX_NEXT; /* none, or the kernel's socket answers */
    }
    if (packet.fragment) {
        return drop();
    }
    if ((found.entry.flags & FLOW_TIMESTAMPS) != 0) {
        parse_timestamp(frame, &packet);
    }
    struct time_wait_verdict verdict = time_wait_judge(&found.entry, &packet.segment);
    if (verdict.fin && !take_fin(&found, &packet.segment, now)) {
        return drop();
    }
    if (!verdict.fin) {
        note(&found, &packet.segment, &verdict, now);
    }
    return carry_out(frame, &packet, &found, now, verdict.action);
}

#endif
