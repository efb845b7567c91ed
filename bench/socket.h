/*
 * Non-blocking sockets. Every function returns a count or descriptor, or -errno; EINTR is retried inside and
 * no call raises SIGPIPE.
 */
#ifndef PENSTOCK_BENCH_SOCKET_H
#define PENSTOCK_BENCH_SOCKET_H

#include "bench/address.h"

#include <stddef.h>
#include <sys/types.h>

/* A listening socket; a stale unix socket file is removed first. On success *address is the actual one. send_buffer (0:
 * default) is SO_SNDBUF of what is accepted. */
int socket_listen(struct address *address, int send_buffer);

/* The next connection with TCP_NODELAY set, or -errno. */
int socket_accept(int listener);

/* Starts to connect; *in_progress tells whether the outcome is still to come (writability, then
 * socket_error). sources (may be NULL) gives the source address, receive_buffer (0: default) SO_RCVBUF. */
int socket_connect(const struct address *to, struct address_range *sources, int receive_buffer,
                   int *in_progress);

/* The pending error of the socket as -errno, or 0. */
int socket_error(int fd);

/* Bytes sent (> 0) or -errno. */
ssize_t socket_send(int fd, const void *data, size_t length);

/* Bytes received, 0 at the end of the stream, or -errno. */
ssize_t socket_receive(int fd, void *data, size_t length);

/* Makes the coming close send a reset instead of a FIN. */
void socket_reset_on_close(int fd);

/* Raises the soft limit of open files to the hard one and returns it, at most 1,048,576. */
size_t socket_raise_limit(void);

#endif
