/*
 * floor PAIRS: the least kernel memory that PAIRS sessions of a proxy can take, for bench/scale.sh to measure: a
 * connection accepted and a connection made each (both ends of one over loopback), one exchange behind them, and an
 * io_uring POLL waiting on either, on a ring such as a worker's. Prints "ready" and holds all until its input ends.
 * Exit status: 0, or 2 if it could not be done.
 */
#include "bench/number.h"

#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SUBMISSIONS   1024
#define COMPLETIONS   65536
#define FILES_MAX     1048576
#define EXCHANGE_SIZE 64

static int fail(const char *what, int error)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(error));
    return 2;
}

static int open_listener(struct sockaddr_in *address)
{
    socklen_t length = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, length) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) != 0)
        return -errno;
    return fd;
}

/* One message each way, so that a socket has what it takes into use with its first bytes. */
static int exchange(const int ends[2])
{
    char message[EXCHANGE_SIZE] = {0};

    for (int i = 0; i < 2; i++) {
        if (send(ends[i], message, sizeof(message), MSG_NOSIGNAL) != sizeof(message) ||
            recv(ends[i ^ 1], message, sizeof(message), MSG_WAITALL) != sizeof(message))
            return -EIO;
    }
    return 0;
}

static int open_pair(int listener, const struct sockaddr_in *address, int ends[2])
{
    const int on = 1;

    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (ends[0] < 0 || connect(ends[0], (const struct sockaddr *)address, sizeof(*address)) != 0)
        return -errno;
    ends[1] = accept(listener, NULL, NULL);
    if (ends[1] < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        (void)setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return exchange(ends);
}

static int watch_pair(struct io_uring *ring, const int ends[2])
{
    for (int i = 0; i < 2; i++) {
        struct io_uring_sqe *submission = io_uring_get_sqe(ring);
        if (submission == NULL)
            return -EBUSY;
        io_uring_prep_poll_add(submission, ends[i], POLLIN | POLLRDHUP);
    }
    int submitted = io_uring_submit(ring);
    return submitted < 0 ? submitted : 0;
}

static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
        .cq_entries = COMPLETIONS,
    };
    struct io_uring ring;
    struct sockaddr_in address;
    uint64_t pairs;
    char byte;

    if (argc != 2 || number_parse(argv[1], COMPLETIONS / 2, &pairs) != 0) {
        fprintf(stderr, "usage: floor PAIRS (at most %d)\n", COMPLETIONS / 2);
        return 2;
    }
    raise_limit();
    int error = io_uring_queue_init_params(SUBMISSIONS, &ring, &params);
    if (error < 0)
        return fail("io_uring", -error);
    int listener = open_listener(&address);
    if (listener < 0)
        return fail("listening", -listener);
    for (uint64_t i = 0; i < pairs; i++) {
        int ends[2];
        error = open_pair(listener, &address, ends);
        if (error == 0)
            error = watch_pair(&ring, ends);
        if (error < 0)
            return fail("a pair", -error);
    }
    printf("ready\n");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    return 0;
}
