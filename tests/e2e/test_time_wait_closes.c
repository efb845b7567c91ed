/* Many closes between two kernels, half of the final ACKs lost: the peers' FINs come again, and no RST answers. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/lossy.skel.h"

TestSuite(time_wait_closes, .init = lab_begin, .fini = lab_fini, .timeout = 120);

enum {
    CLOSES = 10000,
    CLOSES_FEW = 500,
    TCX_INGRESS = 46, /* enum bpf_attach_type, since Linux 6.6 */
    FIRST_PORT = 20000,
    LAST_PORT = 60000,
};

/* Who connects: the peer's kernel, or the server's own through the loopback interface. */
struct side {
    void (*enter)(void);
    const char *interface;
    const char *server;
};

static const struct side far_side = {lab_enter_peer, "peer0", LAB_SERVER};
static const struct side same_side = {lab_enter_server, "lo", "127.0.0.1"};

static struct lossy_bpf *lossy;
static int lossy_link;

static void lose_acks(const struct side *side)
{
    lossy = lossy_bpf__open_and_load();
    cr_assert_not_null(lossy);
    side->enter();
    lossy_link = bpf_link_create(bpf_program__fd(lossy->progs.lossy), (int)if_nametoindex(side->interface),
                                 (enum bpf_attach_type)TCX_INGRESS, NULL);
    cr_assert(lossy_link >= 0);
    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range", bed_format("%d %d", FIRST_PORT, LAST_PORT));
    lab_enter_server();
}

static int connect_from(const struct side *side, const struct sockaddr_in *server)
{
    side->enter();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)server, sizeof(*server)), 0);
    lab_enter_server();
    return fd;
}

/* Connections that still wait for an ACK of their FIN: all that there are. */
static uint64_t closing(const struct side *side)
{
    side->enter();
    uint64_t lines = bed_count_lines("/proc/net/tcp");
    lab_enter_server();
    return lines - 1;
}

/* The server closes each first. */
static void close_many(const struct side *side, uint32_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    lose_acks(side);
    lab_finish_checksums();
    address.sin_port = htons(bed_bind(listener, side->server));
    lossy->bss->server_port = ntohs(address.sin_port);
    inet_pton(AF_INET, side->server, &address.sin_addr);
    cr_assert_eq(listen(listener, 128), 0);
    for (uint32_t i = 0; i < count; i++) {
        int peer = connect_from(side, &address);
        int server = net_accept(listener);
        close(server);
        net_expect_eof(peer);
        close(peer);
    }
    close(listener);
    WAIT_UNTIL(closing(side) == 0);
}

static void show(const char *what)
{
    printf("%s: %llu final ACKs arrived, %llu lost, %llu RSTs\n", what,
           (unsigned long long)lossy->bss->arrived, (unsigned long long)lossy->bss->lost,
           (unsigned long long)lossy->bss->resets);
}

static void stop_losing(void)
{
    close(lossy_link);
    lossy_bpf__destroy(lossy);
}

static void expect_no_reset(const char *what)
{
    struct time_wait_shape shape = owned_shape();

    shape.groups = 512;
    owned_begin(&shape);
    close_many(&far_side, CLOSES);
    show(what);
    struct time_wait_counters counters = owned_counters();
    cr_expect_eq(lossy->bss->resets, 0);
    cr_expect_geq(lossy->bss->arrived, CLOSES);
    cr_expect_gt(lossy->bss->lost, CLOSES / 2);
    cr_expect_eq(counters.published, CLOSES);
    cr_expect_eq(counters.insert_failures, 0);
    cr_expect_geq(counters.acks, lossy->bss->lost); /* all but those that the socket itself had sent */
    cr_expect_eq(owned_count_entries(), CLOSES - counters.reopened); /* the peer takes a port again */
    stop_losing();
    owned_end();
    bed_end();
}

Test(time_wait_closes, with_half_of_the_final_acks_lost)
{
    expect_no_reset("tcx");
}

Test(time_wait_closes, with_half_of_the_final_acks_lost_answered_natively)
{
    owned_go_native();
    expect_no_reset("native XDP");
}

Test(time_wait_closes, through_the_loopback_interface)
{
    struct time_wait_shape shape = owned_shape();

    owned_begin(&shape);
    owned_answer("lo");
    close_many(&same_side, CLOSES_FEW);
    show("loopback");
    cr_expect_eq(lossy->bss->resets, 0);
    cr_expect_geq(lossy->bss->arrived, CLOSES_FEW);
    cr_expect_gt(lossy->bss->lost, 0);
    cr_expect_eq(owned_counters().published, CLOSES_FEW);
    stop_losing();
    owned_end();
    bed_end();
}

/* That the tests above could fail. */
Test(time_wait_closes, that_nobody_owns_are_reset)
{
    struct time_wait_shape shape = owned_shape();

    owned_load(&shape);
    lab_sysctl("net/ipv4/tcp_max_tw_buckets", 0);
    close_many(&far_side, CLOSES_FEW);
    show("unowned");
    cr_expect_gt(lossy->bss->resets, 0);
    stop_losing();
    time_wait_destroy(owned.time_wait);
    bed_end();
}
