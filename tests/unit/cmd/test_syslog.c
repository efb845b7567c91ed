/* Messages to a socket as syslog's daemon has it. */
#include "cmd/syslog.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/penstock-syslog-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int daemon_fd;

static void begin(void)
{
    cr_assert_not_null(mkdtemp(directory));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/log", directory);
    daemon_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(daemon_fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static void end(void)
{
    (void)unlink(address.sun_path);
    (void)rmdir(directory);
}

TestSuite(syslog, .init = begin, .fini = end);

Test(syslog, a_line_is_a_message)
{
    char got[256] = "";
    char month[4];
    int used = 0;
    int pid = 0;

    int fd = syslog_connect(address.sun_path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(syslog_send(fd, "a line\n", 6), 0);
    ssize_t size = recv(daemon_fd, got, sizeof(got) - 1, 0);
    cr_assert_gt(size, 0);
    cr_assert_eq(sscanf(got, "<30>%3s %*2d %*2d:%*2d:%*2d penstock[%d]: %n", month, &pid, &used), 2, "%s",
                 got);
    cr_expect_eq(got[6 + 1], ' ');
    cr_expect_eq(got[10], ' ', "the day takes two places");
    cr_expect_eq(pid, getpid());
    cr_expect_str_eq(got + used, "a line");
}

Test(syslog, never_waits)
{
    int result = 0;
    int sent = 0;

    int fd = syslog_connect(address.sun_path);
    for (; sent < 1000000 && result == 0; sent++) {
        result = syslog_send(fd, "x", 1);
    }
    cr_expect_eq(result, -EAGAIN);
    char got[256];
    cr_assert_gt(recv(daemon_fd, got, sizeof(got), 0), 0);
    cr_expect_eq(syslog_send(fd, "x", 1), 0);
}

Test(syslog, tells_that_nobody_reads)
{
    int fd = syslog_connect(address.sun_path);

    close(daemon_fd);
    cr_expect_eq(syslog_send(fd, "x", 1), -ECONNREFUSED);
    cr_expect_eq(syslog_connect(address.sun_path), -ECONNREFUSED);
    cr_assert_eq(unlink(address.sun_path), 0);
    cr_expect_eq(syslog_connect(address.sun_path), -ENOENT);
}

Test(syslog, refuses_a_path_that_no_socket_can_have)
{
    char path[200];

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    cr_expect_eq(syslog_connect(path), -ENAMETOOLONG);
}
