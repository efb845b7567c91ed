/*
 * Where a responder is hooked in: tcx ingress, or native XDP on a network card, where a packet is answered
 * before the kernel makes a socket buffer of it. Both give the same answers. XDP is for cards only: it halves
 * bulk throughput through a veth, and takes aggregation by the host away from virtio.
 */
#ifndef PENSTOCK_IO_TIME_WAIT_ATTACH_H
#define PENSTOCK_IO_TIME_WAIT_ATTACH_H

enum time_wait_hook {
    TIME_WAIT_TCX,
    TIME_WAIT_XDP,
    TIME_WAIT_TCX_OUT, /* what is sent */
};

/* Native XDP where the interface is a PCI card with nothing stacked on it (bridge, bond, VLAN: a card may
 * have taken the VLAN tag off before XDP sees a packet), in the network namespace that sysfs shows, and its
 * driver takes the program; else tcx. A program of somebody else's stays. Returns the link's descriptor, or
 * -errno of tcx. Some cards are silent for a moment when they get or lose an XDP program. */
int time_wait_attach(int tcx_program, int xdp_program, int interface);

/* The one hook and no other. The link's descriptor, or -errno. */
int time_wait_attach_to(enum time_wait_hook hook, int program, int interface);

/* Which hook a link belongs to: another program in its place must be of the same kind. */
enum time_wait_hook time_wait_attached(int link);

#endif
