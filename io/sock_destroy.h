/*
 * Removes the kernel's own sockets in TIME_WAIT, and in FIN_WAIT2 that no process holds, through sock_diag(7).
 *
 * SOCK_DESTROY of a bare tuple is dangerous: where its TIME_WAIT has gone, the kernel finds a connection that has the
 * tuple again, or the listener, and aborts that. So each tuple is looked up, minisockets only (struct
 * inet_timewait_sock) are taken, and destroyed by the cookie that came with the answer: a minisocket has that of the
 * socket it comes from and keeps it, and no later socket has the same.
 *
 * Needs Linux 6.0, CONFIG_INET_DIAG_DESTROY and CAP_NET_ADMIN over the network namespace. Sockets that are bound to an
 * interface are not found by their tuple; sock_destroy_all() finds them. One thread at a time.
 */
#ifndef PENSTOCK_IO_SOCK_DESTROY_H
#define PENSTOCK_IO_SOCK_DESTROY_H

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/flow.h"

enum {
    SOCK_DESTROY_BATCH = 256,
    SOCK_DESTROY_ALL_MAX = 65536, /* in one call: about a tenth of a second */
};

struct sock_destroy {
    int fd; /* of the network namespace it was opened in */
    uint32_t sequence;
};

/* Minisockets that were found, each to be destroyed by its cookie. */
struct sock_destroy_batch {
    uint32_t count;
    struct sock_destroy_request {
        struct nlmsghdr header;
        struct inet_diag_req_v2 wanted;
    } requests[SOCK_DESTROY_BATCH];
};

/* 0 or -errno: -EPERM without CAP_NET_ADMIN, -EOPNOTSUPP where the kernel destroys no sockets. */
int sock_destroy_open(struct sock_destroy *destroy);
void sock_destroy_close(struct sock_destroy *destroy);

/* Destroys what is left of these flows, as seen from our end. Returns how many there were, or -errno; -ENOBUFS: the
 * kernel dropped answers, so that some may be left. About 2 us each, at once: the kernel answers within send(2). */
int sock_destroy_tuples(struct sock_destroy *destroy, const struct flow_key *keys, uint32_t count);

/* Goes through all sockets of the namespace and destroys the minisockets that are `ours`, SOCK_DESTROY_ALL_MAX at
 * most: who gets that many calls again. For the start, and after some were missed. Returns how many, or -errno. */
int sock_destroy_all(struct sock_destroy *destroy, bool (*ours)(void *context, const struct flow_key *key),
                     void *context);

/* The two steps of sock_destroy_tuples(), of SOCK_DESTROY_BATCH keys at most. */
int sock_destroy_find(struct sock_destroy *destroy, const struct flow_key *keys, uint32_t count,
                      struct sock_destroy_batch *batch);
int sock_destroy_found(struct sock_destroy *destroy, struct sock_destroy_batch *batch);

#endif
