/*
 * connects ADDR LOW HIGH MEASURED WAY: what connect(2) costs as the range of source ports fills with TIME_WAITs, for
 * bench/time_wait.sh. The range is LOW to HIGH, which net.ipv4.ip_local_port_range says as well; the far end
 * sends its FIN after ours, so each connection leaves a TIME_WAIT here. WAY `choice`: the kernel chooses the
 * port; `window`: each socket has a range of one port, the next in turn. When 0, 25, 50, 75 and 90 % are
 * taken, MEASURED connects are timed: prints the per cent and the CPU of one in microseconds, what the
 * packets take on this CPU included.
 * Exit status: 0, or 2 if a connection could not be made.
 */
#include "bench/address.h"
#include "bench/number.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* since Linux 6.3 */
#endif

struct connects {
    struct address to;
    uint64_t low, high, measured;
    bool window;
    uint64_t made;
};

static uint64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int open_window(int fd, uint64_t port)
{
    uint32_t window = (uint32_t)port << 16 | (uint32_t)port;

    return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &window, sizeof(window));
}

/* Ours goes first, and its TIME_WAIT is there when the other one has come. */
static int exchange_fins(int fd)
{
    char byte;

    errno = 0;
    if (shutdown(fd, SHUT_WR) != 0 || recv(fd, &byte, 1, 0) != 0)
        return errno != 0 ? -errno : -EPROTO;
    return 0;
}

/* Connects and closes. Adds to *spent_ns what choosing and connecting took. */
static int connect_once(struct connects *connects, uint64_t *spent_ns)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    uint64_t begun_ns = cpu_ns();
    int result = connects->window ? open_window(fd, connects->low + connects->made) : 0;
    if (result == 0)
        result = connect(fd, &connects->to.any, connects->to.length);
    int error = result < 0 ? -errno : 0;
    *spent_ns += cpu_ns() - begun_ns;
    if (error == 0)
        error = exchange_fins(fd);
    close(fd);
    connects->made++;
    return error;
}

static int connect_many(struct connects *connects, uint64_t count, uint64_t *spent_ns)
{
    int error = 0;

    for (uint64_t i = 0; i < count && error == 0; i++)
        error = connect_once(connects, spent_ns);
    return error;
}

static int measure(struct connects *connects, unsigned percent)
{
    uint64_t wanted = (connects->high - connects->low + 1) * percent / 100;
    uint64_t spent_ns = 0;

    int error = connect_many(connects, wanted - connects->made, &spent_ns);
    spent_ns = 0;
    if (error == 0)
        error = connect_many(connects, connects->measured, &spent_ns);
    if (error == 0)
        printf("%u\t%.3f\n", percent, (double)spent_ns / (double)connects->measured / 1000);
    return error;
}

static bool parse(struct connects *connects, char **argv)
{
    connects->window = strcmp(argv[5], "window") == 0;
    return address_parse(argv[1], &connects->to) == 0 && connects->to.any.sa_family == AF_INET &&
           number_parse(argv[2], 65535, &connects->low) == 0 &&
           number_parse(argv[3], 65535, &connects->high) == 0 && connects->high > connects->low &&
           number_parse(argv[4], (connects->high - connects->low + 1) / 10, &connects->measured) == 0 &&
           (connects->window || strcmp(argv[5], "choice") == 0);
}

int main(int argc, char **argv)
{
    static const unsigned percents[] = {0, 25, 50, 75, 90};
    struct connects connects = {0};

    if (argc != 6 || !parse(&connects, argv)) {
        fprintf(stderr,
                "usage: connects ADDR LOW HIGH MEASURED choice|window (at most a tenth is measured)\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        int error = measure(&connects, percents[i]);
        if (error != 0) {
            fprintf(stderr, "connects: after %lu: %s\n", (unsigned long)connects.made, strerror(-error));
            return 2;
        }
    }
    return 0;
}
