/*
 * Pipes: how a stream's bytes go from socket to socket without being copied, splice(2).
 *
 * A worker's pipes stand at agreed descriptors, made by its keeper, so they outlive the worker with what is in them.
 *
 * None of these calls waits, though the sockets are blocking ones, as the ring wants them: splice(2) goes by the
 * socket's O_NONBLOCK alone. Into the pipe nothing is spliced unless there is something; out of it the socket is made
 * non-blocking for the call. A death in between leaves it so: pipe_settle().
 */
#ifndef PENSTOCK_IO_PIPE_H
#define PENSTOCK_IO_PIPE_H

#include <stdint.h>

enum {
    PIPE_COUNT = 64,              /* of each worker */
    PIPE_DESCRIPTORS = 2,         /* the end that is read, then the end that is written */
    PIPE_FILL_BYTES = 512 * 1024, /* at most in one go: two streams take turns after that */
};

/* Makes pipe `index` of those that begin at descriptor `base`, as large as the kernel allows. 0 or -errno. */
int pipe_make(int base, uint32_t index);

/* Moves up to PIPE_FILL_BYTES from a socket into the pipe. Bytes, -EAGAIN where a receive has to tell what there is (the
 * end, an urgent byte, nothing), or -errno. */
int32_t pipe_fill(int base, uint32_t index, int from);

/* Moves up to `length` bytes from the pipe to a socket. Bytes or -errno. */
int32_t pipe_drain(int base, uint32_t index, int to, uint32_t length);

/* After a death in any of these calls: what is in the pipe; `to`, which it was being drained to, is blocking again. */
uint32_t pipe_settle(int base, uint32_t index, int to);

/* Throws away what is in it. */
void pipe_discard(int base, uint32_t index);

#endif
