/* What the publisher tells to who destroys the kernel's own: each entry in its turn, and how many there was
 * no room for. */
#include <sys/socket.h>

#include "io/sock_destroy.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_published, .init = lab_begin, .fini = lab_fini, .timeout = 110);

enum {
    FEW = 300,
    AT_ONCE = 128,
    RECORDS = 65535, /* that there is room for */
    MISSED = 500,
    ADDRESSES = 200, /* of the server, times ten: the kernel might choose a port again */
    IPV6_OF = 16,    /* one in so many */
};

struct closed {
    uint32_t index;
    struct flow_key key;
};

static struct closed closed[RECORDS + MISSED];
static uint32_t indexes[RECORDS + MISSED + AT_ONCE];
static int listener;
static uint16_t port;

static void begin(uint32_t groups)
{
    struct time_wait_shape shape = owned_shape();

    shape.sole_owner = false;
    shape.groups = groups;
    owned_begin(&shape);
    lab_sysctl("net/ipv4/tcp_max_tw_buckets", 2 * RECORDS);
    listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    port = bed_bind(listener, "::");
    cr_assert_eq(listen(listener, 8), 0);
}

static void end(void)
{
    owned_end();
    bed_end();
}

/* A connection through the loopback interface, which the server closes first. */
static struct closed close_one(uint32_t n)
{
    struct closed one;
    size_t texts = bed_mark();
    const char *host =
        n % IPV6_OF == 0 ? "[::1]" : bed_format("127.0.%u.%u", n / ADDRESSES % 10, 1 + n % ADDRESSES);
    struct net_pair pair = {.client = net_connect_to(bed_format("%s:%u", host, port))};

    pair.server = net_accept(listener);
    one.index = owned_end_pair(pair, &one.key);
    bed_release(texts);
    return one;
}

static void close_many(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        closed[i] = close_one(i);
    }
    WAIT_UNTIL(owned_counters().published == count);
}

static uint32_t take_all(void)
{
    uint32_t count = 0;
    uint32_t taken = AT_ONCE;

    while (taken == AT_ONCE && count < RECORDS + MISSED) {
        taken = time_wait_take_published(owned.time_wait, indexes + count, AT_ONCE);
        count += taken;
    }
    return count;
}

static void expect_in_turn(uint32_t count)
{
    uint32_t wrong = 0;

    cr_assert_eq(take_all(), count);
    for (uint32_t i = 0; i < count; i++) {
        wrong += indexes[i] != closed[i].index;
    }
    cr_expect_eq(wrong, 0, "%u of %u are others", wrong, count);
}

Test(time_wait_published, are_told_in_their_turn)
{
    struct flow_key keys[FEW];
    struct sock_destroy destroy;

    begin(64);
    close_many(FEW);
    expect_in_turn(FEW);
    expect_in_turn(0);
    cr_expect_eq(owned_counters().publish_overruns, 0);
    for (uint32_t i = 0; i < FEW; i++) {
        cr_expect(flow_table_key(&owned.table, indexes[i], &keys[i]));
        cr_expect_arr_eq(&keys[i], &closed[i].key, sizeof(keys[i]));
    }
    cr_expect_eq(net_minisockets(), FEW);
    cr_assert_eq(sock_destroy_open(&destroy), 0);
    cr_expect_eq(sock_destroy_tuples(&destroy, keys, FEW), FEW);
    cr_expect_eq(net_minisockets(), 0);
    sock_destroy_close(&destroy);
    end();
}

/* Nobody reads for so long that there is no room; those are counted, what was told before stays, and after a
 * reading it goes on. */
Test(time_wait_published, are_counted_where_there_is_no_room)
{
    begin(4096);
    close_many(RECORDS + MISSED);
    cr_expect_eq(owned_counters().publish_overruns, MISSED);
    expect_in_turn(RECORDS);
    closed[0] = close_one(RECORDS + MISSED);
    WAIT_UNTIL(owned_counters().published == RECORDS + MISSED + 1);
    expect_in_turn(1);
    cr_expect_eq(owned_counters().publish_overruns, MISSED);
    end();
}
