/* Every order of closing: each direction ends by itself, and its end is passed on behind its last byte. */
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

enum { MEGABYTE = 1 << 20 };

static int listener;

static void begin(void)
{
    uint16_t port;

    bed_begin();
    listener = net_listen(&port, 64);
    penstock_start_to(port);
}

TestSuite(close, .init = begin, .fini = bed_fini, .timeout = 60);

static void expect_end(const char *reason)
{
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number(bed_format("closes.%s", reason)), 1);
    WAIT_UNTIL(strstr(penstock_access_log(), bed_format(" %s ", reason)) != NULL);
    bed_end();
}

Test(close, client_first)
{
    struct net_pair pair = net_pair(listener);

    net_write_text(pair.client, "request");
    net_read_text(pair.server, "request");
    net_write_text(pair.server, "answer");
    net_read_text(pair.client, "answer");
    net_half_close(pair.client);
    net_expect_eof(pair.server);
    net_half_close(pair.server);
    net_expect_eof(pair.client);
    expect_end("client_closed");
}

Test(close, server_first)
{
    struct net_pair pair = net_pair(listener);

    net_write_text(pair.server, "greeting");
    net_half_close(pair.server);
    net_read_text(pair.client, "greeting");
    net_expect_eof(pair.client);
    net_half_close(pair.client);
    net_expect_eof(pair.server);
    expect_end("server_closed");
}

Test(close, both_at_once)
{
    struct net_pair pair = net_pair(listener);

    net_write_pattern(pair.client, 1, 100);
    net_half_close(pair.client);
    net_write_pattern(pair.server, 2, 200);
    net_half_close(pair.server);
    net_read_pattern(pair.client, 2, 200);
    net_read_pattern(pair.server, 1, 100);
    net_expect_eof(pair.client);
    net_expect_eof(pair.server);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("closes.client_closed") + penstock_number("closes.server_closed"), 1);
    bed_end();
}

Test(close, without_a_byte)
{
    struct net_pair pair = net_pair(listener);

    close(pair.client);
    net_expect_eof(pair.server);
    close(pair.server);
    expect_end("client_closed");
}

Test(close, server_sends_on_after_the_clients_end)
{
    struct net_pair pair = net_pair(listener);

    net_half_close(pair.client);
    net_expect_eof(pair.server);
    pid_t writer = net_write_behind(pair.server, 3, MEGABYTE);
    net_read_pattern(pair.client, 3, MEGABYTE);
    cr_assert_eq(bed_wait(writer), 0);
    cr_assert(net_is_quiet(pair.client));
    net_half_close(pair.server);
    net_expect_eof(pair.client);
    expect_end("client_closed");
}

Test(close, client_sends_on_after_the_servers_end)
{
    struct net_pair pair = net_pair(listener);

    net_half_close(pair.server);
    net_expect_eof(pair.client);
    pid_t writer = net_write_behind(pair.client, 4, MEGABYTE);
    net_read_pattern(pair.server, 4, MEGABYTE);
    cr_assert_eq(bed_wait(writer), 0);
    cr_assert(net_is_quiet(pair.server));
    net_half_close(pair.client);
    net_expect_eof(pair.server);
    expect_end("server_closed");
}
