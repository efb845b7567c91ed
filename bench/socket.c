/*
 * Non-blocking sockets: the system calls of both tools, with their errors as return values.
 */
#include "bench/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG   65535 /* the kernel cuts it to net.core.somaxconn */
#define FILES_MAX 1048576

static void set_option(int fd, int level, int name, int value)
{
    /* All of these are refinements: without them the tools are slower, not wrong. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void set_nodelay(int fd, int family)
{
    if (family != AF_UNIX)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* Only a socket is ever removed: a file named by mistake stays, and bind reports EADDRINUSE. */
static void remove_stale(const struct address *address)
{
    struct stat status;
    if (address->any.sa_family == AF_UNIX && lstat(address->un.sun_path, &status) == 0 &&
        S_ISSOCK(status.st_mode))
        unlink(address->un.sun_path);
}

int socket_listen(struct address *address, int send_buffer)
{
    int error;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    remove_stale(address);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (send_buffer > 0)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, send_buffer);
    if (address->any.sa_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, &address->any, address->length) < 0 || listen(fd, BACKLOG) < 0)
        goto out;
    if (address->any.sa_family != AF_UNIX) {
        socklen_t length = sizeof(address->in6);
        if (getsockname(fd, &address->any, &length) < 0)
            goto out;
    }
    return fd;
out:
    error = -errno;
    close(fd);
    return error;
}

int socket_accept(int listener)
{
    struct address peer;
    int fd;

    do {
        peer.length = sizeof(peer.un);
        fd = accept4(listener, &peer.any, &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return -errno;
    set_nodelay(fd, peer.any.sa_family);
    return fd;
}

int socket_connect(const struct address *to, struct address_range *sources, int receive_buffer,
                   int *in_progress)
{
    int error;
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    set_nodelay(fd, to->any.sa_family);
    if (receive_buffer > 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer);
    if (sources != NULL && sources->count > 0 && to->any.sa_family == AF_INET) {
        struct address from;
        address_range_take(sources, &from);
        /* The port is chosen at connect, when the whole tuple is known: one port serves many peers. */
        set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (bind(fd, &from.any, from.length) < 0)
            goto out;
    }
    *in_progress = 0;
    if (connect(fd, &to->any, to->length) < 0) {
        if (errno != EINPROGRESS && errno != EINTR)
            goto out;
        *in_progress = 1;
    }
    return fd;
out:
    error = -errno;
    close(fd);
    return error;
}

int socket_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return -errno;
    return -error;
}

ssize_t socket_send(int fd, const void *data, size_t length)
{
    ssize_t sent;
    do
        sent = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

ssize_t socket_receive(int fd, void *data, size_t length)
{
    ssize_t received;
    do
        received = recv(fd, data, length, MSG_DONTWAIT);
    while (received < 0 && errno == EINTR);
    return received < 0 ? -errno : received;
}

void socket_reset_on_close(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

size_t socket_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = before;
    }
    return limit.rlim_cur < FILES_MAX ? (size_t)limit.rlim_cur : FILES_MAX;
}
