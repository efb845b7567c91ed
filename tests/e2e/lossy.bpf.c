/* What comes to the peer of a lab, in a test's hands: loses ACKs without data, counts RSTs. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
    PASS = -1,
    LOSE = 2,
    ONE_IN = 2,   /* is lost, by chance */
    LOST_MAX = 3, /* to a port: FINs come again ever more slowly */
    PORTS = 0x10000,
};

__u32 server_port; /* whose ACKs are lost */
__u8 lost_to[PORTS];
__u64 lost;
__u64 arrived;
__u64 resets;

char lossy_license[] SEC("license") = "GPL";

SEC("tc")
int lossy(struct __sk_buff *skb)
{
    struct {
        struct iphdr ip;
        struct tcphdr tcp;
    } packet;

    if (skb->protocol != bpf_htons(ETH_P_IP) ||
        bpf_skb_load_bytes(skb, ETH_HLEN, &packet, sizeof(packet)) != 0 || packet.ip.ihl != 5 ||
        packet.ip.protocol != 6) {
        return PASS;
    }
    if (packet.tcp.rst) {
        __sync_fetch_and_add(&resets, 1);
    }
    __u32 bytes = bpf_ntohs(packet.ip.tot_len) - sizeof(packet.ip) - packet.tcp.doff * 4;
    if (packet.tcp.syn || packet.tcp.fin || packet.tcp.rst || bytes > 0 ||
        bpf_ntohs(packet.tcp.source) != server_port) {
        return PASS;
    }
    __u16 port = bpf_ntohs(packet.tcp.dest);
    if (bpf_get_prandom_u32() % ONE_IN == 0 && lost_to[port] < LOST_MAX) {
        lost_to[port]++;
        __sync_fetch_and_add(&lost, 1);
        return LOSE;
    }
    __sync_fetch_and_add(&arrived, 1);
    return PASS;
}
