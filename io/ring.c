#include "io/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/check.h"
#include "io/kernel.h"
#include "io/sock.h"

#ifndef IORING_RECV_MULTISHOT
#define IORING_RECV_MULTISHOT (1U << 1) /* linux/io_uring.h, since Linux 6.0 */
#endif

enum { SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL };

_Static_assert(sizeof(struct io_uring_params) == RING_PARAMS_BYTES, "params are kept in the worker's slot");

/* Memory a submission refers to until it is handed to the kernel, which copies it then. */
struct scratch {
    union {
        struct {
            struct msghdr message;
            struct iovec vector[RING_SEND_VECTOR];
        };
        struct sockaddr_storage address;
    };
};

struct buffers {
    struct io_uring_buf_ring *ring;
    uint32_t entries;
};

struct ring {
    struct io_uring uring;
    struct buffers buffers[RING_GROUPS];
    uint32_t scratch_used;
    struct scratch scratch[RING_SUBMISSIONS];
};

/* Tags as the kernel carries them: op 0-3, side 4, group 5, zero_copy 6, place 7-8, generation 16-31, index 32-63. */
static uint64_t tag_pack(struct ring_tag tag)
{
    return (uint64_t)tag.op | (uint64_t)tag.side << 4 | (uint64_t)tag.group << 5 |
           (uint64_t)tag.zero_copy << 6 | (uint64_t)tag.place << 7 | (uint64_t)tag.generation << 16 |
           (uint64_t)tag.index << 32;
}

static struct ring_tag tag_unpack(uint64_t data)
{
    return (struct ring_tag){
        .op = (enum ring_op)(data & 15),
        .side = (data >> 4) & 1,
        .group = (data >> 5) & 1,
        .zero_copy = (data >> 6) & 1,
        .place = (data >> 7) & 3,
        .generation = (uint16_t)(data >> 16),
        .index = (uint32_t)(data >> 32),
    };
}

/* The ring can do what a worker does and nothing else: a seccomp filter does not see what is asked through it. */
static int restrict_operations(struct io_uring *uring)
{
    static const uint8_t operations[] = {IORING_OP_ACCEPT,       IORING_OP_RECV,      IORING_OP_SEND,
                                         IORING_OP_SENDMSG,      IORING_OP_POLL_ADD,  IORING_OP_CONNECT,
                                         IORING_OP_ASYNC_CANCEL, IORING_OP_SENDMSG_ZC};
    static const uint8_t registrations[] = {IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS,
                                            IORING_REGISTER_PBUF_RING};
    struct io_uring_restriction list[sizeof(operations) + sizeof(registrations) + 1];
    uint32_t count = 0;

    memset(list, 0, sizeof(list));
    for (size_t i = 0; i < sizeof(operations); i++) {
        list[count].opcode = IORING_RESTRICTION_SQE_OP;
        list[count++].sqe_op = operations[i];
    }
    for (size_t i = 0; i < sizeof(registrations); i++) {
        list[count].opcode = IORING_RESTRICTION_REGISTER_OP;
        list[count++].register_op = registrations[i];
    }
    list[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    list[count++].sqe_flags = IOSQE_BUFFER_SELECT;
    /* Plain calls: liburing 2.3 declares functions for these but does not export them. */
    if (syscall(SYS_io_uring_register, uring->ring_fd, IORING_REGISTER_RESTRICTIONS, list, count) != 0 ||
        syscall(SYS_io_uring_register, uring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) != 0) {
        return -errno;
    }
    return 0;
}

int ring_create(struct ring **ring_out, int fd, uint32_t completions, void *params_out)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED,
        .cq_entries = completions,
    };
    struct ring *ring = calloc(1, sizeof(*ring));

    if (ring == NULL) {
        return -ENOMEM;
    }
    int result = io_uring_queue_init_params(RING_SUBMISSIONS, &ring->uring, &params);
    if (result < 0) {
        free(ring);
        return result;
    }
    result = restrict_operations(&ring->uring);
    /* The next incarnation finds the ring under a number agreed on, whatever descriptors are open. */
    if (result == 0 && dup3(ring->uring.ring_fd, fd, O_CLOEXEC) < 0) {
        result = -errno;
    }
    if (result < 0) {
        io_uring_queue_exit(&ring->uring);
        free(ring);
        return result;
    }
    close(ring->uring.ring_fd);
    ring->uring.ring_fd = fd;
    ring->uring.enter_ring_fd = fd;
    (void)io_uring_register_ring_fd(&ring->uring); /* saves a descriptor look-up a call; works without */
    memcpy(params_out, &params, sizeof(params));
    *ring_out = ring;
    return 0;
}

