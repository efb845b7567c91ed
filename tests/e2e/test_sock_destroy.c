/* The kernel's TIME_WAIT sockets destroyed by their tuples, and nothing else that stands at a tuple. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/address.h"
#include "io/sock.h"
#include "io/sock_destroy.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"

enum { MANY = 2000, FEW = 300, FIRST_PORT = 33000 }; /* above those that tests listen at */

/* Where somebody listens, and where a client connects to. */
struct route {
    const char *name;
    const char *listen;
    const char *connect;
};

static const struct route routes[] = {
    {"IPv4", "127.0.0.1", "127.0.0.1"},
    {"IPv6", "::1", "::1"},
    {"IPv4 at an IPv6 listener", "::", "127.0.0.1"},
    {"IPv4 from an IPv6 socket", "127.0.0.1", "::ffff:127.0.0.1"},
};

enum { ROUTES = sizeof(routes) / sizeof(routes[0]) };

static struct sock_destroy destroy;

static void begin(void)
{
    lab_begin();
    lab_sysctl("net/ipv4/tcp_max_tw_buckets", 100000);
    int result = sock_destroy_open(&destroy);
    if (result == -EOPNOTSUPP) {
        cr_skip("a kernel that destroys no sockets");
    }
    cr_assert_eq(result, 0, "%s", strerror(-result));
}

static void fini(void)
{
    sock_destroy_close(&destroy);
    lab_fini();
}

TestSuite(sock_destroy, .init = begin, .fini = fini, .timeout = 120);

/* --- Connections within the server's namespace --- */

struct place {
    const struct route *route;
    int listener;
    uint16_t port;
};

static struct place listen_at(const struct route *route)
{
    bool ipv6 = strchr(route->listen, ':') != NULL;
    struct place place = {
        .route = route,
        .listener = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
    };

    place.port = bed_bind(place.listener, route->listen);
    cr_assert_eq(listen(place.listener, 128), 0);
    return place;
}

static void resolve(const char *host, uint16_t port, struct address *address)
{
    size_t texts = bed_mark();

    cr_assert_eq(
        address_parse(bed_format(strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port), address), 0);
    bed_release(texts);
}

/* To this port; 0: the next that no connection of the test had, for the kernel may choose one whose
 * TIME_WAIT is counted on. */
static void bind_to(int fd, const char *host, uint16_t port)
{
    static uint16_t last = FIRST_PORT - 1;
    struct address from;
    int on = 1;
    int result;

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    do {
        resolve(host, port != 0 ? port : ++last, &from);
        result = bind(fd, &from.any, from.length);
    } while (result != 0 && errno == EADDRINUSE && port == 0);
    cr_assert_eq(result, 0, "%s", strerror(errno));
}

static struct net_pair connect_from(const struct place *place, uint16_t port)
{
    struct address to;

    resolve(place->route->connect, place->port, &to);
    struct net_pair pair = {.client = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    bind_to(pair.client, place->route->connect, port);
    cr_assert_eq(connect(pair.client, &to.any, to.length), 0, "%s", strerror(errno));
    pair.server = net_accept(place->listener);
    return pair;
}

/* The tuple as this end of the connection sees it. */
static struct flow_key key_of(int fd)
{
    struct flow_key key = {0};

    cr_assert(sock_flow_key(fd, &key));
    return key;
}

/* With a listener on each of the routes, one after the other. */
static void on_every_route(void (*check)(const struct place *place))
{
    for (unsigned i = 0; i < ROUTES; i++) {
        struct place place = listen_at(&routes[i]);
        check(&place);
        close(place.listener);
    }
    bed_end();
}

#define TEST_EVERY_ROUTE(name)                   \
    static void name(const struct place *place); \
    Test(sock_destroy, name)                     \
    {                                            \
        on_every_route(name);                    \
    }                                            \
    static void name(const struct place *place)

static void expect_exchange(const struct net_pair *pair)
{
    net_exchange(pair);
    cr_expect(net_is_quiet(pair->client) && net_is_quiet(pair->server));
}

static void expect_listens(const struct place *place)
{
    struct net_pair pair = connect_from(place, 0);

    expect_exchange(&pair);
    net_reset(pair.client);
    close(pair.server);
}

/* --- Ends of connections --- */

struct ending {
    const char *name;
    bool outgoing; /* the end that closes first is the connector's */
    bool half;     /* the other does not close: FIN_WAIT2 */
};

static const struct ending endings[] = {
    {"accepted, TIME_WAIT", false, false},
    {"accepted, FIN_WAIT2", false, true},
    {"outgoing, TIME_WAIT", true, false},
    {"outgoing, FIN_WAIT2", true, true},
};

enum { ENDINGS = sizeof(endings) / sizeof(endings[0]) };

/* Leaves one minisocket, whose tuple is returned. `other`: the end that is still open where it is half, else -1. */
static struct flow_key end_one(struct net_pair pair, const struct ending *ending, int *other)
{
    int first = ending->outgoing ? pair.client : pair.server;
    int second = ending->outgoing ? pair.server : pair.client;
    struct flow_key key = key_of(first);

