/*
 * Plain socket calls: what is cheaper as a system call of its own than through the ring, or is needed before there
 * is one.
 */
#ifndef PENSTOCK_IO_SOCK_H
#define PENSTOCK_IO_SOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/endpoint.h"
#include "core/flow.h"
#include "core/image.h"

/* Fills `address`; returns its length. */
socklen_t sock_address(const struct endpoint *endpoint, struct sockaddr_storage *address);

/* A socket that is bound and only has to listen(2). TCP sockets share their port between workers
 * (SO_REUSEPORT); a unix socket's old path is removed if nobody listens there. Options are set here because
 * accepted sockets inherit them. Returns the descriptor or -errno. */
int sock_bind(const struct endpoint *endpoint);

/* Whether `fd` is a socket that listens at the endpoint. */
bool sock_listens_at(int fd, const struct endpoint *endpoint);

/* 0 if nobody else listens on the TCP endpoint, else -EADDRINUSE or another -errno. */
int sock_probe(const struct endpoint *endpoint);

/* A socket ready to connect to `to`. Returns the descriptor or -errno. */
int sock_open(const struct endpoint *to);

/* Lets the kernel choose the source port of `fd` from [low, high] only; 0, 0 is any. 0 or -errno. */
int sock_port_window(int fd, uint16_t low, uint16_t high);

/* Binds a socket that is to connect to an address, IPv4 as ::ffff:a.b.c.d, or any where it is zero, and to a
 * port; port 0 is chosen by connect(2). Other sockets may have the same port toward other servers. 0 or
 * -errno. */
int sock_bind_source(int fd, uint8_t family, const uint8_t address[16], uint16_t port);

/* The address that the kernel would choose for a connection to `to`, IPv4 as ::ffff:a.b.c.d. False: no way
 * leads there. */
bool sock_source_toward(const struct endpoint *to, uint8_t address[16]);

/* 0, or -EADDRNOTAVAIL where the address is not of this machine, or another -errno. */
int sock_probe_source(const struct image_address *address);

enum sock_binding {
    SOCK_UNBOUND,   /* to a port */
    SOCK_BOUND,     /* to a port for good: a connect failed */
    SOCK_UNDER_WAY, /* connecting or connected */
};

enum sock_binding sock_binding(int fd);

/* Puts another socket in the place of `fd`. */
void sock_replace(int fd, int by);

/* TCP_CONGESTION: tcp(7). Accepted sockets inherit that of the listening one. "" is the system's default, as a new
 * socket has it. 0, or -errno: -ENOENT where there is none of the name, -EPERM where it needs CAP_NET_ADMIN. */
int sock_set_congestion(int fd, const char *name);

/* SO_RCVBUF and SO_SNDBUF of a TCP socket: socket(7); the kernel then tunes them no more. Accepted sockets
 * inherit them. 0 gives one that was set before back to the kernel. Before connect(2), which settles the
 * window's scale. 0 or -errno. */
int sock_set_buffers(int fd, const struct image_socket_buffers *buffers);

/* SO_COOKIE: unique among all sockets while the kernel runs. 0 where `fd` is no socket. */
uint64_t sock_cookie(int fd);

/* Both ends of a connected TCP socket. False for other sockets. */
bool sock_flow_key(int fd, struct flow_key *key);

void sock_shutdown(int fd);

void sock_set_nonblocking(int fd);

/* Milliseconds since the peer acknowledged anything, of a connection with bytes on their way to it. UINT32_MAX: it
 * has none, or is no TCP connection. */
uint32_t sock_unheard_ms(int fd);

/* Whether somebody is in the queue of a listening socket. */
bool sock_has_waiting(int fd);

/* Whether the connection was reset before its peer's FIN, though a receive may say 0 now: the error of a reset is told
 * once. `received_bytes`: all that was ever received from it, by which a FIN that waits unread is known. */
bool sock_was_reset(int fd, uint64_t received_bytes);

/* Whether TCP is done with the socket: no state of the connection changes any more. False where it is no TCP socket. */
bool sock_is_closed(int fd);

/* Makes close() send RST. */
void sock_abort(int fd);

/* Sends RST at once, where TCP is not closed already. What the kernel was still to send is gone; the
 * descriptor stays. */
void sock_reset(int fd);

void sock_close(int fd);

/* Bytes handed to the kernel that the peer has not acknowledged (TCP) or read (unix): tcp(7), SIOCOUTQ. */
uint32_t sock_unacknowledged(int fd);

/* Whether TCP has nothing of what it was given to send any more: the peer has acknowledged it all, or the connection is
 * gone. */
bool sock_is_drained(int fd);

/* Closes `fd` and keeps its number taken, by a copy of `stand_in`. */
void sock_retire(int fd, int stand_in);

/* Closes all descriptors from `first` to `last`, whether open or not. */
void sock_close_range(uint32_t first, uint32_t last);

/* The range of source ports of this host: ip_local_port_range. */
void sock_port_range(uint16_t *low, uint16_t *high);

/* Where the kernel lets a connection take a tuple out of TIME_WAIT: tcp_tw_reuse. */
enum sock_reuse { SOCK_REUSE_NONE = 0, SOCK_REUSE_ALL = 1, SOCK_REUSE_LOOPBACK = 2 };

/* What there is to know of this host's source ports: ip-sysctl. */
struct sock_ports {
    uint16_t low, high;
    bool windows; /* sock_port_window() works: Linux 6.3 */
    enum sock_reuse reuse;
    uint8_t reserved[65536 / 8]; /* ip_local_reserved_ports: a bit each */
};

void sock_read_ports(struct sock_ports *ports);

#endif
