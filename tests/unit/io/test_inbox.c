/* Listening sockets on their way to a worker: what was looked at and not taken away is found again. */
#include "io/inbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BASE = 300 };

static int pair[2]; /* the worker's end, the supervisor's */

static void setup(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

TestSuite(inbox, .init = setup);

static unsigned open_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static bool same(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino;
}

static void send_one(uint64_t generation, uint32_t place, int fd)
{
    struct inbox_message message = {.generation = generation, .count = 1, .places = {place}};

    cr_assert_eq(inbox_send(pair[1], &message, &fd), 0);
}

Test(inbox, empty)
{
    struct inbox_message message;

    cr_expect_eq(inbox_look(pair[0], BASE, &message), 0);
    inbox_drop(pair[0]);
}

Test(inbox, a_message_stays_until_it_is_taken_away)
{
    struct inbox_message message = {.generation = 7, .count = 2, .places = {3, 1}};
    int sockets[2] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0)};
    unsigned before = open_descriptors();

    cr_assert_eq(inbox_send(pair[1], &message, sockets), 0);
    for (int i = 0; i < 3; i++) {
        message = (struct inbox_message){0};
        cr_assert_eq(inbox_look(pair[0], BASE, &message), 1);
        cr_expect_eq(message.generation, 7);
        cr_expect_eq(message.count, 2);
        cr_expect(message.places[0] == 3 && message.places[1] == 1);
        cr_expect(same(BASE + 3, sockets[0]) && same(BASE + 1, sockets[1]));
    }
    inbox_drop(pair[0]);
    cr_expect_eq(inbox_look(pair[0], BASE, &message), 0);
    cr_expect_eq(open_descriptors(), before + 2, "nothing but the two places is left open");
}

Test(inbox, in_order)
{
    struct inbox_message message;
    int first = socket(AF_INET, SOCK_STREAM, 0);
    int second = socket(AF_INET, SOCK_STREAM, 0);

    send_one(1, 0, first);
    send_one(2, 0, second);
    cr_assert_eq(inbox_look(pair[0], BASE, &message), 1);
    cr_expect(message.generation == 1 && same(BASE, first));
    inbox_drop(pair[0]);
    cr_assert_eq(inbox_look(pair[0], BASE, &message), 1);
    cr_expect(message.generation == 2 && same(BASE, second));
}

Test(inbox, full)
{
    struct inbox_message message = {.count = 1};
    int fd = eventfd(0, 0);
    int result = 0;

    for (int i = 0; i < 10000 && result == 0; i++) {
        result = inbox_send(pair[1], &message, &fd);
    }
    cr_expect_eq(result, -EAGAIN);
}

Test(inbox, without_free_descriptors_it_waits)
{
    struct rlimit limit;
    struct inbox_message message;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    send_one(1, 0, fd);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect_eq(inbox_look(pair[0], BASE, &message), -EMFILE);
    limit.rlim_cur = soft;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_expect_eq(inbox_look(pair[0], BASE, &message), 1);
    cr_expect(same(BASE, fd));
}
