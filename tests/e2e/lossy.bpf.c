/* What comes to the peer of a lab, in a test's hands: loses ACKs of FINs, counts RSTs. Of one port's
 * connections: at the other end of a proxy's session nobody is in TIME_WAIT, and a late ACK of its kernel's
 * may be followed by a RST. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
    PASS = -1,
    LOSE = 2,
    ONE_IN = 2,   /* is lost, by chance */
    LOST_MAX = 3, /* of a connection: FINs come again ever more slowly */
    PORTS = 0x10000,
    TCP = 6,
};

struct segment {
    struct tcphdr tcp;
    __u32 payload;
};

__u32 server_port;   /* at either end */
__u8 closing[PORTS]; /* by the other end's port: the sender of the ACKs has closed */
__u8 lost_to[PORTS];
__u64 lost;
__u64 arrived;
__u64 resets;

char lossy_license[] SEC("license") = "GPL";

static __always_inline int load_ipv4(struct __sk_buff *skb, struct segment *segment)
{
    struct iphdr ip;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) != 0 || ip.ihl != 5 || ip.protocol != TCP ||
        bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &segment->tcp, sizeof(segment->tcp)) != 0) {
        return 0;
    }
    segment->payload = bpf_ntohs(ip.tot_len) - sizeof(ip) - segment->tcp.doff * 4;
    return 1;
}

static __always_inline int load_ipv6(struct __sk_buff *skb, struct segment *segment)
{
    struct ipv6hdr ip;

    if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) != 0 || ip.nexthdr != TCP ||
        bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &segment->tcp, sizeof(segment->tcp)) != 0) {
        return 0;
    }
    segment->payload = bpf_ntohs(ip.payload_len) - segment->tcp.doff * 4;
    return 1;
}

static __always_inline int pass_or_lose(const struct segment *segment, __u16 port)
{
    const struct tcphdr *tcp = &segment->tcp;

    if (tcp->rst) {
        __sync_fetch_and_add(&resets, 1);
    }
    if (tcp->syn) {
        closing[port] = 0;
        lost_to[port] = 0;
    }
    if (tcp->fin) {
        closing[port] = 1;
    }
    if (tcp->syn || tcp->fin || tcp->rst || segment->payload > 0 || !closing[port]) {
        return PASS;
    }
    if (bpf_get_prandom_u32() % ONE_IN == 0 && lost_to[port] < LOST_MAX) {
        lost_to[port]++;
        __sync_fetch_and_add(&lost, 1);
        return LOSE;
    }
    __sync_fetch_and_add(&arrived, 1);
    return PASS;
}

SEC("tc")
int lossy(struct __sk_buff *skb)
{
    struct segment segment;

    if (skb->protocol == bpf_htons(ETH_P_IP)
            ? !load_ipv4(skb, &segment)
            : skb->protocol != bpf_htons(ETH_P_IPV6) || !load_ipv6(skb, &segment)) {
        return PASS;
    }
    if (bpf_ntohs(segment.tcp.source) == server_port) {
        return pass_or_lose(&segment, bpf_ntohs(segment.tcp.dest));
    }
    if (bpf_ntohs(segment.tcp.dest) == server_port) {
        return pass_or_lose(&segment, bpf_ntohs(segment.tcp.source));
    }
    return PASS;
}
