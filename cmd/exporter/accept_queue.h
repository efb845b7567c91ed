/*
 * Accept queues: what waits in the kernel on each listener's sockets, asked of it by sock_diag(7).
 *
 * Anybody may ask about the sockets of the network namespace, which the exporter does not hold itself.
 */
#ifndef PENSTOCK_CMD_EXPORTER_ACCEPT_QUEUE_H
#define PENSTOCK_CMD_EXPORTER_ACCEPT_QUEUE_H

#include "core/image.h"

/* Of all sockets of a listener, one for each worker, together. Unix sockets are not among them. */
struct accept_queue {
    uint32_t sockets;
    uint32_t length; /* connections that are established and not accepted */
    uint32_t limit;  /* of them */
    uint64_t drops;  /* connections refused by a full queue, since the sockets were opened */
};

/* Fills `queues` by listener row; without sockets where the kernel does not say. 0 or -errno. */
int accept_queue_read(struct accept_queue queues[IMAGE_LISTENERS_MAX], const struct image *image);

#endif
