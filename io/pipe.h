/*
 * Pipes: how a stream's bytes go from socket to socket without being copied, splice(2).
 *
 * A worker's pipes stand at agreed descriptors, made by its keeper, so they outlive the worker with what is in them.
 *
 * None of these calls waits if the sockets are non-blocking: splice(2) goes by that alone.
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

/* Moves up to PIPE_FILL_BYTES from a socket into the pipe. Bytes, -EAGAIN where there are none (the end included, and
 * bytes behind an urgent one), or -errno. */
int32_t pipe_fill(int base, uint32_t index, int from);

/* Moves up to `length` bytes from the pipe to a socket. Bytes or -errno. */
int32_t pipe_drain(int base, uint32_t index, int to, uint32_t length);

/* What is in it. */
uint32_t pipe_bytes(int base, uint32_t index);

/* Throws away what is in it. */
void pipe_discard(int base, uint32_t index);

#endif
