/*
 * A worker's inbox: the listening sockets that the supervisor hands to it.
 *
 * A SOCK_SEQPACKET pair whose both ends lie in the descriptor table that keeper and worker share: one is read by the
 * worker, the other is the supervisor's, kept there for a supervisor that takes over. A message is looked at, carried
 * out and only then taken away, so a worker that dies in between leaves it to its next incarnation; carrying it out
 * twice does no harm.
 */
#ifndef PENSTOCK_IO_INBOX_H
#define PENSTOCK_IO_INBOX_H

#include <stdint.h>

enum { INBOX_SOCKETS_MAX = 16 }; /* in one message; a worker keeps more descriptors free of sessions */

/* Listening sockets and the places they are for. `generation` is that of the first image that may name them. */
struct inbox_message {
    uint64_t generation;
    uint32_t count;
    uint32_t places[INBOX_SOCKETS_MAX];
};

/* Sends the sockets `fds`, one for each place. 0, -EAGAIN where the inbox is full, or another -errno. */
int inbox_send(int fd, const struct inbox_message *message, const int *fds);

/* Puts the sockets of the oldest message at the numbers base + place. 1, 0 where there is no message, or -errno:
 * -EMFILE where there are no numbers free to receive them. */
int inbox_look(int fd, int base, struct inbox_message *message);

/* Takes the oldest message away. */
void inbox_drop(int fd);

#endif
