#include "tests/e2e/harness_net.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/address.h"
#include "bench/pattern.h"
#include "tests/e2e/harness.h"

enum { CHUNK = 64 * 1024 };

static void bound_waits(int fd)
{
    struct timeval limit = {.tv_sec = WAIT_LIMIT_MS / 1000};

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
}

int net_listen(uint16_t *port, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0);
    *port = bed_bind(fd, "127.0.0.1");
    cr_assert_eq(listen(fd, backlog), 0);
    return fd;
}

int net_listen_full(uint16_t *port, int *filler)
{
    int fd = net_listen(port, 0);

    *filler = net_connect(*port); /* a backlog of 0 takes one */
    return fd;
}

int net_connect_to(const char *text)
{
    struct address address;

    cr_assert_eq(address_parse(text, &address), 0, "%s", text);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    bound_waits(fd);
    cr_assert_eq(connect(fd, &address.any, address.length), 0, "connect %s: %s", text, strerror(errno));
    return fd;
}

bool net_can_connect(const char *text)
{
    struct address address;

    cr_assert_eq(address_parse(text, &address), 0, "%s", text);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, &address.any, address.length) == 0;
    close(fd);
    return connected;
}

int net_connect(uint16_t port)
{
    return net_connect_to(bed_format("127.0.0.1:%u", port));
}

bool net_has_connection(int listener)
{
    struct pollfd ready = {.fd = listener, .events = POLLIN};

    return poll(&ready, 1, 0) == 1;
}

int net_accept(int listener)
{
    struct pollfd ready = {.fd = listener, .events = POLLIN};

    cr_assert_eq(poll(&ready, 1, WAIT_LIMIT_MS), 1, "no connection came");
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert(fd >= 0, "accept: %s", strerror(errno));
    bound_waits(fd);
    return fd;
}

uint16_t net_local_port(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

struct net_pair net_pair(int listener)
{
    struct net_pair pair = {.client = net_connect(bed.port)};

    pair.server = net_accept(listener);
    return pair;
}

void net_exchange(const struct net_pair *pair)
{
    net_pass(pair->client, pair->server, "question");
    net_pass(pair->server, pair->client, "answer");
}

void net_exchange_all(const struct net_pair *pairs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        net_exchange(&pairs[i]);
    }
}

void net_exchange_new(int listener, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct net_pair pair = net_pair(listener);
        net_exchange(&pair);
        close(pair.client);
        close(pair.server);
    }
}

void net_end(const struct net_pair *pair)
{
    net_half_close(pair->client);
    net_expect_eof(pair->server);
    net_half_close(pair->server);
    net_expect_eof(pair->client);
}

void net_close(const struct net_pair *pair)
{
    close(pair->client);
    net_expect_eof(pair->server);
    close(pair->server);
}

void net_close_all(const struct net_pair *pairs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        net_close(&pairs[i]);
    }
}

void net_write(int fd, const void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t sent = send(fd, (const char *)data + done, length - done, MSG_NOSIGNAL);
        cr_assert(sent > 0, "send, %zu of %zu bytes: %s", done, length, strerror(errno));
        done += (size_t)sent;
    }
}

void net_read(int fd, void *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t got = recv(fd, (char *)data + done, length - done, 0);
        cr_assert(got > 0, "receive, %zu of %zu bytes: %s", done, length, got == 0 ? "end" : strerror(errno));
        done += (size_t)got;
    }
}

void net_write_text(int fd, const char *text)
{
    net_write(fd, text, strlen(text));
}

void net_read_text(int fd, const char *text)
{
    char got[1024];
    size_t length = strlen(text);

    cr_assert(length < sizeof(got));
    net_read(fd, got, length);
    got[length] = '\0';
    cr_assert_str_eq(got, text);
}

void net_pass(int from, int to, const char *text)
{
    net_write_text(from, text);
    net_read_text(to, text);
}

