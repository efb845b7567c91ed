/*
 * TIME_WAIT outside the kernel's TCP: the flow entry answers. Programs on one table, loaded by io/time_wait.c.
 *
 * Publisher, sockops on the cgroup of Penstock's processes: fills the entry. Responder, tcx ingress or native
 * XDP on the interfaces that connections come through: answers from it. Guard, tcx egress there: holds back the
 * kernel's RSTs.
 */
#include "io/bpf/publish.bpf.h"
#include "io/bpf/respond.bpf.h"

char programs_license[] SEC("license") = "GPL";

static __always_inline void watch(struct bpf_sock_ops *ops)
{
    bpf_sock_ops_cb_flags_set(ops, (int)(ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG));
}

SEC("sockops")
int publisher(struct bpf_sock_ops *ops)
{
    struct bpf_sock *sock = ops->sk;
    struct tcp_sock *tcp = sock != NULL ? bpf_skc_to_tcp_sock(sock) : NULL;

    if (tcp == NULL) {
        return 1;
    }
    switch (ops->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB: /* from a tuple in TIME_WAIT: the kernel judged nothing if it keeps none */
        watch(ops);
        if (release_flow(tcp, false)) {
            count(COUNT_reconnected);
        }
        break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: /* what is left would swallow the connection's segments */
        watch(ops);
        if (release_flow(tcp, false)) {
            count(COUNT_reopened);
        }
        break;
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
        watch(ops);
        break;
    case BPF_SOCK_OPS_STATE_CB:
        if (ops->args[1] == BPF_TCP_CLOSE) {
            end(tcp, ops->args[0]);
        }
        break;
    default:
        break;
    }
    return 1;
}

SEC("tc")
int responder(struct __sk_buff *skb)
{
    struct frame frame = frame_of(skb);

    return respond(&frame);
}

SEC("tc")
int guard(struct __sk_buff *skb)
{
    struct frame frame = frame_of(skb);

    return hold_back(&frame);
}

SEC("xdp")
int native_responder(struct xdp_md *xdp)
{
    struct frame frame = {.context = xdp, .native = true, .ip_at = ETH_HLEN};
    int verdict = respond(&frame);

    if (verdict == TCX_NEXT) {
        return XDP_PASS;
    }
    return verdict == TCX_DROP ? XDP_DROP : verdict;
}
