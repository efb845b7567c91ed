/* Splices between real sockets, through pipes at agreed numbers. */
#include "io/pipe.h"
#include "io/sock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/io/connection.h"

enum {
    BASE = 300,
    WAIT_MS = 10000, /* turns "never" into a failure */
    MUCH = 16 * 1024 * 1024,
};

/* Two connections: what `writer` sends comes to `from`; what is sent to `to` comes to `reader`. */
static int writer, from, to, reader;

static void setup(void)
{
    int pair[2];
    int one = 1;

    signal(SIGPIPE, SIG_IGN);
    connection_isolate();
    connection_make(pair, 0);
    writer = pair[0];
    from = pair[1];
    cr_assert_eq(setsockopt(from, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)), 0); /* as io/sock.c */
    connection_make(pair, 0);
    to = pair[0];
    reader = pair[1];
    sock_set_nonblocking(from);
    sock_set_nonblocking(to);
    cr_assert_eq(pipe_make(BASE, 0), 0);
}

TestSuite(pipe, .init = setup, .timeout = 60);

static void await(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};

    cr_assert_eq(poll(&ready, 1, WAIT_MS), 1);
}

/* Waits until `from` has exactly this many to read. */
static void await_unread(int bytes)
{
    int unread = 0;

    for (int i = 0; unread != bytes; i++) {
        cr_assert(i < WAIT_MS, "%d of %d bytes came", unread, bytes);
        struct pollfd nothing = {.fd = -1};
        (void)poll(&nothing, 1, i > 0);
        cr_assert_eq(ioctl(from, SIOCINQ, &unread), 0);
    }
}