int ring_attach(struct ring **ring_out, int fd, const void *params)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    struct io_uring_params copy;

    if (ring == NULL) {
        return -ENOMEM;
    }
    memcpy(&copy, params, sizeof(copy));
    int result = io_uring_queue_mmap(fd, &copy, &ring->uring);
    if (result < 0) {
        free(ring);
        return result;
    }
    ring->uring.flags = copy.flags;
    *ring_out = ring;
    return 0;
}

void ring_destroy(struct ring *ring)
{
    struct io_uring_sq *sq = &ring->uring.sq;
    struct io_uring_cq *cq = &ring->uring.cq;

    munmap(sq->sqes, *sq->kring_entries * sizeof(struct io_uring_sqe));
    if (cq->ring_ptr != NULL && cq->ring_ptr != sq->ring_ptr) {
        munmap(cq->ring_ptr, cq->ring_sz);
    }
    munmap(sq->ring_ptr, sq->ring_sz);
    for (int group = 0; group < RING_GROUPS; group++) {
        free(ring->buffers[group].ring);
    }
    free(ring);
}

uint32_t ring_head(const struct ring *ring)
{
    return *ring->uring.cq.khead;
}

bool ring_peek(const struct ring *ring, struct ring_completion *completion)
{
    const struct io_uring_cq *cq = &ring->uring.cq;
    uint32_t head = *cq->khead;

    if (head == io_uring_smp_load_acquire(cq->ktail)) { /* pairs with the kernel's release */
        return false;
    }
    const struct io_uring_cqe *cqe = &cq->cqes[head & *cq->kring_mask];
    bool notice = (cqe->flags & IORING_CQE_F_NOTIF) != 0;
    bool copied = ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0;
    *completion = (struct ring_completion){
        .tag = tag_unpack(cqe->user_data),
        .result = notice ? copied : cqe->res,
        .notice = notice,
        .more = (cqe->flags & IORING_CQE_F_MORE) != 0,
        .has_buffer = (cqe->flags & IORING_CQE_F_BUFFER) != 0,
        .buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
    };
    return true;
}

void ring_advance(struct ring *ring)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the transaction's stores, then its commit */
    io_uring_cq_advance(&ring->uring, 1);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

uint32_t ring_space(const struct ring *ring)
{
    uint32_t space = io_uring_sq_space_left(&ring->uring);
    uint32_t scratch = RING_SUBMISSIONS - ring->scratch_used;

    return space < scratch ? space : scratch;
}

static struct io_uring_sqe *submission(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

    CHECK(sqe != NULL);
    return sqe;
}

static struct scratch *scratch(struct ring *ring)
{
    CHECK(ring->scratch_used < RING_SUBMISSIONS);
    return &ring->scratch[ring->scratch_used++];
}

void ring_accept(struct ring *ring, struct ring_tag tag, int fd, enum ring_accept how)
{
    struct io_uring_sqe *sqe = submission(ring);

    if (how == RING_ACCEPT_MANY) {
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, 0);
    } else {
        io_uring_prep_accept(sqe, fd, NULL, NULL, 0);
        sqe->ioprio |= how == RING_ACCEPT_AT_ONCE ? IORING_ACCEPT_DONTWAIT : 0;
    }
    io_uring_sqe_set_data64(sqe, tag_pack(tag));
}

