/* What becomes of bytes that TCP was given to send. */
#include "io/sock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/socket.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/io/connection.h"

enum {
    LITTLE = 8192, /* the second end takes no more before it is read */
    SAID_BYTES = 10,
    WAIT_MS = 5000,
};

TestSuite(io_sock, .init = connection_isolate);

Test(io_sock, a_reset_leaves_nothing_to_send_and_the_descriptor)
{
    static char bytes[64 * 1024];
    int pair[2];
    ssize_t got;

    connection_make(pair, LITTLE);
    cr_expect(sock_is_drained(pair[0]));
    uint64_t cookie = sock_cookie(pair[0]);
    while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    cr_expect_not(sock_is_drained(pair[0]));
    sock_reset(pair[0]);
    cr_expect(sock_is_drained(pair[0]));
    cr_expect(sock_was_reset(pair[0], 0));
    cr_expect_eq(sock_cookie(pair[0]), cookie);
    while ((got = recv(pair[1], bytes, sizeof(bytes), 0)) > 0) {
    }
    cr_expect(got < 0 && errno == ECONNRESET);
    sock_reset(pair[0]); /* may be repeated */
    cr_expect(sock_is_drained(pair[0]));
    close(pair[0]);
    close(pair[1]);
}

Test(io_sock, a_peers_reset_leaves_nothing_to_send)
{
    static char bytes[64 * 1024];
    int pair[2];

    connection_make(pair, LITTLE);
    while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    sock_reset(pair[1]);
    cr_expect_lt(recv(pair[0], bytes, 1, 0), 0); /* waits for it */
    cr_expect(sock_is_drained(pair[0]), "though SIOCOUTQ counts what was never acknowledged");
    close(pair[0]);
    close(pair[1]);
}

static void await_hangup(int fd)
{
    struct pollfd hangup = {.fd = fd};

    cr_assert_eq(poll(&hangup, 1, WAIT_MS), 1);
    cr_assert(hangup.revents & POLLHUP);
}

/* A connection whose peer has said something. */
struct heard {
    int fd, peer;
    uint64_t bytes; /* received */
};

enum { HEARD_ACCEPTED = 1, HEARD_ALL = 2, HEARD_OTHERWISE = 4, HEARD_WAYS = 8 };

static struct heard hear(bool accepted, bool all)
{
    char said[SAID_BYTES] = "";
    int pair[2];

    connection_make(pair, 0);
    struct heard heard = {.fd = pair[accepted], .peer = pair[!accepted], .bytes = all ? SAID_BYTES : 4};
    cr_assert_eq(send(heard.peer, said, sizeof(said), 0), (ssize_t)sizeof(said));
    cr_assert_eq(recv(heard.fd, said, heard.bytes, MSG_WAITALL), (ssize_t)heard.bytes);
    return heard;
}

Test(io_sock, an_end_in_order_is_no_reset)
{
    for (int way = 0; way < HEARD_WAYS; way++) {
        struct heard heard = hear(way & HEARD_ACCEPTED, way & HEARD_ALL);
        bool peer_first = way & HEARD_OTHERWISE;

        cr_expect_not(sock_was_reset(heard.fd, heard.bytes), "it lives");
        cr_assert_eq(shutdown(peer_first ? heard.peer : heard.fd, SHUT_WR), 0);
        cr_assert_eq(shutdown(peer_first ? heard.fd : heard.peer, SHUT_WR), 0);
        await_hangup(heard.fd);
        cr_expect_not(sock_was_reset(heard.fd, heard.bytes), "way %d", way);
        close(heard.fd);
        close(heard.peer);
    }
}

Test(io_sock, a_reset_is_one_though_it_was_told)
{
    for (int way = 0; way < HEARD_WAYS; way++) {
        struct heard heard = hear(way & HEARD_ACCEPTED, way & HEARD_ALL);
        int error = 0;
        socklen_t length = sizeof(error);

        if (way & HEARD_OTHERWISE) {
            cr_assert_eq(shutdown(heard.fd, SHUT_WR), 0);
        }
        sock_reset(heard.peer);
        await_hangup(heard.fd);
        cr_expect(sock_was_reset(heard.fd, heard.bytes), "way %d", way);
        cr_assert_eq(getsockopt(heard.fd, SOL_SOCKET, SO_ERROR, &error, &length), 0);
        cr_expect_eq(error, ECONNRESET);
        cr_expect(sock_was_reset(heard.fd, heard.bytes), "way %d, told", way);
        close(heard.fd);
        close(heard.peer);
    }
}

static int option(int fd, int name)
{
    int value = -1;
    socklen_t length = sizeof(value);

    cr_assert_eq(getsockopt(fd, SOL_SOCKET, name, &value, &length), 0);
    return value;
}

Test(io_sock, buffers_are_set_and_given_back)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int receive = option(fd, SO_RCVBUF);
    int send = option(fd, SO_SNDBUF);

    cr_assert_eq(sock_set_buffers(fd, &(struct image_socket_buffers){0}), 0);
    cr_expect_eq(option(fd, SO_BUF_LOCK), 0, "never touched");
    cr_assert_eq(sock_set_buffers(fd, &(struct image_socket_buffers){.receive = 10000}), 0);
    cr_expect_eq(option(fd, SO_BUF_LOCK), SOCK_RCVBUF_LOCK);
    cr_expect_eq(option(fd, SO_RCVBUF), 20000);
    cr_expect_eq(option(fd, SO_SNDBUF), send);
    cr_assert_eq(sock_set_buffers(fd, &(struct image_socket_buffers){.send = 11000}), 0);
    cr_expect_eq(option(fd, SO_BUF_LOCK), SOCK_SNDBUF_LOCK);
    cr_expect_eq(option(fd, SO_RCVBUF), receive);
    cr_expect_eq(option(fd, SO_SNDBUF), 22000);
    cr_assert_eq(sock_set_buffers(fd, &(struct image_socket_buffers){0}), 0);
    cr_expect_eq(option(fd, SO_BUF_LOCK), 0);
    cr_expect_eq(option(fd, SO_SNDBUF), send);
    cr_expect_eq(sock_set_buffers(-1, &(struct image_socket_buffers){.send = 11000}), -EBADF);
    close(fd);
}
