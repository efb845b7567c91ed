/* The network interfaces that a responder is attached to: netdevice(7). */
#ifndef PENSTOCK_IO_INTERFACE_H
#define PENSTOCK_IO_INTERFACE_H

#include <stdint.h>

/* The index of an interface of the caller's network namespace that can be answered at: Ethernet, or one that
 * carries bare IP packets (WireGuard, tun, PPP, a tunnel to one other end). -errno; -ENOTSUP: it is of
 * another kind. */
int interface_find(const char *name);

/* The indexes of all interfaces that are up, have an address and can be answered at, in no order. `name`:
 * the first that cannot, or "". How many; -errno; -ENOSPC: there are more than `max`. */
int interface_find_all(int *indexes, uint32_t max, char name[16]);

#endif
