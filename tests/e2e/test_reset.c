/* A reset is passed on as a reset, behind the bytes that came before it; urgent bytes stay in their place. */
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

enum {
    BEFORE_RESET_BYTES = 16 * 1024,   /* fits every window: a reset drops what was not yet sent */
    BEYOND_WINDOW_BYTES = 128 * 1024, /* more than a client that does not read takes at first */
    URGENT_ROUNDS = 1000,
};

static int listener;

static void begin(void)
{
    bed_begin();
    listener = penstock_start_to_test(NULL);
}

TestSuite(reset, .init = begin, .fini = bed_fini, .timeout = 60);
TestSuite(urgent, .init = begin, .fini = bed_fini, .timeout = 60);

Test(reset, of_the_client)
{
    struct net_pair pair = net_pair(listener);

    net_write_pattern(pair.client, 1, BEFORE_RESET_BYTES);
    net_reset(pair.client);
    net_read_pattern(pair.server, 1, BEFORE_RESET_BYTES);
    net_expect_reset(pair.server);
    penstock_expect_end("client_reset");
}

Test(reset, of_the_server)
{
    struct net_pair pair = net_pair(listener);

    net_write_pattern(pair.server, 2, BEFORE_RESET_BYTES);
    net_reset(pair.server);
    net_read_pattern(pair.client, 2, BEFORE_RESET_BYTES);
    net_expect_reset(pair.client);
    penstock_expect_end("server_reset");
}

static bool all_acknowledged(int fd)
{
    int bytes = 0;

    cr_assert_eq(ioctl(fd, SIOCOUTQ, &bytes), 0);
    return bytes == 0;
}

/* A client that does not read yet: the reset must not overtake what the kernel still holds for it. */
Test(reset, of_the_server_behind_a_slow_client)
{
    struct net_pair pair = net_pair(listener);

    net_write_pattern(pair.server, 3, BEYOND_WINDOW_BYTES);
    WAIT_UNTIL(all_acknowledged(pair.server));
    net_reset(pair.server);
    bed_pause_ms(300);
    net_read_pattern(pair.client, 3, BEYOND_WINDOW_BYTES);
    net_expect_reset(pair.client);
    penstock_expect_end("server_reset");
}

/* The other side's bytes, too, got through before. */
Test(reset, amid_an_exchange)
{
    struct net_pair pair = net_pair(listener);

    for (int i = 0; i < 100; i++) {
        net_exchange(&pair);
    }
    net_reset(pair.client);
    net_expect_reset(pair.server);
    penstock_expect_end("client_reset");
}

Test(reset, of_the_client_after_the_servers_end)
{
    struct net_pair pair = net_pair(listener);

    net_half_close(pair.server);
    net_expect_eof(pair.client);
    net_pass(pair.client, pair.server, "last words");
    net_reset(pair.client);
    net_expect_reset(pair.server);
    penstock_expect_end("client_reset");
}

Test(reset, of_the_server_after_the_clients_end)
{
    struct net_pair pair = net_pair(listener);

    net_half_close(pair.client);
    net_expect_eof(pair.server);
    net_pass(pair.server, pair.client, "last words");
    net_reset(pair.server);
    net_expect_reset(pair.client);
    penstock_expect_end("server_reset");
}

/* A server that closes with bytes unread resets by that. */
Test(reset, by_closing_with_bytes_unread)
{
    struct net_pair pair = net_pair(listener);

    net_write_text(pair.client, "never read");
    WAIT_UNTIL(!net_is_quiet(pair.server));
    close(pair.server);
    net_expect_reset(pair.client);
    penstock_expect_end("server_reset");
}

static void exchange_urgent(int from, int to)
{
    for (int i = 0; i < URGENT_ROUNDS; i++) {
        net_write_text(from, "before");
        cr_assert_eq(send(from, "!", 1, MSG_OOB), 1, "%s", strerror(errno));
        net_write_text(from, "after");
        if (i % 10 == 0) { /* now and then in step: nothing is kept back */
            for (int k = i == 0 ? 0 : 9; k >= 0; k--) {
                net_read_text(to, "before!after");
            }
        }
    }
    for (int k = 0; k < (URGENT_ROUNDS - 1) % 10; k++) {
        net_read_text(to, "before!after");
    }
    cr_assert(net_is_quiet(to));
}

Test(urgent, bytes_keep_their_place)
{
    struct net_pair pair = net_pair(listener);

    exchange_urgent(pair.client, pair.server);
    exchange_urgent(pair.server, pair.client);
    penstock_end_session(&pair);
}

Test(urgent, byte_as_the_last_one)
{
    struct net_pair pair = net_pair(listener);

    cr_assert_eq(send(pair.client, "a", 1, MSG_OOB), 1);
    net_half_close(pair.client);
    net_read_text(pair.server, "a");
    net_expect_eof(pair.server);
    cr_assert_eq(send(pair.server, "bc", 2, MSG_OOB), 2);
    net_half_close(pair.server);
    net_read_text(pair.client, "bc");
    net_expect_eof(pair.client);
    penstock_expect_end("client_closed");
}
