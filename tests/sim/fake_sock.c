/*
 * The fake kernel's plain calls: io/sock.h and io/clock.h.
 */
#include "io/sock.h"

#include <errno.h>
#include <string.h>

#include "io/clock.h"
#include "tests/sim/fake_inbox.h"
#include "tests/sim/fake_lent.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/fake_tcp.h"
#include "tests/sim/store_hook.h"

uint64_t clock_now_us(void)
{
    return sim.now_us;
}

uint64_t clock_cpu_us(void)
{
    return 0;
}

int sock_open(const struct endpoint *to)
{
    store_point();
    if (sim_once_in(2000)) {
        net.open_failures++;
        return sim_once_in(2) ? -ENOBUFS : -ENFILE;
    }
    if (net_table->open + SIM_FD_FLOOR >= net_table->limit) {
        net.open_failures++;
        return -EMFILE;
    }
    struct net_conn *conn = net_create(true);
    int fd = net_take_fd(conn);
    conn->accepted = true;
    conn->remote_port = to->port;
    store_point();
    return fd;
}

int sock_port_window(int fd, uint16_t low, uint16_t high)
{
    struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn != NULL && conn->server, "port window of descriptor %d", fd);
    conn->window_low = low;
    conn->window_high = high;
    return 0;
}

int sock_bind_source(int fd, uint8_t family, const uint8_t address[16], uint16_t port)
{
    struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn != NULL && conn->server && family == ENDPOINT_V4 && address[12] == 0,
              "source of descriptor %d", fd);
    SIM_CHECK(!conn->bound && conn->state == NET_UNCONNECTED && port != 0, "descriptor %d bound again", fd);
    store_point();
    if (sim_once_in(50)) {
        return -EADDRINUSE;
    }
    conn->window_low = port;
    conn->window_high = port;
    conn->bound = true;
    store_point();
    return 0;
}

bool sock_source_toward(const struct endpoint *to, uint8_t address[16])
{
    SIM_CHECK(to->family == ENDPOINT_V4, "a way to nowhere");
    memcpy(address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\2", 16);
    return sim.config->owned || sim_once_in(2);
}

enum sock_binding sock_binding(int fd)
{
    const struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn != NULL && conn->server, "binding of descriptor %d", fd);
    if (conn->state == NET_UNCONNECTED) {
        return conn->bound ? SOCK_BOUND : SOCK_UNBOUND;
    }
    return SOCK_UNDER_WAY;
}

static void close_conn(struct net_conn *conn);

/* The connection stays the one it is for those who count them: only its socket is another. */
void sock_replace(int fd, int by)
{
    struct net_conn *conn = net_at(fd);
    struct net_conn *other = net_at(by);

    SIM_CHECK(conn != NULL && other != NULL && conn->state == NET_UNCONNECTED && conn->outstanding == 0,
              "descriptor %d replaced", fd);
    store_point();
    uint64_t cookie = conn->cookie;
    conn->cookie = other->cookie;
    other->cookie = cookie;
    conn->bound = false;
    conn->failed = 0; /* what became of the other socket is no server's fault */
    conn->cut = false;
    conn->window_low = conn->window_high = 0;
    store_point();
    close_conn(other);
    net.count -= other->id == net.count; /* it was nobody's: its place is free */
    store_point();
}

int sock_set_congestion(int fd, const char *name)
{
    SIM_CHECK(net_at(fd) != NULL && name[0] != '\0', "congestion control of descriptor %d", fd);
    store_point();
    return sim_once_in(4) ? -EPERM : 0;
}

int sock_set_buffers(int fd, const struct image_socket_buffers *buffers)
{
    SIM_CHECK(net_at(fd) != NULL && buffers->receive + buffers->send > 0, "buffers of descriptor %d", fd);
    store_point();
    return 0;
}

uint64_t sock_cookie(int fd)
{
    const struct net_conn *conn = net_at(fd);

    if (fd >= SIM_LISTENER_FD && fd < SIM_FD_FLOOR) {
        return inbox_is_placed((uint32_t)(fd - SIM_LISTENER_FD));
    }
    return conn != NULL ? conn->cookie : 0;
}

bool sock_flow_key(int fd, struct flow_key *key)
{
    const struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn != NULL, "addresses of descriptor %d, which is closed", fd);
    net_flow_key(conn, key);
    return true;
}

/* Our end of the stream. Nothing may be missing: the partner's stream was read to its end and sent. */
static void end_stream(struct net_conn *conn)
{
    const struct net_conn *partner = net_conn(conn->partner);

    SIM_CHECK(partner != NULL && partner->eof_order != 0, "connection %u: an end nobody sent", conn->id);
    SIM_CHECK(conn->out_sent == partner->in_total, "connection %u: ended at %lu of %lu bytes", conn->id,
              (unsigned long)conn->out_sent, (unsigned long)partner->in_total);
    conn->our_fin = true;
    tcp_stir(conn);
    peer_list(conn);
}

void sock_shutdown(int fd)
{
    struct net_conn *conn = net_at(fd);

    store_point();
    SIM_CHECK(conn != NULL && conn->state == NET_CONNECTED, "shutdown of descriptor %d", fd);
    tcp_lock(conn);
    if (!conn->reset && !conn->our_fin) {
        end_stream(conn);
    }
    store_point();
}