    close(first);
    net_expect_eof(second);
    *other = second;
    if (!ending->half) {
        close(second);
        *other = -1;
    }
    return key;
}

/* The only minisocket there is, in TIME_WAIT. */
static struct flow_key end_alone(const struct place *place, const struct ending *ending)
{
    int other;
    struct flow_key key = end_one(connect_from(place, 0), ending, &other);

    WAIT_UNTIL(net_minisockets() == 1);
    return key;
}

/* Connections of the namespace in FIN_WAIT2 or TIME_WAIT that nobody holds. Where the last ACK comes while
 * its socket is in use the kernel may keep the whole socket in FIN_WAIT2. */
static int ended_in(const char *path)
{
    size_t texts = bed_mark();
    int count = 0;

    for (const char *line = strchr(bed_read_file(path), '\n'); line != NULL; line = strchr(line + 1, '\n')) {
        unsigned state = 0;
        unsigned long inode = 1;
        (void)sscanf(line + 1, " %*d: %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &inode);
        count += (state == TCP_FIN_WAIT2 || state == TCP_TIME_WAIT) && inode == 0;
    }
    bed_release(texts);
    return count;
}

static int ended(void)
{
    return ended_in("/proc/net/tcp") + ended_in("/proc/net/tcp6");
}

/* Below those that the kernel chooses, which may be one of before: that connection would end the TIME_WAIT it meets. */
static uint16_t own_port(void)
{
    static uint16_t port;

    port = (uint16_t)(port % 30000 + 1);
    return (uint16_t)(port + 2000);
}

static void end_many(const struct place *place, const struct ending *ending, struct flow_key *keys,
                     int *others, uint32_t count)
{
    int before = ended();

    for (uint32_t i = 0; i < count; i++) {
        keys[i] = end_one(connect_from(place, before > 0 ? own_port() : 0), ending, &others[i]);
    }
    WAIT_UNTIL(ended() == before + (int)count);
}

static void close_others(const int *others, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (others[i] >= 0) {
            close(others[i]);
        }
    }
}

static double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void destroy_many(const struct place *place, const struct ending *ending)
{
    static struct flow_key keys[MANY];
    static int others[MANY];

    end_many(place, ending, keys, others, MANY);
    int there = net_minisockets();
    cr_expect_gt(there, MANY * 9 / 10);
    double begun = now_us();
    int destroyed = sock_destroy_tuples(&destroy, keys, MANY);
    double took = now_us() - begun;
    cr_expect_eq(destroyed, there, "%s, %s: %d", place->route->name, ending->name, destroyed);
    cr_expect_eq(net_minisockets(), 0, "%s, %s: %d left", place->route->name, ending->name,
                 net_minisockets());
    cr_expect_eq(sock_destroy_tuples(&destroy, keys, MANY), 0);
    printf("%s, %s: %.2f us each\n", place->route->name, ending->name, took / MANY);
    close_others(others, MANY);
    /* A whole socket in FIN_WAIT2 is a minisocket only once it has seen the FIN. */
    WAIT_UNTIL(sock_destroy_tuples(&destroy, keys, MANY) >= 0 && ended() == 0);
}

TEST_EVERY_ROUTE(of_every_route_and_ending)
{
    for (unsigned k = 0; k < ENDINGS; k++) {
        destroy_many(place, &endings[k]);
        expect_listens(place);
    }
}

/* --- What else may stand at a tuple --- */

TEST_EVERY_ROUTE(spares_a_listener_whose_time_wait_has_gone)
{
    struct flow_key key = end_alone(place, &endings[0]);

    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 1);
    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 0);
    expect_listens(place);
}

static void expect_spared(const struct place *place, const struct net_pair *pair)
{
    struct flow_key keys[2] = {key_of(pair->server), key_of(pair->client)};

    cr_expect_eq(sock_destroy_tuples(&destroy, keys, 2), 0);
    expect_exchange(pair);
    expect_listens(place);
}

TEST_EVERY_ROUTE(spares_what_lives)
{
    struct net_pair pair = connect_from(place, 0);

    expect_spared(place, &pair);
    net_half_close(pair.client); /* FIN_WAIT2, with a process */
    net_expect_eof(pair.server);
    struct flow_key keys[2] = {key_of(pair.server), key_of(pair.client)};
    cr_expect_eq(sock_destroy_tuples(&destroy, keys, 2), 0);
    net_pass(pair.server, pair.client, "answer");
    net_reset(pair.client);
    close(pair.server);
}

