/*
 * Reads a packet as tcx or XDP has it: no VLAN tag (those come again on the VLAN's own interface), IPv4 with options or
 * IPv6 with extension headers, TCP.
 */
#ifndef PENSTOCK_IO_BPF_PACKET_BPF_H
#define PENSTOCK_IO_BPF_PACKET_BPF_H

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include "io/bpf/frame.bpf.h"
#include "io/bpf/table.bpf.h"

enum {
    PROTOCOL_TCP = 6,
    IPV4_HEADER_MAX = 60,
    IPV4_FRAGMENT_OFFSET = 0x1fff,
    IPV4_MORE_FRAGMENTS = 0x2000,
    IPV6_EXTENSIONS_MAX = 8,
    IPV6_HOP_BY_HOP = 0,
    IPV6_ROUTING = 43,
    IPV6_FRAGMENT = 44,
    IPV6_DESTINATION = 60,
    IPV6_FRAGMENT_OFFSET = 0xfff8,
    IPV6_MORE_FRAGMENTS = 1,
    TCP_OPTIONS_MAX = 40,
    TCP_OPTION_END = 0,
    TCP_OPTION_NOP = 1,
    TCP_OPTION_TIMESTAMPS = 8,
    TCP_TIMESTAMPS_BYTES = 10,
};

struct packet {
    struct tuple tuple;
    struct time_wait_segment segment; /* without its timestamp */
    uint32_t tcp_at;                  /* offset of the TCP header */
    uint32_t end;                     /* offset behind the last byte of the IP packet */
    uint32_t options_length;
    bool fragment; /* the first of several */
};

/* A length of 0: more was aggregated than the field holds, or there is nothing. */
static __always_inline uint32_t packet_end(const struct frame *frame, uint32_t from, uint16_t length)
{
    return length == 0 && frame_is_aggregated(frame) ? frame_length(frame) : from + length;
}