/* Errors are told by errno, a wrong byte by EBADMSG. */
static bool write_pattern(int fd, uint64_t seed, size_t length)
{
    static uint8_t chunk[CHUNK];

    for (size_t done = 0; done < length;) {
        size_t next = length - done < CHUNK ? length - done : CHUNK;
        pattern_fill(chunk, next, seed, done);
        ssize_t sent = send(fd, chunk, next, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        done += (size_t)sent;
    }
    return true;
}

static bool read_pattern_from(int fd, uint64_t seed, size_t position, size_t length)
{
    static uint8_t chunk[CHUNK];

    for (size_t done = 0; done < length;) {
        size_t next = length - done < CHUNK ? length - done : CHUNK;
        ssize_t got = recv(fd, chunk, next, 0);
        if (got > 0 && pattern_check(chunk, (size_t)got, seed, position + done) != (size_t)got) {
            errno = EBADMSG;
            return false;
        }
        if (got <= 0) {
            errno = got == 0 ? ENODATA : errno;
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static bool read_pattern(int fd, uint64_t seed, size_t length)
{
    return read_pattern_from(fd, seed, 0, length);
}

void net_write_pattern(int fd, uint64_t seed, size_t length)
{
    cr_assert(write_pattern(fd, seed, length), "sending %zu bytes: %s", length, strerror(errno));
}

void net_read_pattern(int fd, uint64_t seed, size_t length)
{
    net_read_pattern_from(fd, seed, 0, length);
}

void net_read_pattern_from(int fd, uint64_t seed, size_t position, size_t length)
{
    cr_assert(read_pattern_from(fd, seed, position, length), "receiving %zu bytes behind %zu: %s", length,
              position, strerror(errno));
}

static pid_t behind(bool (*work)(int fd, uint64_t seed, size_t length), int fd, uint64_t seed, size_t length)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)setpgid(0, bed.group);
        close(bed.guard_fd);
        _exit(work(fd, seed, length) ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    cr_assert(pid > 0);
    return pid;
}

pid_t net_write_behind(int fd, uint64_t seed, size_t length)
{
    return behind(write_pattern, fd, seed, length);
}

pid_t net_read_behind(int fd, uint64_t seed, size_t length)
{
    return behind(read_pattern, fd, seed, length);
}

void net_stream(int from, int to, uint64_t seed, size_t length)
{
    pid_t writer = net_write_behind(from, seed, length);

    net_read_pattern(to, seed, length);
    cr_assert_eq(bed_wait(writer), 0);
}

void net_stream_both_ways(const struct net_pair *pair, size_t length)
{
    pid_t others[] = {
        net_write_behind(pair->client, 1, length),
        net_write_behind(pair->server, 2, length),
        net_read_behind(pair->client, 2, length),
    };

    net_read_pattern(pair->server, 1, length);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(bed_wait(others[i]), 0,
                     "process %d of client's writer, server's writer, client's reader", i);
    }
}

void net_half_close(int fd)
{
    cr_assert_eq(shutdown(fd, SHUT_WR), 0, "shutdown: %s", strerror(errno));
}

void net_reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(fd);
}

void net_expect_eof(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    cr_assert_eq(got, 0, "no end of the stream but %s", got > 0 ? "a byte" : strerror(errno));
}

void net_expect_reset(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    cr_assert(got < 0 && errno == ECONNRESET, "no reset but %s",
              got > 0 ? "a byte" : (got == 0 ? "an end" : strerror(errno)));
}

bool net_is_quiet(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN | POLLRDHUP};

    return poll(&ready, 1, 0) == 0;
}

bool net_isolate(void)
{
    struct ifreq request = {.ifr_name = "lo"};

    if (unshare(CLONE_NEWNET) != 0) {
        return false;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    cr_assert_eq(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
    cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
    return true;
}

int net_minisockets(void)
{
    size_t texts = bed_mark();
    const char *text = strstr(bed_read_file("/proc/net/sockstat"), " tw ");

    cr_assert_not_null(text);
    bed_release(texts);
    return (int)strtol(text + 4, NULL, 10);
}

/* Two lines, each after the group: names, and values in the same order. */
uint64_t net_counter(const char *group, const char *name)
{
    size_t texts = bed_mark();
    const char *path = strcmp(group, "Tcp") == 0 ? "/proc/net/snmp" : "/proc/net/netstat";
    const char *names = strstr(bed_read_file(path), bed_format("%s:", group));
    const char *values = names != NULL ? strstr(names + 1, bed_format("\n%s:", group)) : NULL;
    const char *found = values != NULL ? strstr(names, bed_format(" %s ", name)) : NULL;

    cr_assert(found != NULL && found < values, "%s %s", group, name);
    for (const char *at = names; at < found; at++) {
        values = *at == ' ' ? strchr(values, ' ') + 1 : values;
    }
    bed_release(texts);
    return strtoull(strchr(values, ' '), NULL, 10);
}