/* FIN_WAIT2 longer than TIME_WAIT takes: a whole socket, which no process holds. */
Test(sock_destroy, spares_an_orphan_that_is_a_whole_socket)
{
    struct place place = listen_at(&routes[0]);
    struct net_pair pair = connect_from(&place, 0);
    struct flow_key key = key_of(pair.server);

    lab_sysctl("net/ipv4/tcp_fin_timeout", 100);
    close(pair.server);
    net_expect_eof(pair.client);
    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 0);
    close(pair.client);
    WAIT_UNTIL(net_minisockets() == 1); /* it saw the FIN */
    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 1);
    bed_end();
}

/* A connection request, for which the kernel has a small socket of another kind. */
Test(sock_destroy, spares_a_handshake)
{
    struct lab_peer peer = {.port = 7777, .snd_nxt = 1000};
    int listener = lab_listen(false, 0, &peer.server_port);
    struct flow_key key = {
        .local_port = peer.server_port,
        .remote_port = peer.port,
        .local = {[10] = 0xff, 0xff},
        .remote = {[10] = 0xff, 0xff},
    };

    cr_assert_eq(inet_pton(AF_INET, LAB_SERVER, key.local + 12), 1);
    cr_assert_eq(inet_pton(AF_INET, LAB_PEER, key.remote + 12), 1);
    struct lab_segment syn = lab_segment(&peer, LAB_SYN, 0);
    lab_send(&peer, &syn);
    peer.rcv_nxt = lab_receive(&peer).seq + 1;
    peer.snd_nxt++;
    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 0);
    struct lab_segment ack = lab_segment(&peer, LAB_ACK, 0);
    lab_tell(&peer, &ack);
    close(net_accept(listener));
    bed_end();
}

/* --- Between looking up and destroying --- */

Test(sock_destroy, cookies_stay)
{
    struct place place = listen_at(&routes[0]);
    static struct flow_key keys[FEW];
    static int others[FEW];
    static struct sock_destroy_batch first;
    static struct sock_destroy_batch second;

    end_many(&place, &endings[0], keys, others, SOCK_DESTROY_BATCH);
    cr_assert_eq(sock_destroy_find(&destroy, keys, SOCK_DESTROY_BATCH, &first), SOCK_DESTROY_BATCH);
    cr_assert_eq(sock_destroy_find(&destroy, keys, SOCK_DESTROY_BATCH, &second), SOCK_DESTROY_BATCH);
    for (uint32_t i = 0; i < SOCK_DESTROY_BATCH; i++) {
        cr_expect_arr_eq(&first.requests[i].wanted, &second.requests[i].wanted,
                         sizeof(first.requests[i].wanted));
    }
    cr_expect_eq(sock_destroy_found(&destroy, &first), SOCK_DESTROY_BATCH);
    cr_expect_eq(sock_destroy_found(&destroy, &second), 0, "the same again, of which nothing is left");
    bed_end();
}

TEST_EVERY_ROUTE(refuses_the_listener_where_time_wait_went_meanwhile)
{
    static struct sock_destroy_batch found;
    static struct sock_destroy_batch again;
    struct flow_key key = end_alone(place, &endings[0]);

    cr_assert_eq(sock_destroy_find(&destroy, &key, 1, &found), 1);
    again = found;
    cr_assert_eq(sock_destroy_found(&destroy, &again), 1);
    cr_expect_eq(sock_destroy_found(&destroy, &found), 0);
    expect_listens(place);
}

/* The kernel takes a SYN in TIME_WAIT; from there, what was found is a new connection's tuple, later its TIME_WAIT. */
TEST_EVERY_ROUTE(refuses_a_connection_that_has_the_tuple_meanwhile)
{
    static struct sock_destroy_batch found;
    struct flow_key key = end_alone(place, &endings[0]);

    cr_assert_eq(sock_destroy_find(&destroy, &key, 1, &found), 1);
    struct net_pair pair = connect_from(place, key.remote_port);
    struct flow_key same = key_of(pair.server);
    cr_assert_arr_eq(&same, &key, sizeof(key));
    cr_expect_eq(sock_destroy_found(&destroy, &found), 0);
    expect_exchange(&pair);
    expect_listens(place);
    int other;
    (void)end_one(pair, &endings[0], &other);
    WAIT_UNTIL(net_minisockets() == 1);
    cr_expect_eq(sock_destroy_found(&destroy, &found), 0);
    cr_expect_eq(net_minisockets(), 1, "another connection's");
    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 1);
}

