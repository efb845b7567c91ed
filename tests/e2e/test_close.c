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
    bed_begin();
    listener = penstock_start_to_test(NULL);
}

TestSuite(close, .init = begin, .fini = bed_fini, .timeout = 60);

Test(close, client_first)
{
    struct net_pair pair = net_pair(listener);

    net_exchange(&pair);
    penstock_end_session(&pair);
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
    penstock_expect_end("server_closed");
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

    net_close(&pair);
    penstock_expect_end("client_closed");
}

Test(close, server_sends_on_after_the_clients_end)
{
    struct net_pair pair = net_pair(listener);

    net_half_close(pair.client);
    net_expect_eof(pair.server);
    net_stream(pair.server, pair.client, 3, MEGABYTE);
    cr_assert(net_is_quiet(pair.client));
    net_half_close(pair.server);
    net_expect_eof(pair.client);
    penstock_expect_end("client_closed");
}

Test(close, client_sends_on_after_the_servers_end)
{
    struct net_pair pair = net_pair(listener);

    net_half_close(pair.server);
    net_expect_eof(pair.client);
    net_stream(pair.client, pair.server, 4, MEGABYTE);
    cr_assert(net_is_quiet(pair.server));
    net_half_close(pair.client);
    net_expect_eof(pair.server);
    penstock_expect_end("server_closed");
}
