/*
 * Waiting until a socket takes bytes again: an epoll set beside the ring.
 *
 * A send in the ring that had to wait would be polled for by the ring, and the ring takes a peer's half-close (RDHUP)
 * for readiness of anything: it tries again and again, then hands the send to a kernel thread, which blocks, and whose
 * partial count is lost should the worker die. epoll reports RDHUP only to those who ask.
 *
 * The set holds no reference to a socket: closing it is enough. A new incarnation makes a new set.
 */
#ifndef PENSTOCK_IO_WATCH_H
#define PENSTOCK_IO_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Makes an empty set under descriptor `fd`, which is closed first. 0 or -errno. The set is readable (poll) when one of
 * its sockets is writable. */
int watch_create(int fd);

/* Reports `handle` once, as soon as `fd` is writable or broken. `known`: it was in the set before. 0 or -errno. */
int watch_add(int watch_fd, int fd, uint64_t handle, bool known);

/* Takes up to `max` handles whose sockets are writable. Returns how many. */
uint32_t watch_take(int watch_fd, uint64_t *handles, uint32_t max);

#endif