/* The same for a connection that we made and make again. */
TEST_EVERY_ROUTE(refuses_an_outgoing_connection_that_has_the_tuple_meanwhile)
{
    static struct sock_destroy_batch found;
    static struct sock_destroy_batch again;
    struct flow_key key = end_alone(place, &endings[2]);

    cr_assert_eq(sock_destroy_find(&destroy, &key, 1, &found), 1);
    again = found;
    cr_assert_eq(sock_destroy_found(&destroy, &again), 1);
    struct net_pair pair = connect_from(place, key.local_port);
    cr_expect_eq(sock_destroy_found(&destroy, &found), 0);
    expect_exchange(&pair);
    net_reset(pair.client);
    close(pair.server);
}

/* That the tests above could fail, and why there are two steps. */
Test(sock_destroy, of_a_bare_tuple_would_end_the_listener)
{
    static struct sock_destroy_batch found;
    struct place place = listen_at(&routes[0]);
    struct flow_key key = end_alone(&place, &endings[0]);

    cr_assert_eq(sock_destroy_find(&destroy, &key, 1, &found), 1);
    memset(found.requests[0].wanted.id.idiag_cookie, 0xff, sizeof(found.requests[0].wanted.id.idiag_cookie));
    cr_expect_eq(sock_destroy_found(&destroy, &found), 1);
    cr_expect_eq(sock_destroy_found(&destroy, &found), 1, "whatever stands there now");
    cr_expect_not(net_can_connect(bed_format("127.0.0.1:%u", place.port)));
    bed_end();
}

/* --- All of the namespace --- */

static bool has_port(void *context, const struct flow_key *key)
{
    uint16_t port = *(const uint16_t *)context;

    return port == 0 || key->local_port == port || key->remote_port == port;
}

Test(sock_destroy, of_all_that_are_ours)
{
    static struct flow_key keys[FEW];
    static int others[ROUTES][ENDINGS][FEW];
    struct place places[ROUTES];
    struct net_pair living[ROUTES];
    uint16_t any = 0;

    for (unsigned i = 0; i < ROUTES; i++) {
        places[i] = listen_at(&routes[i]);
        living[i] = connect_from(&places[i], 0);
        for (unsigned k = 0; k < ENDINGS; k++) {
            end_many(&places[i], &endings[k], keys, others[i][k], FEW);
        }
        net_half_close(living[i].client);
    }
    int there = net_minisockets();
    cr_expect_gt(there, ROUTES * ENDINGS * FEW * 9 / 10);
    int destroyed = sock_destroy_all(&destroy, has_port, &places[1].port);
    cr_expect_gt(destroyed, ENDINGS * FEW * 9 / 10);
    cr_expect_leq(destroyed, ENDINGS * FEW);
    cr_expect_eq(net_minisockets(), there - destroyed);
    cr_expect_eq(sock_destroy_all(&destroy, has_port, &any), there - destroyed);
    cr_expect_eq(net_minisockets(), 0);
    for (unsigned i = 0; i < ROUTES; i++) {
        net_pass(living[i].server, living[i].client, "answer");
        expect_listens(&places[i]);
    }
    bed_end();
}

/* An answer that was lost is an error, and what was missed is found. */
Test(sock_destroy, says_that_answers_were_lost)
{
    static struct flow_key keys[FEW];
    static int others[FEW];
    struct place place = listen_at(&routes[0]);
    int bytes = 1;
    uint16_t any = 0;

    end_many(&place, &endings[0], keys, others, FEW);
    cr_assert_eq(setsockopt(destroy.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
    cr_expect_eq(sock_destroy_tuples(&destroy, keys, FEW), -ENOBUFS);
    cr_expect_gt(net_minisockets(), 0);
    cr_expect_eq(sock_destroy_all(&destroy, has_port, &any), FEW);
    cr_expect_eq(net_minisockets(), 0);
    expect_listens(&place);
    bed_end();
}

Test(sock_destroy, of_an_interface_finds_them_only_among_all)
{
    struct place place = listen_at(&routes[0]);
    uint16_t any = 0;
    int other;

    cr_assert_eq(setsockopt(place.listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
    struct flow_key key = end_one(connect_from(&place, 0), &endings[0], &other);
    WAIT_UNTIL(net_minisockets() == 1);
    cr_expect_eq(sock_destroy_tuples(&destroy, &key, 1), 0);
    cr_expect_eq(sock_destroy_all(&destroy, has_port, &any), 1);
    cr_expect_eq(net_minisockets(), 0);
    expect_listens(&place);
    bed_end();
}

Test(sock_destroy, needs_the_privilege)
{
    struct sock_destroy without;

    cr_assert_eq(seteuid(65534), 0);
    cr_expect_eq(sock_destroy_open(&without), -EPERM);
    cr_assert_eq(seteuid(0), 0);
    bed_end();
}
