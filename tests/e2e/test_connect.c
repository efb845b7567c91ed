/* Servers that refuse, do not answer or cannot be reached; clients that speak or leave before there is a server. */
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

enum { MEGABYTE = 1 << 20, SESSIONS = 10 };

BED_SUITE(connect, 60);

/* Opens sessions one after the other; all are served. */
static void serve_some(int listener)
{
    for (int i = 0; i < SESSIONS; i++) {
        struct net_pair pair = net_pair(listener);
        net_pass(pair.client, pair.server, "question");
        net_close(&pair);
    }
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("closes.client_closed"), SESSIONS);
}

/* One client that is reset because no server could be had. */
static void expect_no_server(const char *reason, unsigned failures)
{
    int client = net_connect(bed.port);

    net_expect_reset(client);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    cr_assert_eq(penstock_number(bed_format("closes.%s", reason)), 1, "%s", status);
    cr_assert_eq(penstock_number("stats.connect_failures"), failures, "%s", status);
    WAIT_UNTIL(strstr(penstock_access_log(), bed_format(" 0 0 %s %u ", reason, failures)) != NULL);
}

Test(connect, refused_goes_to_the_next_server)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u", bed_reserve_port("127.0.0.1"), port)});
    serve_some(listener);
    cr_assert(penstock_number("servers.0.failures") > 0);
    cr_assert_eq(penstock_number("servers.0.failures"), penstock_number("stats.connect_failures"));
    cr_assert_eq(penstock_number("servers.0.redispatches"), penstock_number("servers.0.failures"));
    cr_assert_eq(penstock_number("servers.1.redispatches"), 0);
    cr_assert_eq(penstock_number("servers.1.connects"), SESSIONS);
    bed_end();
}

Test(connect, refused_by_all_resets_the_client)
{
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u",
                                                                   bed_reserve_port("127.0.0.1"),
                                                                   bed_reserve_port("127.0.0.1"))});
    expect_no_server("connect_refused", 2);
    bed_end();
}

Test(connect, retries_are_bounded)
{
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u, 127.0.0.1:%u", bed_reserve_port("127.0.0.1"),
                              bed_reserve_port("127.0.0.1"), bed_reserve_port("127.0.0.1")),
        .pool = "retries: 1"});
    expect_no_server("connect_refused", 2);
    bed_end();
}

Test(connect, missing_unix_server_is_refused)
{
    penstock_start(&(struct penstock_config){.servers = bed_format("\"unix:%s/nobody.sock\"", bed.dir)});
    expect_no_server("connect_refused", 1);
    bed_end();
}

Test(connect, timeout_goes_to_the_next_server)
{
    uint16_t port;
    uint16_t full_port;
    int filler;
    int listener = net_listen(&port, 64);

    net_listen_full(&full_port, &filler);
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u", full_port, port), .timeouts = "connect: 100ms"});
    serve_some(listener);
    cr_assert(penstock_number("servers.0.failures") > 0);
    cr_assert_eq(penstock_number("servers.1.connects"), SESSIONS);
    bed_end();
}

Test(connect, timeout_of_all_resets_the_client)
{
    uint16_t port;
    int filler;

    net_listen_full(&port, &filler);
    penstock_start(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .timeouts = "connect: 100ms"});
    expect_no_server("connect_timeout", 1);
    bed_end();
}

Test(connect, unreachable_resets_the_client)
{
    if (!net_isolate()) {
        cr_skip("needs a network namespace, thus root");
    }
    bed.port = bed_reserve_port("127.0.0.1"); /* the first one is of the other namespace */
    penstock_start(&(struct penstock_config){.servers = "192.0.2.1:80"});
    expect_no_server("connect_unreachable", 1);
    bed_end();
}

/* A session whose server lets it wait: its client, the listener and what keeps the queue full. */
struct waiting {
    int client;
    int listener;
    int filler;
};

static struct waiting begin_waiting(void)
{
    uint16_t port;
    struct waiting waiting;

    waiting.listener = net_listen_full(&port, &waiting.filler);
    penstock_start_to(port);
    waiting.client = net_connect(bed.port);
    WAIT_UNTIL(penstock_number("phases.connecting") == 1);
    return waiting;
}

/* Takes the filler out of the queue: Penstock's connection comes with the kernel's next SYN. */
static int let_in(const struct waiting *waiting)
{
    close(net_accept(waiting->listener));
    return net_accept(waiting->listener);
}

Test(connect, bytes_sent_before_are_not_lost)
{
    struct waiting waiting = begin_waiting();
    pid_t writer = net_write_behind(waiting.client, 5, MEGABYTE);
    int server = let_in(&waiting);

    net_read_pattern(server, 5, MEGABYTE);
    cr_assert_eq(bed_wait(writer), 0);
    net_pass(server, waiting.client, "thanks");
    bed_end();
}

Test(connect, end_sent_before_is_passed_on)
{
    struct waiting waiting = begin_waiting();

    net_write_text(waiting.client, "all I have");
    net_half_close(waiting.client);
    int server = let_in(&waiting);
    net_read_text(server, "all I have");
    net_expect_eof(server);
    net_write_text(server, "thanks");
    close(server);
    net_read_text(waiting.client, "thanks");
    net_expect_eof(waiting.client);
    penstock_expect_end("client_closed");
}

Test(connect, client_that_left_before)
{
    struct waiting waiting = begin_waiting();

    net_write_text(waiting.client, "too late");
    close(waiting.client);
    int server = let_in(&waiting);
    net_read_text(server, "too late");
    net_expect_eof(server);
    close(server);
    penstock_expect_end("client_closed");
}

Test(connect, client_that_reset_before)
{
    struct waiting waiting = begin_waiting();

    net_reset(waiting.client);
    int server = let_in(&waiting);
    net_expect_reset(server);
    penstock_expect_end("client_reset");
}