void sock_set_nonblocking(int fd)
{
    struct net_conn *conn = net_at(fd);

    store_point();
    SIM_CHECK(conn != NULL, "descriptor %d made non-blocking", fd);
    conn->nonblocking = true;
    store_point();
}

bool sock_was_reset(int fd, uint64_t received_bytes)
{
    const struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn == NULL || received_bytes == conn->in_read,
              "connection %u: %lu bytes received, %lu recorded", conn->id, (unsigned long)conn->in_read,
              (unsigned long)received_bytes);
    return conn != NULL && conn->reset && !conn->peer_fin;
}

bool sock_is_closed(int fd)
{
    const struct net_conn *conn = net_at(fd);

    if (sim.config->owned) {
        return conn != NULL && conn->gone;
    }
    return conn != NULL && (conn->reset || (conn->our_fin && conn->peer_fin));
}

void sock_abort(int fd)
{
    struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn != NULL, "abort of descriptor %d", fd);
    conn->aborted = true;
}

void sock_reset(int fd)
{
    struct net_conn *conn = net_at(fd);

    store_point();
    SIM_CHECK(conn != NULL && conn->state == NET_CONNECTED, "reset of descriptor %d", fd);
    tcp_lock(conn);
    if (!conn->reset) {
        tcp_stir(conn);
        conn->reset = true;
        conn->error = ECONNRESET;
        lent_world.resets++;
        ring_touch(conn);
        peer_list(conn);
    }
    store_point();
}

bool sock_is_drained(int fd)
{
    const struct net_conn *conn = net_at(fd);

    SIM_CHECK(conn != NULL, "a look at descriptor %d", fd);
    return conn->reset || conn->out_acked == conn->out_sent;
}

static void close_conn(struct net_conn *conn)
{
    tcp_lock(conn);
    SIM_CHECK(conn->outstanding == 0, "connection %u closed with operations %x in flight", conn->id,
              conn->outstanding);
    SIM_CHECK(conn->aborted || !lent_any(conn), "connection %u ends well while it reads what it was lent",
              conn->id);
    net_table->conns[conn->fd] = 0;
    net_table->open--;
    conn->fd = -1;
    conn->closed = true;
    bool keeps_port = sim.config->owned && conn->state == NET_CONNECTED;
    if (conn->local_port != 0 && conn->server && !keeps_port) {
        *net_port_used(conn, conn->local_port) = 0;
    }
    if (conn->cut && !conn->told && conn->failed == 0) {
        conn->failed = -ECANCELED; /* it had taken too long already */
    }
    if (conn->state != NET_CONNECTED) {
        return;
    }
    if (conn->gone) {
        conn->our_fin = true;
    } else if (conn->aborted || net_readable(conn) > 0) {
        conn->reset = true;
    } else if (!conn->reset) {
        conn->our_fin = true;
    }
    tcp_close(conn);
    peer_list(conn);
}

static bool has_session(const struct net_conn *client)
{
    for (uint32_t index = 0; index < sim.slot->session_high; index++) {
        const struct session *session = &sim.sessions[index];
        if (session->phase != SESSION_FREE && session->conn[SIDE_CLIENT].cookie == client->cookie) {
            return true;
        }
    }
    return false;
}

void sock_close(int fd)
{
    struct net_conn *conn = net_at(fd);

    store_point();
    SIM_CHECK(conn != NULL, "close of descriptor %d", fd);
    SIM_CHECK(conn->server || conn->serial_known || has_session(conn),
              "client %u was accepted without room for it", conn->id);
    close_conn(conn);
    store_point();
}

bool sock_has_waiting(int fd)
{
    store_point();
    return net_queue(sim.index, (uint32_t)(fd - SIM_LISTENER_FD))->count > 0;
}

void sock_retire(int fd, int stand_in)
{
    (void)stand_in;
    store_point();
    if (fd >= SIM_LISTENER_FD) {
        SIM_CHECK(fd < SIM_FD_FLOOR, "descriptor %d retired", fd);
        inbox_retire((uint32_t)(fd - SIM_LISTENER_FD));
    } else {
        ring_close(fd);
    }
    store_point();
}

void sock_close_range(uint32_t first, uint32_t last)
{
    SIM_CHECK(first >= SIM_FD_FLOOR, "descriptors from %u on closed, below the floor", first);
    for (uint32_t fd = first; fd <= last && fd < SIM_FDS; fd++) {
        struct net_conn *conn = net_at((int)fd);
        if (conn != NULL) {
            SIM_CHECK(!conn->told && (conn->server || !conn->accepted), "connection %u was a session's",
                      conn->id);
            close_conn(conn);
        }
    }
    store_point();
}

void sock_read_ports(struct sock_ports *ports)
{
    SIM_CHECK(sim.slot->state == SLOT_ADOPTING,
              "a file is read, which the sandbox forbids"); /* cmd/sandbox.c */
    *ports = (struct sock_ports){
        .low = 20000,
        .high = (uint16_t)(20000 + sim.config->ports - 1),
        .windows = sim.seed % 3 != 0,
        .reuse = SOCK_REUSE_LOOPBACK,
    };
    ports->reserved[20001 / 8] |= 1 << 20001 % 8;
}

uint32_t sock_unheard_ms(int fd)
{
    (void)fd;
    return sim_once_in(8) ? (uint32_t)sim_below(1000) : UINT32_MAX;
}

uint32_t sock_unacknowledged(int fd)
{
    (void)fd;
    return 0;
}
