#include "tests/e2e/harness_closes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/address.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/lossy.skel.h"

enum {
    TCX_INGRESS = 46, /* enum bpf_attach_type, since Linux 6.6 */
    STATE_TIME_WAIT = 6,
    STATE_LISTEN = 10,
};

static struct lossy_bpf *lossy;
static int lossy_link;
static int listener;
static uint16_t server_port;

uint16_t closes_listen(const struct closes *closes)
{
    lab_enter_peer();
    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range", "20000 60000");
    listener = socket(closes->ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server_port = bed_bind(listener, closes->ipv6 ? LAB_KERNEL_PEER6 : LAB_KERNEL_PEER);
    cr_assert_eq(listen(listener, 1024), 0);
    lab_enter_server();
    return server_port;
}

const char *closes_server(const struct closes *closes)
{
    return bed_format(closes->ipv6 ? "'[" LAB_KERNEL_PEER6 "]:%u'" : "'" LAB_KERNEL_PEER ":%u'", server_port);
}

static void lose_acks(const struct closes *closes)
{
    lossy = lossy_bpf__open_and_load();
    cr_assert_not_null(lossy);
    lossy->bss->server_port = closes->of_servers ? server_port : bed.port;
    lab_enter_peer();
    lossy_link = bpf_link_create(bpf_program__fd(lossy->progs.lossy),
                                 (int)if_nametoindex(closes->interface != NULL ? closes->interface : "peer0"),
                                 (enum bpf_attach_type)TCX_INGRESS, NULL);
    cr_assert(lossy_link >= 0);
    lab_enter_server();
}

/* --- In a process of its own --- */

static bool fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    return false;
}

static bool sees_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    return got == 0 || fail(got > 0 ? "a byte instead of the end" : "recv");
}

static bool close_one(const struct address *to, bool client_first)
{
    struct timeval limit = {.tv_sec = WAIT_LIMIT_MS / 1000};
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    int client = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(client, &to->any, to->length) != 0) {
        return fail("connect");
    }
    if (poll(&ready, 1, WAIT_LIMIT_MS) != 1) {
        return fail("poll");
    }
    int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    (void)setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    int first = client_first ? client : server;
    int second = client_first ? server : client;
    close(first);
    bool good = sees_end(second);
    close(second);
    return good;
}

static bool close_all(const struct closes *closes)
{
    const char *host = closes->address != NULL ? closes->address
                       : closes->ipv6          ? "[" LAB_SERVER6 "]"
                                               : LAB_SERVER;
    struct address to;

    if (address_parse(bed_format("%s:%u", host, bed.port), &to) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < closes->count; i++) {
        if (!close_one(&to, closes->of_servers)) {
            fprintf(stderr, "connection %u\n", i);
            return false;
        }
    }
    return true;
}

pid_t closes_start(const struct closes *closes)
{
    lose_acks(closes);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, bed.group);
        close(bed.guard_fd);
        lab_leave_janitor();
        lab_enter_peer();
        _exit(close_all(closes) ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    cr_assert(pid > 0);
    return pid;
}

/* --- The end --- */

/* Connections of the test's namespace that are neither TIME_WAIT nor listening: those that wait for an ACK. */
static unsigned closing(const char *path)
{
    char line[512];
    unsigned state;
    unsigned count = 0;
    FILE *file = fopen(path, "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, " %*d: %*s %*s %x", &state) == 1 && state != STATE_TIME_WAIT &&
            state != STATE_LISTEN) {
            count++;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return count;
}

struct closes_result closes_finish(const struct closes *closes, pid_t pid)
{
    cr_assert_eq(bed_wait(pid), 0, "a connection failed");
    lab_enter_peer();
    WAIT_UNTIL(closing(closes->ipv6 ? "/proc/net/tcp6" : "/proc/net/tcp") == 0);
    lab_enter_server();
    struct closes_result result = {
        .arrived = lossy->bss->arrived,
        .lost = lossy->bss->lost,
        .resets = lossy->bss->resets,
    };
    close(lossy_link);
    lossy_bpf__destroy(lossy);
    close(listener);
    printf("%u closes: %lu final ACKs arrived, %lu lost, %lu RSTs\n", closes->count,
           (unsigned long)result.arrived, (unsigned long)result.lost, (unsigned long)result.resets);
    return result;
}