void ring_receive(struct ring *ring, struct ring_tag tag, int fd, bool multishot)
{
    struct io_uring_sqe *sqe = submission(ring);

    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    if (multishot) {
        sqe->ioprio |= IORING_RECV_MULTISHOT;
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = tag.group;
    io_uring_sqe_set_data64(sqe, tag_pack(tag));
}

void ring_send(struct ring *ring, struct ring_tag tag, int fd, const struct iovec *vector, uint32_t count)
{
    struct io_uring_sqe *sqe = submission(ring);

    if (count == 1 && !tag.zero_copy) {
        io_uring_prep_send(sqe, fd, vector[0].iov_base, vector[0].iov_len, SEND_FLAGS);
    } else {
        struct scratch *memory = scratch(ring);
        memcpy(memory->vector, vector, count * sizeof(*vector));
        memory->message = (struct msghdr){.msg_iov = memory->vector, .msg_iovlen = count};
        io_uring_prep_sendmsg(sqe, fd, &memory->message, SEND_FLAGS);
        if (tag.zero_copy) {
            sqe->opcode = IORING_OP_SENDMSG_ZC;
            sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
        }
    }
    io_uring_sqe_set_data64(sqe, tag_pack(tag));
}

void ring_poll(struct ring *ring, struct ring_tag tag, int fd, uint32_t events)
{
    struct io_uring_sqe *sqe = submission(ring);

    io_uring_prep_poll_add(sqe, fd, events);
    io_uring_sqe_set_data64(sqe, tag_pack(tag));
}

void ring_connect(struct ring *ring, struct ring_tag tag, int fd, const struct endpoint *to)
{
    struct io_uring_sqe *sqe = submission(ring);
    struct scratch *memory = scratch(ring);
    socklen_t length = sock_address(to, &memory->address);

    io_uring_prep_connect(sqe, fd, (struct sockaddr *)&memory->address, length);
    io_uring_sqe_set_data64(sqe, tag_pack(tag));
}

void ring_cancel(struct ring *ring, struct ring_tag tag)
{
    struct io_uring_sqe *sqe = submission(ring);

    /* All: accepts of a unix listener share a tag. */
    io_uring_prep_cancel64(sqe, tag_pack(tag), IORING_ASYNC_CANCEL_ALL);
    io_uring_sqe_set_data64(sqe, tag_pack((struct ring_tag){.op = RING_OP_NONE}));
}

static int outcome(struct ring *ring, int result)
{
    if (io_uring_sq_ready(&ring->uring) == 0) {
        ring->scratch_used = 0;
    }
    return result >= 0 || result == -EINTR || result == -EBUSY || result == -ETIME || result == -EAGAIN
               ? 0
               : result;
}

int ring_submit(struct ring *ring)
{
    return outcome(ring, io_uring_submit(&ring->uring));
}

int ring_wait(struct ring *ring, uint32_t timeout_ms)
{
    struct __kernel_timespec timeout = {
        .tv_sec = timeout_ms / 1000,
        .tv_nsec = (long long)(timeout_ms % 1000) * 1000000,
    };
    struct io_uring_cqe *cqe;

    return outcome(ring, io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &timeout, NULL));
}

/* Whether the kernel has task work for this ring: completions come only of running it. */
static bool has_work(const struct ring *ring)
{
    return (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_TASKRUN) != 0;
}

/* Of a loop that waits for memory to change: leaves the core to its other thread. */
static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

int ring_look(struct ring *ring)
{
    const struct io_uring_cq *cq = &ring->uring.cq;
    int result = 0;

    if (io_uring_sq_ready(&ring->uring) > 0 || has_work(ring)) {
        result = outcome(ring, io_uring_submit_and_get_events(&ring->uring));
    } else {
        relax();
    }
    if (result < 0) {
        return result;
    }
    return *cq->khead != io_uring_smp_load_acquire(cq->ktail); /* pairs with the kernel's release */
}

int ring_buffers_create(struct ring *ring, uint8_t group, uint32_t entries)
{
    struct buffers *buffers = &ring->buffers[group];

    buffers->entries = entries;
    if (posix_memalign((void **)&buffers->ring, 4096, entries * sizeof(struct io_uring_buf)) != 0) {
        buffers->ring = NULL;
        return -ENOMEM;
    }
    io_uring_buf_ring_init(buffers->ring);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffers->ring,
        .ring_entries = entries,
        .bgid = group,
    };
    return io_uring_register_buf_ring(&ring->uring, &registration, 0);
}

void ring_buffers_add(struct ring *ring, uint8_t group, uint16_t id, void *address, uint32_t length)
{
    struct buffers *buffers = &ring->buffers[group];

    io_uring_buf_ring_add(buffers->ring, address, length, id, (int)buffers->entries - 1, 0);
    io_uring_buf_ring_advance(buffers->ring, 1);
}