static void send_bytes(const char *text)
{
    cr_assert_eq(send(writer, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(fd);
}

static void expect_read(const char *text)
{
    char got[256] = "";

    await(reader, POLLIN);
    cr_expect_eq(recv(reader, got, sizeof(got) - 1, 0), (ssize_t)strlen(text));
    cr_expect_str_eq(got, text);
}

/* --- Making them ------------------------------------------------------------------------------------------ */

Test(pipe, they_stand_at_their_numbers)
{
    for (uint32_t i = 1; i < 4; i++) {
        cr_assert_eq(pipe_make(BASE, i), 0);
    }
    for (int fd = BASE; fd < BASE + 4 * PIPE_DESCRIPTORS; fd++) {
        int flags = fcntl(fd, F_GETFL);
        cr_expect(flags >= 0 && (flags & O_NONBLOCK), "%d", fd);
        cr_expect_eq(flags & O_ACCMODE, (fd - BASE) % 2 == 0 ? O_RDONLY : O_WRONLY, "%d", fd);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    cr_expect_lt(fcntl(BASE + 4 * PIPE_DESCRIPTORS, F_GETFD), 0);
    cr_expect_eq(write(BASE + 5, "x", 1), 1); /* pipe 2 */
    cr_expect_eq(pipe_bytes(BASE, 2), 1);
    cr_expect_eq(pipe_bytes(BASE, 1) + pipe_bytes(BASE, 3), 0);
}

Test(pipe, nothing_else_stays_open)
{
    int before = dup(from);

    close(before);
    cr_assert_eq(pipe_make(BASE, 1), 0);
    int after = dup(from);
    cr_expect_eq(after, before);
    close(after);
}

Test(pipe, made_where_the_next_numbers_are)
{
    int next = dup(from); /* both ends come to stand where they have to */

    close(next);
    cr_expect_eq(pipe_make(next, 0), 0);
    cr_expect_eq(write(next + 1, "x", 1), 1);
    cr_expect_eq(pipe_bytes(next, 0), 1);
}

/* --- Moving bytes ----------------------------------------------------------------------------------------- */

Test(pipe, from_socket_to_socket)
{
    send_bytes("through and through");
    await(from, POLLIN);
    cr_expect_eq(pipe_fill(BASE, 0, from), 19);
    cr_expect_eq(pipe_bytes(BASE, 0), 19);
    cr_expect_eq(pipe_drain(BASE, 0, to, 7), 7);
    cr_expect_eq(pipe_bytes(BASE, 0), 12);
    expect_read("through");
    cr_expect_eq(pipe_drain(BASE, 0, to, 12), 12);
    expect_read(" and through");
    cr_expect_eq(pipe_bytes(BASE, 0), 0);
    cr_expect_eq(pipe_drain(BASE, 0, to, 1), -EAGAIN); /* empty */
}

Test(pipe, an_empty_socket_is_not_waited_for)
{
    cr_expect_eq(pipe_fill(BASE, 0, from), -EAGAIN);
    send_bytes("x");
    await(from, POLLIN);
    cr_expect_eq(pipe_fill(BASE, 0, from), 1);
    cr_expect_eq(pipe_fill(BASE, 0, from), -EAGAIN);
    cr_expect_eq(pipe_bytes(BASE, 0), 1);
}

Test(pipe, an_end_is_left_to_a_receive)
{
    char byte;

    send_bytes("last");
    cr_assert_eq(shutdown(writer, SHUT_WR), 0);
    await(from, POLLRDHUP);
    cr_expect_eq(pipe_fill(BASE, 0, from), 4);
    cr_expect_eq(pipe_fill(BASE, 0, from), -EAGAIN);
    cr_expect_eq(recv(from, &byte, 1, MSG_DONTWAIT), 0);
}

Test(pipe, a_reset_is_told_once)
{
    char byte;

    send_bytes("last");
    await(from, POLLIN);
    reset(writer);
    await(from, POLLRDHUP);
    cr_expect_eq(pipe_fill(BASE, 0, from), 4); /* what came before is there */
    cr_expect_not(sock_was_reset(to, 0));
    cr_expect(sock_was_reset(from, 4));
    cr_expect_eq(pipe_fill(BASE, 0, from), -ECONNRESET);
    cr_expect_eq(recv(from, &byte, 1, MSG_DONTWAIT), 0); /* an end, for who does not know */
    cr_expect(sock_was_reset(from, 4));
}

/* An urgent byte stands in the stream for a receive; a splice ends before it and then sees nothing. */
Test(pipe, an_urgent_byte_is_left_to_a_receive)
{
    char got[16] = "";

    send_bytes("abc");
    cr_assert_eq(send(writer, "U", 1, MSG_OOB), 1);
    send_bytes("def");
    await_unread(7);
    cr_expect_eq(pipe_fill(BASE, 0, from), 3);
    cr_expect_eq(pipe_fill(BASE, 0, from), -EAGAIN); /* and does not wait */
    cr_expect_eq(recv(from, got, sizeof(got), MSG_DONTWAIT), 4);
    cr_expect_str_eq(got, "Udef");
    send_bytes("ghi");
    await_unread(3);
    cr_expect_eq(pipe_fill(BASE, 0, from), 3);
    cr_expect_eq(pipe_bytes(BASE, 0), 6);
}

Test(pipe, a_full_socket_takes_a_part_then_nothing_and_is_never_waited_for)
{
    static char bytes[256 * 1024];
    int32_t moved = 1;
    uint32_t filled = 0, sent = 0, got = 0;

    while (sent < MUCH && moved > 0) {
        while (pipe_bytes(BASE, 0) == 0) {
            ssize_t more = send(writer, bytes, sizeof(bytes), MSG_DONTWAIT);
            cr_assert(more > 0 || errno == EAGAIN);
            await(from, POLLIN);
            int32_t in = pipe_fill(BASE, 0, from);
            filled += in > 0 ? (uint32_t)in : 0;
        }
        moved = pipe_drain(BASE, 0, to, pipe_bytes(BASE, 0));
        sent += moved > 0 ? (uint32_t)moved : 0;
    }
    cr_expect_eq(moved, -EAGAIN);
    cr_expect_eq(pipe_bytes(BASE, 0), filled - sent);
    while (got < sent) {
        await(reader, POLLIN);
        ssize_t piece = recv(reader, bytes, sizeof(bytes), 0);
        cr_assert(piece > 0);
        got += (uint32_t)piece;
    }
    await(to, POLLOUT);
    cr_expect_gt(pipe_drain(BASE, 0, to, pipe_bytes(BASE, 0)), 0);
}

Test(pipe, a_full_pipe_takes_no_more_than_it_holds)
{
    static char bytes[64 * 1024];
    int32_t in = 1;

    for (uint32_t filled = 0; in > 0; filled += in > 0 ? (uint32_t)in : 0) {
        cr_assert_lt(filled, MUCH);
        while (send(writer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
        }
        await(from, POLLIN);
        in = pipe_fill(BASE, 0, from);
        cr_assert(in > 0 ? in <= PIPE_FILL_BYTES : in == -EAGAIN, "%d", in);
    }
    cr_expect_eq(in, -EAGAIN);
    cr_expect_gt(pipe_bytes(BASE, 0), 0);
}

Test(pipe, a_reset_that_a_drain_finds)
{
    send_bytes("lost");
    await(from, POLLIN);
    cr_assert_eq(pipe_fill(BASE, 0, from), 4);
    reset(reader);
    await(to, POLLIN);
    cr_expect_eq(pipe_drain(BASE, 0, to, 4), -ECONNRESET);
    cr_expect_eq(pipe_drain(BASE, 0, to, 4), -EPIPE); /* told once */
    cr_expect_eq(pipe_bytes(BASE, 0), 4);
    pipe_discard(BASE, 0);
    cr_expect_eq(pipe_bytes(BASE, 0), 0);
}

Test(pipe, what_is_thrown_away_is_gone)
{
    static char bytes[50000];

    cr_assert_eq(send(writer, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
    for (uint32_t moved = 0; moved < sizeof(bytes);) {
        await(from, POLLIN);
        int32_t in = pipe_fill(BASE, 0, from);
        cr_assert_gt(in, 0);
        moved += (uint32_t)in;
    }
    pipe_discard(BASE, 0);
    cr_expect_eq(pipe_bytes(BASE, 0), 0);
    pipe_discard(BASE, 0); /* of nothing: does not wait */
    send_bytes("next");
    await(from, POLLIN);
    cr_expect_eq(pipe_fill(BASE, 0, from), 4);
    cr_expect_eq(pipe_drain(BASE, 0, to, 4), 4);
    expect_read("next");
}

/* A death: what is in the pipe stays. */
Test(pipe, another_process_finds_what_one_left)
{
    send_bytes("inherited");
    await(from, POLLIN);
    cr_assert_eq(pipe_fill(BASE, 0, from), 9);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(pipe_bytes(BASE, 0) == 9 && pipe_drain(BASE, 0, to, 4) == 4 ? 0 : 1);
    }
    siginfo_t info;
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    cr_expect_eq(info.si_status, 0);
    cr_expect_eq(pipe_bytes(BASE, 0), 5);
    cr_expect_eq(pipe_drain(BASE, 0, to, 5), 5);
    expect_read("inherited");
}
