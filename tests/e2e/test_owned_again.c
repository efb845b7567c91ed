/* The same tuple again while its last connection is in TIME_WAIT: the first SYN is answered, from either side. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"
#include "tests/e2e/harness_waiting.h"

TestSuite(owned_again, .init = product_begin, .fini = product_fini, .timeout = 60);

enum {
    TIMES = 12
}; /* a slot of the table rests for a while once it was released: there are 16 for a tuple */

/* --- The peer connects again --- */

static void expect_syn_answered(bool ipv6, bool timestamps, const char *time_wait)
{
    product_own(time_wait);
    owned_open(product_pins());
    struct conversation conversation = waiting_begin_with(ipv6, timestamps);
    struct lab_peer *peer = &conversation.peer;
    struct lab_segment syn = lab_segment(peer, LAB_SYN, 0);

    syn.seq = peer->snd_nxt + 1000;
    syn.ts_value += 1000;
    syn.ts_echo = 0;
    struct lab_answer answer = lab_ask(peer, &syn);
    cr_expect_eq(answer.flags, LAB_SYN_ACK, "flags %#x", answer.flags);
    cr_expect_eq(answer.ack, syn.seq + 1);
    cr_expect_eq(owned_counters().reopened, 1);
    peer->snd_nxt = syn.seq + 1;
    peer->rcv_nxt = answer.seq + 1;
    peer->ts_echo = answer.ts_value;
    peer->ts_value = syn.ts_value + 1;
    struct lab_segment ack = lab_segment(peer, LAB_ACK, 0);
    lab_tell(peer, &ack);
    conversation.server = net_accept(product_listener());
    waiting_close(&conversation);
    waiting_expect_answer(&conversation);
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(owned_again, from_a_peer)
{
    expect_syn_answered(false, true, NO_BUCKETS);
}

Test(owned_again, from_a_peer_by_ipv6)
{
    expect_syn_answered(true, true, NO_BUCKETS);
}

Test(owned_again, from_a_peer_without_timestamps)
{
    expect_syn_answered(false, false, NO_BUCKETS);
}

Test(owned_again, from_a_peer_beside_the_kernel)
{
    expect_syn_answered(false, true, NULL);
}

/* --- From one port, through whole sessions --- */

static int connect_from(uint16_t port)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(bed.port)};
    int one = 1;

    lab_enter_peer();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    inet_pton(AF_INET, LAB_KERNEL_PEER, &from.sin_addr);
    inet_pton(AF_INET, LAB_SERVER, &to.sin_addr);
    cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    lab_enter_server();
    return fd;
}

static uint64_t syns_again(void)
{
    lab_enter_peer();
    uint64_t peers = net_counter("TcpExt", "TCPSynRetrans");
    lab_enter_server();
    return peers + net_counter("TcpExt", "TCPSynRetrans");
}

static void await_quiet(uint64_t published)
{
    WAIT_UNTIL(owned_counters().published >= published);
}

/* The peer's kernel connects from the same port again and again; Penstock's end is in TIME_WAIT each time. */
static void reconnect_peer(const char *time_wait)
{
    product_own(time_wait);
    owned_open(product_pins());
    for (uint64_t i = 0; i < TIMES; i++) {
        int client = connect_from(30000);
        int server = net_accept(product_listener());
        close(server);
        net_expect_eof(client);
        close(client);
        await_quiet(i + 1);
    }
    cr_expect_eq(syns_again(), 0);
    cr_expect_eq(owned_counters().reopened, TIMES - 1);
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(owned_again, and_again_from_a_peer)
{
    reconnect_peer(NO_BUCKETS);
}

Test(owned_again, and_again_from_a_peer_beside_the_kernel)
{
    reconnect_peer(NULL);
}

/* Penstock has one port to connect from: its end toward the server is in TIME_WAIT each time. */
Test(owned_again, and_again_to_a_server)
{
    struct penstock_config config = {.before_exec = product_enter_cgroup, .workers = 1};
    uint16_t port;

    lab_enter_peer();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    port = bed_bind(listener, LAB_KERNEL_PEER);
    cr_assert_eq(listen(listener, 16), 0);
    lab_enter_server();
    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000");
    config.servers = bed_format("'" LAB_KERNEL_PEER ":%u'", port);
    product_configure(&config, NO_BUCKETS);
    penstock_start(&config);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    owned_open(product_pins());
    uint64_t began_ms = bed_now_ms();
    for (uint64_t i = 0; i < TIMES; i++) {
        int client = connect_from((uint16_t)(20000 + i));
        int server = net_accept(listener);
        close(client);
        net_expect_eof(server);
        close(server);
        await_quiet(i + 1);
    }
    printf("%u connections from one port: %lu ms\n", TIMES, (unsigned long)(bed_now_ms() - began_ms));
    cr_expect_eq(syns_again(), 0);
    cr_expect_eq(owned_counters().reconnected, TIMES - 1);
    product_stop("--now");
    product_expect_gone();
    bed_end();
}