static __always_inline bool ipv4_checksum_is_right(const uint8_t header[IPV4_HEADER_MAX])
{
    int64_t sum = bpf_csum_diff(NULL, 0, (__be32 *)header, IPV4_HEADER_MAX, 0);

    sum = (sum & 0xffff) + (sum >> 16);
    return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

static __always_inline bool parse_ipv4(const struct frame *frame, struct packet *packet)
{
    union {
        uint8_t bytes[IPV4_HEADER_MAX];
        struct iphdr ip;
    } header = {0};

    if (frame_load(frame, frame->ip_at, &header.ip, sizeof(header.ip)) != 0 || header.ip.version != 4 ||
        header.ip.ihl < 5 || header.ip.protocol != PROTOCOL_TCP) {
        return false;
    }
    uint32_t options = header.ip.ihl * 4 - sizeof(header.ip);
    if (options > 0 && options <= IPV4_HEADER_MAX - sizeof(header.ip) &&
        frame_load(frame, frame->ip_at + sizeof(header.ip), header.bytes + sizeof(header.ip), options) != 0) {
        return false;
    }
    uint16_t fragment = bpf_ntohs(header.ip.frag_off);
    if ((fragment & IPV4_FRAGMENT_OFFSET) != 0 || !ipv4_checksum_is_right(header.bytes)) {
        return false;
    }
    packet->fragment = (fragment & IPV4_MORE_FRAGMENTS) != 0;
    packet->tuple.quads[2] = packet->tuple.quads[6] = bpf_htonl(0xffff);
    packet->tuple.quads[3] = header.ip.saddr;
    packet->tuple.quads[7] = header.ip.daddr;
    packet->tcp_at = frame->ip_at + header.ip.ihl * 4;
    packet->end = packet_end(frame, frame->ip_at, bpf_ntohs(header.ip.tot_len));
    return true;
}

struct extension {
    uint8_t next;
    uint8_t length; /* in 8 bytes, without the first 8 */
    union {
        struct {
            uint8_t type;
            uint8_t segments_left;
        } routing;
        __be16 fragment;
    };
};

/* Goes over one extension header. False where it is none, or the packet is not for us to read. */
static __always_inline bool skip_extension(const struct frame *frame, struct packet *packet, uint8_t *next)
{
    struct extension extension = {0};
    uint8_t kind = *next;

    if ((kind != IPV6_HOP_BY_HOP && kind != IPV6_ROUTING && kind != IPV6_FRAGMENT &&
         kind != IPV6_DESTINATION) ||
        frame_load(frame, packet->tcp_at, &extension, sizeof(extension)) != 0 ||
        (kind == IPV6_ROUTING && extension.routing.segments_left != 0)) {
        return false;
    }
    *next = extension.next;
    packet->tcp_at += 8;
    if (kind != IPV6_FRAGMENT) {
        packet->tcp_at += extension.length * 8;
        return true;
    }
    uint16_t fragment = bpf_ntohs(extension.fragment);
    packet->fragment |= (fragment & IPV6_MORE_FRAGMENTS) != 0;
    return (fragment & IPV6_FRAGMENT_OFFSET) == 0;
}

static __always_inline bool parse_ipv6(const struct frame *frame, struct packet *packet)
{
    struct ipv6hdr ip;

    if (frame_load(frame, frame->ip_at, &ip, sizeof(ip)) != 0 || ip.version != 6) {
        return false;
    }
    uint8_t next = ip.nexthdr;
    packet->tcp_at = frame->ip_at + sizeof(ip);
    for (int i = 0; i < IPV6_EXTENSIONS_MAX && next != PROTOCOL_TCP; i++) {
        if (!skip_extension(frame, packet, &next)) {
            return false;
        }
    }
    for (int i = 0; i < 4; i++) {
        packet->tuple.quads[i] = ip.saddr.in6_u.u6_addr32[i];
        packet->tuple.quads[4 + i] = ip.daddr.in6_u.u6_addr32[i];
    }
    packet->end = packet_end(frame, frame->ip_at + sizeof(ip), bpf_ntohs(ip.payload_len));
    return next == PROTOCOL_TCP && !is_mapped(packet->tuple.words);
}

static __always_inline bool parse_tcp(const struct frame *frame, struct packet *packet)
{
    struct tcphdr tcp;

    if (frame_load(frame, packet->tcp_at, &tcp, sizeof(tcp)) != 0 || tcp.doff * 4 < sizeof(tcp) ||
        packet->tcp_at + tcp.doff * 4 > packet->end || packet->end > frame_length(frame)) {
        return false;
    }
    packet->tuple.remote_port = bpf_ntohs(tcp.source);
    packet->tuple.local_port = bpf_ntohs(tcp.dest);
    packet->options_length = tcp.doff * 4 - sizeof(tcp);
    packet->segment = (struct time_wait_segment){
        .seq = bpf_ntohl(tcp.seq),
        .length = packet->end - packet->tcp_at - tcp.doff * 4,
        .syn = tcp.syn,
        .ack = tcp.ack,
        .fin = tcp.fin,
        .rst = tcp.rst,
    };
    return true;
}

/* Whether it is a TCP segment of which enough is here. */
static __always_inline bool parse(const struct frame *frame, struct packet *packet)
{
    __be16 protocol = frame_protocol(frame);

    if (protocol == bpf_htons(ETH_P_IP)) {
        return parse_ipv4(frame, packet) && parse_tcp(frame, packet);
    }
    return protocol == bpf_htons(ETH_P_IPV6) && parse_ipv6(frame, packet) && parse_tcp(frame, packet);
}

static __always_inline uint32_t load_be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

struct tcp_options {
    uint8_t bytes[TCP_OPTIONS_MAX];
    uint32_t length;
};

/* Verified by itself, for its loop's sake. */
__noinline bool find_timestamp(const struct tcp_options *tcp, uint32_t *value)
{
    uint32_t at = 0;

    if (tcp == NULL || value == NULL) {
        return false;
    }
    const uint8_t *options = tcp->bytes;
    for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
        if (at > TCP_OPTIONS_MAX - TCP_TIMESTAMPS_BYTES || options[at] == TCP_OPTION_END) {
            return false;
        }
        if (options[at] == TCP_OPTION_TIMESTAMPS && options[at + 1] == TCP_TIMESTAMPS_BYTES) {
            *value = load_be32(&options[at + 2]);
            return at + TCP_TIMESTAMPS_BYTES <= tcp->length;
        }
        if (options[at] != TCP_OPTION_NOP && options[at + 1] < 2) {
            return false;
        }
        at += options[at] == TCP_OPTION_NOP ? 1 : options[at + 1];
    }
    return false;
}

/* Finds the timestamp among the options, if there is one. */
static __always_inline void parse_timestamp(const struct frame *frame, struct packet *packet)
{
    struct tcp_options options = {.length = packet->options_length};
    uint32_t from = packet->tcp_at + sizeof(struct tcphdr);
    uint32_t length = packet->options_length;

    packet->segment.has_timestamp = length >= TCP_TIMESTAMPS_BYTES && length <= TCP_OPTIONS_MAX &&
                                    frame_load(frame, from, options.bytes, length) == 0 &&
                                    find_timestamp(&options, &packet->segment.ts_value);
}

#endif
