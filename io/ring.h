/*
 * One worker's io_uring: submissions by what they do, completions as values.
 *
 * SINGLE_ISSUER | DEFER_TASKRUN: the kernel does nothing for this ring but inside ring_submit(), ring_look() and
 * ring_wait(); TASKRUN_FLAG: the ring's memory says when it has something to do. So when the worker dies the ring is
 * frozen, and its completions can be read by the next incarnation through ring_attach(): what had not completed
 * consumed nothing.
 *
 * Submissions are private until one of these three; nothing is submitted inside a transaction. The caller
 * keeps ring_space() above what a transaction may submit.
 */
#ifndef PENSTOCK_IO_RING_H
#define PENSTOCK_IO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "core/endpoint.h"

enum {
    RING_SUBMISSIONS = 1024,
    RING_COMPLETIONS_MAX = 65536, /* the kernel's limit; the queue must never overflow */
    RING_SEND_VECTOR = 16,        /* buffers gathered in one send */
    RING_PARAMS_BYTES = 120,
    RING_GROUPS = 2, /* provided-buffer rings */
};

enum ring_op {
    RING_OP_NONE, /* the outcome of a cancel, of no interest */
    RING_OP_ACCEPT,
    RING_OP_LISTEN_POLL,
    RING_OP_WAKE,
    RING_OP_WATCH,
    RING_OP_RECV,
    RING_OP_SEND,
    RING_OP_POLL,
    RING_OP_CONNECT,
};

/* What a completion belongs to. */
struct ring_tag {
    enum ring_op op;
    uint8_t side;
    uint8_t group;  /* RING_OP_RECV: the buffer ring it takes from */
    bool zero_copy; /* RING_OP_SEND: the kernel reads the buffers until a second completion, the notice */
    uint8_t place;  /* of a zero-copy send: core/lent.h */
    uint16_t generation; /* of the session, low bits */
    uint32_t index;      /* of the session or listener */
};

struct ring_completion {
    struct ring_tag tag;
    int32_t result;  /* of a notice: 1 where the kernel copied after all, else 0 */
    bool more;       /* the operation stays armed; of a zero-copy send: a notice follows */
    bool notice;     /* the kernel reads the buffers of a zero-copy send no more */
    bool has_buffer; /* `buffer` is an id of the tag's group */
    uint16_t buffer;
};

struct ring;

/* Creates a ring for `completions` completions; `params` keeps what ring_attach() needs. The ring's descriptor is moved
 * to `fd`, which is closed first. 0 or -errno. */
int ring_create(struct ring **ring, int fd, uint32_t completions, void *params);

/* Maps the ring of a dead worker: only ring_head(), ring_peek() and ring_advance() work. 0 or -errno. */
int ring_attach(struct ring **ring, int fd, const void *params);

/* Unmaps and frees; the descriptor stays open. */
void ring_destroy(struct ring *ring);

/* Completions: look at the oldest, then consume it. Consuming is the store that commits its transaction. */
uint32_t ring_head(const struct ring *ring);
bool ring_peek(const struct ring *ring, struct ring_completion *completion);
void ring_advance(struct ring *ring);

/* Free submission entries. */
uint32_t ring_space(const struct ring *ring);

/* How to accept: one connection, many until cancelled, or one if there is one and else -EAGAIN (before Linux 6.10:
 * -EINVAL; accepts of a ring wait even for non-blocking sockets). */
enum ring_accept { RING_ACCEPT_ONE, RING_ACCEPT_MANY, RING_ACCEPT_AT_ONCE };

void ring_accept(struct ring *ring, struct ring_tag tag, int fd, enum ring_accept how);
void ring_receive(struct ring *ring, struct ring_tag tag, int fd, bool multishot);
/* Never waits: completes at once with what the kernel took, or -EAGAIN. See io/watch.h. */
void ring_send(struct ring *ring, struct ring_tag tag, int fd, const struct iovec *vector, uint32_t count);
void ring_poll(struct ring *ring, struct ring_tag tag, int fd, uint32_t events);
void ring_connect(struct ring *ring, struct ring_tag tag, int fd, const struct endpoint *to);
void ring_cancel(struct ring *ring, struct ring_tag tag);

/* Hands the submissions to the kernel; ring_wait() also waits for a completion, for `timeout_ms` at most. 0 or
 * -errno; -EINTR, -EBUSY and -ETIME are no errors. */
int ring_submit(struct ring *ring);
int ring_wait(struct ring *ring, uint32_t timeout_ms);

/* One look of many without waiting: enters the kernel only if there is something to submit or it has something to do
 * for this ring. 1: there is a completion; 0: none; or -errno as above. */
int ring_look(struct ring *ring);

/* A provided-buffer ring of `entries` (a power of two): -errno or 0; then buffers are given to the kernel by id. */
int ring_buffers_create(struct ring *ring, uint8_t group, uint32_t entries);
void ring_buffers_add(struct ring *ring, uint8_t group, uint16_t id, void *address, uint32_t length);

#endif
