/*
 * What the programs read of the kernel's own structures. Only names count: libbpf moves each access to where the field
 * is in the running kernel (CO-RE).
 */
#ifndef PENSTOCK_IO_BPF_KERNEL_BPF_H
#define PENSTOCK_IO_BPF_KERNEL_BPF_H

#include <linux/bpf.h>
#include <linux/in6.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct netns_sysctl_ipv6 {
    __u8 auto_flowlabels;
};

struct netns_ipv6 {
    struct netns_sysctl_ipv6 sysctl;
};

struct net {
    struct netns_ipv6 ipv6;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct sock_common {
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    __be16 skc_dport;
    __u16 skc_num;
    unsigned short skc_family;
    unsigned long skc_flags;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
    struct sock_common __sk_common;
    int sk_err;
    __u32 sk_txhash;
    unsigned long sk_lingertime;
};

struct ipv6_pinfo {
    __be32 flow_label;
    __u8 tclass;
};

struct inet_sock {
    struct sock sk;
    struct ipv6_pinfo *pinet6;
    __u8 tos;
};

struct tcp_options_received {
    __u32 ts_recent;
    __u16 tstamp_ok : 1;
    __u16 snd_wscale : 4;
    __u16 rcv_wscale : 4;
};

struct inet_connection_sock {
    struct inet_sock icsk_inet;
};

struct tcp_sock {
    struct inet_connection_sock inet_conn;
    __u32 copied_seq;
    __u32 rcv_nxt;
    __u32 rcv_wnd;
    __u32 rcv_wup;
    __u32 snd_nxt;
    __u32 snd_una;
    __u32 write_seq;
    __u32 tsoffset;
    __u8 tcp_usec_ts : 1; /* since Linux 6.7 */
    int linger2;
    struct tcp_options_received rx_opt;
};

struct inet_timewait_sock {
    unsigned char tw_substate;
};

struct tcp_timewait_sock {
    struct inet_timewait_sock tw_sk;
};

enum sock_flags {
    SOCK_DONE = 1,
    SOCK_LINGER = 4,
};

struct sk_buff {
    __u16 network_header;
    __u16 mac_header;
    __u8 ip_summed : 2;
};

struct net_device {
    const unsigned char *dev_addr;
};

struct xdp_rxq_info {
    struct net_device *dev;
};

struct xdp_buff {
    struct xdp_rxq_info *rxq;
};

#pragma clang attribute pop

#endif
