/* Where a connection comes from: bound addresses and ports, what becomes of them when a connect is refused. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/sock.h"
#include "tests/unit/io/connection.h"

TestSuite(io_sock_source, .init = connection_isolate);

enum { PORT = 20000 }; /* outside of the kernel's default range */

static const uint8_t any[16];
static const uint8_t mapped_home[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
static const uint8_t mapped_second[16] = {[10] = 0xff, 0xff, 127, 0, 0, 2};

static int listen_at(const char *host, struct endpoint *endpoint)
{
    char text[ENDPOINT_TEXT_MAX];

    for (unsigned port = 30000; port < 31000; port++) {
        snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
        cr_assert_eq(endpoint_parse(endpoint, text, NULL), 0);
        int fd = sock_bind(endpoint);
        if (fd >= 0 && listen(fd, 16) == 0) {
            return fd;
        }
    }
    cr_assert_fail("no port");
    return -1;
}

static int try_connect(int fd, const struct endpoint *to)
{
    struct sockaddr_storage address;
    socklen_t length = sock_address(to, &address);

    return connect(fd, (struct sockaddr *)&address, length) == 0 ? 0 : -errno;
}

static struct flow_key key_of(int fd)
{
    struct flow_key key;

    cr_assert(sock_flow_key(fd, &key));
    return key;
}

Test(io_sock_source, an_address_and_a_port_of_the_kernels)
{
    struct endpoint to;
    int listener = listen_at("127.0.0.1", &to);
    int fd = sock_open(&to);

    cr_expect_eq(sock_binding(fd), SOCK_UNBOUND);
    cr_assert_eq(sock_bind_source(fd, ENDPOINT_V4, mapped_home, 0), 0);
    cr_assert_eq(sock_bind_source(fd, ENDPOINT_V4, mapped_second, 0), 0, "another, before it is connected");
    cr_expect_eq(sock_binding(fd), SOCK_UNBOUND);
    cr_assert_eq(try_connect(fd, &to), 0);
    cr_expect_eq(sock_binding(fd), SOCK_UNDER_WAY);
    struct flow_key key = key_of(fd);
    cr_expect_eq(memcmp(key.local, mapped_second, 16), 0);
    close(fd);
    close(listener);
}

Test(io_sock_source, a_bound_port_serves_several_servers_and_each_once)
{
    struct endpoint first, second;
    int listeners[2] = {listen_at("127.0.0.1", &first), listen_at("127.0.0.3", &second)};
    int fds[3];

    for (int i = 0; i < 3; i++) {
        fds[i] = sock_open(&first);
        cr_assert_eq(sock_bind_source(fds[i], ENDPOINT_V4, any, PORT), 0);
    }
    cr_expect_eq(try_connect(fds[0], &first), 0);
    cr_expect_eq(try_connect(fds[1], &second), 0);
    cr_expect_eq(key_of(fds[1]).local_port, PORT);
    cr_expect_eq(try_connect(fds[2], &first), -EADDRNOTAVAIL);
    cr_expect_eq(sock_binding(fds[2]), SOCK_BOUND);
    cr_expect_eq(sock_bind_source(fds[2], ENDPOINT_V4, any, PORT + 1), -EINVAL);

    uint64_t cookie = sock_cookie(fds[2]);
    int renewed = sock_open(&first);
    uint64_t other = sock_cookie(renewed);
    sock_replace(fds[2], renewed);
    cr_expect(sock_cookie(fds[2]) == other && other != cookie);
    cr_expect_eq(sock_cookie(renewed), 0, "closed");
    cr_assert_eq(sock_bind_source(fds[2], ENDPOINT_V4, any, PORT + 1), 0);
    cr_expect_eq(try_connect(fds[2], &first), 0);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    close(listeners[0]);
    close(listeners[1]);
}

Test(io_sock_source, ipv6)
{
    static const uint8_t loopback[16] = {[15] = 1};
    struct endpoint to;
    int listener = listen_at("::1", &to);
    int fd = sock_open(&to);

    cr_assert_eq(sock_bind_source(fd, ENDPOINT_V6, loopback, PORT), 0);
    cr_assert_eq(try_connect(fd, &to), 0);
    cr_expect_eq(key_of(fd).local_port, PORT);
    cr_expect_eq(memcmp(key_of(fd).local, loopback, 16), 0);
    close(fd);
    close(listener);
}

Test(io_sock_source, the_route_tells_the_address)
{
    uint8_t address[16] = {0};
    struct endpoint to;

    cr_assert_eq(endpoint_parse(&to, "127.0.0.9:1", NULL), 0);
    cr_expect(sock_source_toward(&to, address));
    cr_expect_eq(memcmp(address, mapped_home, 16), 0);
    cr_assert_eq(endpoint_parse(&to, "192.0.2.1:1", NULL), 0);
    if (geteuid() == 0) { /* else the namespace is the machine's */
        cr_expect_not(sock_source_toward(&to, address));
    }
}

Test(io_sock_source, an_address_of_another_machine)
{
    struct image_address there = {.family = ENDPOINT_V4, .bytes = {192, 0, 2, 1}};
    struct image_address here = {.family = ENDPOINT_V4, .bytes = {127, 0, 0, 1}};

    cr_expect_eq(sock_probe_source(&there), -EADDRNOTAVAIL);
    cr_expect_eq(sock_probe_source(&here), 0);
}

static void write_sysctl(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0, "%s: %s", name, strerror(errno));
}

Test(io_sock_source, what_the_host_has)
{
    static struct sock_ports ports;
    uint32_t reserved = 0;

    if (geteuid() != 0) {
        cr_skip("needs a network namespace, thus root");
    }
    write_sysctl("ip_local_port_range", "30001 40000\n");
    write_sysctl("ip_local_reserved_ports", "80,30005-30007,65535\n");
    write_sysctl("tcp_tw_reuse", "1\n");
    sock_read_ports(&ports);
    cr_expect_eq(ports.low, 30001);
    cr_expect_eq(ports.high, 40000);
    cr_expect_eq(ports.reuse, SOCK_REUSE_ALL);
    for (uint32_t port = 0; port < 65536; port++) {
        reserved += ports.reserved[port / 8] >> port % 8 & 1;
    }
    cr_expect_eq(reserved, 5);
    cr_expect_eq(ports.reserved[30006 / 8] >> 30006 % 8 & 1, 1);
    write_sysctl("ip_local_reserved_ports", "\n");
    write_sysctl("tcp_tw_reuse", "0\n");
    sock_read_ports(&ports);
    cr_expect_eq(ports.reuse, SOCK_REUSE_NONE);
    cr_expect_eq(ports.reserved[30006 / 8], 0);
}
