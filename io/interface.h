/* The network interfaces that a responder is attached to: netdevice(7). */
#ifndef PENSTOCK_IO_INTERFACE_H
#define PENSTOCK_IO_INTERFACE_H

#include <stdint.h>

/* The index of an interface of the caller's network namespace whose packets begin with an Ethernet header. -errno;
 * -ENOTSUP: they do not. */
int interface_find(const char *name);

/* The indexes of all interfaces that are up, have an address and an Ethernet header, in no order. `name`: the first that has no
 * such header, or "". How many; -errno; -ENOSPC: there are more than `max`. */
int interface_find_all(int *indexes, uint32_t max, char name[16]);

#endif
