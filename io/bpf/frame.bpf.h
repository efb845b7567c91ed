/*
 * A frame in the hands of a program: a socket buffer at tcx, or what XDP has before there is one. Offsets count
 * from its link header, of which there is none where an interface carries bare IP packets; `native` is known
 * when compiling.
 */
#ifndef PENSTOCK_IO_BPF_FRAME_BPF_H
#define PENSTOCK_IO_BPF_FRAME_BPF_H

#include <bpf/bpf_core_read.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "io/bpf/kernel.bpf.h"

#include <bpf/bpf_helpers.h>

enum {
    TCX_NEXT = -1,
    TCX_DROP = 2,
    CHECKSUM_PARTIAL = 3, /* the sender left it to the device */
    LOOPBACK_INTERFACE = 1,
    FRAME_MIN = 60, /* on a wire; not every card fills up what is shorter */
};

struct frame {
    void *context; /* struct __sk_buff, or struct xdp_md */
    bool native;
    uint32_t ip_at;
};

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

/* tcx begins with what the interface received as its link header, or is to send as such: Ethernet's, none,
 * or behind a tunnel of IPsec (xfrm) that of the interface below. */
static __always_inline struct frame frame_of(struct __sk_buff *skb)
{
    struct sk_buff *own = bpf_cast_to_kern_ctx(skb);

    return (struct frame){.context = skb, .ip_at = own->network_header - own->mac_header};
}

static __always_inline long frame_load(const struct frame *frame, uint32_t at, void *bytes, uint32_t length)
{
    return frame->native ? bpf_xdp_load_bytes(frame->context, at, bytes, length)
                         : bpf_skb_load_bytes(frame->context, at, bytes, length);
}

static __always_inline long frame_store(const struct frame *frame, uint32_t at, const void *bytes,
                                        uint32_t length)
{
    return frame->native ? bpf_xdp_store_bytes(frame->context, at, (void *)bytes, length)
                         : bpf_skb_store_bytes(frame->context, at, bytes, length, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline uint32_t frame_length(const struct frame *frame)
{
    return frame->native ? (uint32_t)bpf_xdp_get_buff_len(frame->context)
                         : ((struct __sk_buff *)frame->context)->len;
}

/* Whether it is several packets that the kernel has made one of. */
static __always_inline bool frame_is_aggregated(const struct frame *frame)
{
    return !frame->native && ((struct __sk_buff *)frame->context)->gso_size != 0;
}

/* Makes room before the frame, of which there is enough; behind it need not be any. */
static __always_inline long frame_grow_native(const struct frame *frame, uint32_t bytes)
{
    struct ethhdr ethernet;

    if (frame_load(frame, 0, &ethernet, sizeof(ethernet)) != 0 ||
        bpf_xdp_adjust_head(frame->context, -(int)bytes) != 0) {
        return -1;
    }
    return frame_store(frame, 0, &ethernet, sizeof(ethernet));
}

/* The link header stays. */
static __always_inline long frame_resize(const struct frame *frame, uint32_t length)
{
    if (!frame->native) {
        return bpf_skb_change_tail(frame->context, length, 0);
    }
    uint32_t now = frame_length(frame);
    if (length > now) {
        return frame_grow_native(frame, length - now);
    }
    uint32_t least = now < FRAME_MIN ? now : FRAME_MIN;
    return bpf_xdp_adjust_tail(frame->context, (int)((length > least ? length : least) - now));
}

/* What is inside. A VLAN tag is nothing that we read. */
static __always_inline __be16 frame_protocol(const struct frame *frame)
{
    const struct __sk_buff *skb = frame->context;
    __be16 protocol = 0;

    if (!frame->native) {
        return skb->vlan_present ? 0 : (__be16)skb->protocol;
    }
    return frame_load(frame, offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol)) == 0 ? protocol
                                                                                                 : 0;
}

union mac_address {
    uint64_t word;
    uint8_t bytes[ETH_ALEN];
};

/* To this host, not to all nor to another that the interface listens to. */
static __always_inline bool frame_is_to_host(const struct frame *frame)
{
    union mac_address to = {0};
    union mac_address own = {0};

    if (!frame->native) {
        return ((struct __sk_buff *)frame->context)->pkt_type == PACKET_HOST;
    }
    struct xdp_buff *xdp = bpf_cast_to_kern_ctx(frame->context);
    return frame_load(frame, 0, to.bytes, ETH_ALEN) == 0 &&
           bpf_probe_read_kernel(own.bytes, ETH_ALEN, xdp->rxq->dev->dev_addr) == 0 && to.word == own.word;
}

/* Whether it comes from this machine's loopback interface, where XDP is not. */
static __always_inline bool frame_is_of_loopback(const struct frame *frame)
{
    return !frame->native && ((struct __sk_buff *)frame->context)->ifindex == LOOPBACK_INTERFACE;
}

/* Whether the device is to sum up what TCP carries: the packet comes from this machine. */
static __always_inline bool frame_sum_is_left(const struct frame *frame)
{
    if (frame->native) {
        return false;
    }
    struct sk_buff *skb = bpf_cast_to_kern_ctx(frame->context);
    return BPF_CORE_READ_BITFIELD(skb, ip_summed) == CHECKSUM_PARTIAL;
}

/* Back through the interface that it came from. bpf_redirect() takes a link header off where the interface
 * sends without. */
static __always_inline int frame_send_back(const struct frame *frame)
{
    return frame->native ? XDP_TX : (int)bpf_redirect(((struct __sk_buff *)frame->context)->ifindex, 0);
}

#endif
