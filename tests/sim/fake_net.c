#include "tests/sim/fake_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fake_ring.h"
#include "tests/sim/fake_tcp.h"

struct net net;
struct net_table *net_table;
static struct net_table *tables[SIM_CREW_MAX];

/* Bytes of streams: a table of random bytes, longer than any piece, entered at a place that depends on the stream. */
enum { PERIOD = 65521, TABLE = PERIOD + 1024 * 1024 };
static uint8_t table[TABLE];

static const uint8_t *pattern(uint32_t id, uint64_t position)
{
    return &table[(position + (uint64_t)id * 7919) % PERIOD];
}

static uint64_t name_of(uint32_t id)
{
    return (uint64_t)id * 0x9e3779b97f4a7c15ull ^ 0x5045454e4e414d45ull;
}

static uint32_t id_of(const uint8_t name[NET_NAME_BYTES])
{
    uint64_t value;

    memcpy(&value, name, sizeof(value));
    uint64_t id = (value ^ 0x5045454e4e414d45ull) * 0xf1de83e19937733dull; /* the inverse modulo 2^64 */
    return id > 0 && id <= net.count ? (uint32_t)id : 0;
}

void net_init(void)
{
    const struct sim_config *config = sim.config;

    memset(&net, 0, sizeof(net));
    for (uint32_t i = 0; i < TABLE; i++) {
        table[i] = i < PERIOD ? (uint8_t)sim_random() : table[i - PERIOD];
    }
    net.capacity = config->sessions * (2 + config->retries * 2) + 1024;
    net.conns = calloc(net.capacity + 1, sizeof(*net.conns));
    net.peers = calloc(net.capacity + 1, sizeof(*net.peers));
    net.connecting = calloc(net.capacity + 1, sizeof(*net.connecting));
    SIM_CHECK(net.conns && net.peers && net.connecting, "configuration");
    net.slots = sim_slots();
    for (uint32_t i = 0; i < config->listeners + config->local_listeners; i++) {
        for (uint32_t slot = 0; slot < net.slots; slot++) {
            net_queue(slot, i)->open = true;
        }
    }
}

void net_enter(uint32_t number)
{
    const struct sim_config *config = sim.config;

    if (tables[number] == NULL) {
        struct net_table *made = calloc(1, sizeof(*made));
        SIM_CHECK(made != NULL, "no memory");
        made->watched = calloc(net.capacity + 1, sizeof(*made->watched));
        made->limit =
            SIM_FD_FLOOR + (config->descriptors != 0 ? config->descriptors : config->slab * 2 + 512);
        SIM_CHECK(made->watched != NULL && made->limit <= SIM_FDS, "configuration");
        tables[number] = made;
    }
    net_table = tables[number];
}

struct net_queue *net_queue(uint32_t slot, uint32_t listener)
{
    return &net.queues[listener < sim.config->listeners ? slot : 0][listener];
}

void net_free(void)
{
    free(net.conns);
    free(net.peers);
    free(net.connecting);
    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        if (tables[i] != NULL) {
            free(tables[i]->watched);
            free(tables[i]);
            tables[i] = NULL;
        }
    }
}

struct net_conn *net_at(int fd)
{
    return fd >= SIM_FD_FLOOR && fd < SIM_FDS ? net_conn(net_table->conns[fd]) : NULL;
}

int net_take_fd(struct net_conn *conn)
{
    for (uint32_t fd = SIM_FD_FLOOR; fd < net_table->limit; fd++) {
        if (net_table->conns[fd] == 0) {
            net_table->conns[fd] = conn->id;
            net_table->open++;
            conn->owner = (uint8_t)sim.at;
            conn->fd = (int)fd;
            return conn->fd;
        }
    }
    return -EMFILE;
}

struct net_conn *net_create(bool server)
{
    SIM_CHECK(net.count < net.capacity, "more connections than sessions and retries explain");
    struct net_conn *conn = &net.conns[++net.count];

    *conn = (struct net_conn){
        .id = net.count,
        .tuple = net.count,
        .server = server,
        .fd = -1,
        .cookie = ++net.cookies,
        .in_room = 1024u << sim_below(7),
        .out_room = 1024u << sim_below(sim_percent(sim.config->streams) ? 11 : 7),

        .ack_late = sim_once_in(8),
        .moved_us = sim.now_us,
    };
    return conn;
}

void net_print(const struct net_conn *conn)
{
    fprintf(
        stderr,
        "connection %u: from the peer %lu of %lu, %lu read, %s; to the peer %lu, %lu taken, room %lu, %s; fd %d "
        "outstanding %x fault %u%s%s%s error %d moved_us %lu acted_us %lu\n",
        conn->id, (unsigned long)conn->in_written, (unsigned long)conn->in_total,
        (unsigned long)conn->in_read, conn->peer_fin ? "FIN" : "open", (unsigned long)conn->out_sent,
        (unsigned long)conn->out_read, (unsigned long)net_room(conn), conn->our_fin ? "FIN" : "open",
        conn->fd, conn->outstanding, conn->fault, conn->reset ? " reset" : "",
        conn->reset_by_peer ? " by the peer" : "", conn->eof_order != 0 ? " end seen" : "", conn->error,
        (unsigned long)conn->moved_us, (unsigned long)conn->acted_us);
}

void net_read(struct net_conn *conn, uint8_t *to, uint32_t length)
{
    uint64_t name = name_of(conn->id);
    uint32_t done = 0;

    for (; conn->in_read + done < NET_NAME_BYTES && done < length; done++) {
        to[done] = ((const uint8_t *)&name)[conn->in_read + done];
    }
    memcpy(to + done, pattern(conn->id, conn->in_read + done), length - done);
    conn->in_read += length;
    net_moved(conn);
    peer_list(conn);
}

/* The stream sent to `conn` has told its name. */
static void learn_partner(struct net_conn *conn)
{
    struct net_conn *partner = net_conn(id_of(conn->name));

    SIM_CHECK(partner != NULL && partner->server != conn->server, "connection %u gets bytes of no stream",
              conn->id);
    SIM_CHECK(conn->partner == partner->id, "connection %u gets the stream of %u, its partner is %u",
              conn->id, partner->id, conn->partner);
    SIM_CHECK(partner->partner == conn->id, "connection %u gets the stream of %u, whose partner is %u",
              conn->id, partner->id, partner->partner);
    conn->paired_by_content = true;
}

static void check_piece(struct net_conn *conn, const uint8_t *bytes, uint32_t length)
{
    uint32_t done = 0;

    while (conn->out_sent < NET_NAME_BYTES && done < length) {
        conn->name[conn->out_sent++] = bytes[done++];
        if (conn->out_sent == NET_NAME_BYTES) {
            learn_partner(conn);
        }
    }
    if (done < length) {
        bool same = memcmp(bytes + done, pattern(conn->partner, conn->out_sent), length - done) == 0;
        SIM_CHECK(same, "connection %u (partner %u): wrong bytes at %lu", conn->id, conn->partner,
                  (unsigned long)conn->out_sent);
    }
    conn->out_sent += length - done;
}

bool net_was_sent(const struct net_conn *conn, uint64_t position, const uint8_t *bytes, uint32_t length)
{
    uint32_t done = 0;

    for (; position + done < NET_NAME_BYTES && done < length; done++) {
        if (bytes[done] != conn->name[position + done]) {
            return false;
        }
    }
    return memcmp(bytes + done, pattern(conn->partner, position + done), length - done) == 0;
}

void net_moved(struct net_conn *conn)
{
    if (sim.now_us > conn->moved_us + NET_REST_US) {
        conn->rested_us = conn->moved_us;
        conn->stirred_us = sim.now_us;
    }
    conn->moved_us = sim.now_us;
}

void net_write(struct net_conn *conn, const struct iovec *vector, uint32_t count, uint32_t length)
{
    const struct net_conn *partner = net_conn(conn->partner);

    SIM_CHECK(!conn->our_fin, "connection %u: sent after the end", conn->id);
    for (uint32_t i = 0; i < count && length > 0; i++) {
        uint32_t piece = length < vector[i].iov_len ? length : (uint32_t)vector[i].iov_len;
        check_piece(conn, vector[i].iov_base, piece);
        length -= piece;
    }
    SIM_CHECK(partner != NULL && conn->out_sent <= partner->in_read, "connection %u: bytes from nowhere",
              conn->id);
    net_moved(conn);
    if (conn->peer_closed) { /* nobody takes them */
        peer_reset(conn);
    }
    peer_list(conn);
}

void net_flow_key(const struct net_conn *conn, struct flow_key *key)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    memset(key, 0, sizeof(*key));
    memcpy(key->remote, mapped, sizeof(mapped));
    memcpy(key->local, mapped, sizeof(mapped));
    key->remote_port = conn->remote_port;
    key->local_port = conn->local_port;
    memcpy(key->remote + 12, conn->server ? "\x7f\0\0\1" : (const char *)&conn->tuple, 4);
    memcpy(key->local + 12, "\x7f\0\0\2", 4);
}

static int draw_outcome(struct net_conn *conn)
{
    static const int outcomes[] = {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETDOWN, 0};

    conn->connect_at_us = sim.now_us + (sim_once_in(2) ? 0 : sim_below(3000));
    if (!sim_percent(sim.config->connect_faults)) {
        return 0;
    }
    uint32_t which = sim_below(sizeof(outcomes) / sizeof(outcomes[0]));
    if (outcomes[which] == 0) {
        conn->connect_at_us = UINT64_MAX; /* never */
    } else if (outcomes[which] == ETIMEDOUT) {
        conn->connect_at_us = sim.now_us + sim_below(2000000);
    }
    return -outcomes[which];
}

uint8_t *net_port_used(const struct net_conn *conn, uint32_t port)
{
    return &net.ports_used[conn->remote_port % SIM_SERVERS][port];
}

static int choose_port(struct net_conn *conn)
{
    uint32_t low = conn->window_low != 0 ? conn->window_low : 20000;
    uint32_t high = conn->window_low != 0 ? conn->window_high : 20000 + sim.config->ports - 1;

    for (uint32_t port = low; port <= high; port++) {
        if (!*net_port_used(conn, port)) {
            *net_port_used(conn, port) = 1;
            conn->local_port = (uint16_t)port;
            return 0;
        }
    }
    return -EADDRNOTAVAIL;
}

int net_connect(struct net_conn *conn, struct net_conn *client, uint16_t remote_port, bool local)
{
    SIM_CHECK(conn->server && client != NULL && !client->server, "connect of a client's descriptor");
    SIM_CHECK(conn->partner == 0 || conn->partner == client->id, "connection %u serves two sessions",
              conn->id);
    switch ((enum net_state)conn->state) {
    case NET_CONNECTED: /* a death came between: Linux says 0 once and EISCONN ever after */
        SIM_CHECK(!conn->told, "connection %u: connect after it was established and told", conn->id);
        return sim_once_in(2) ? 0 : -EISCONN;
    case NET_CONNECTING:
        return -EALREADY;
    case NET_FAILED:
        return -EINPROGRESS; /* the outcome is there already */
    case NET_UNCONNECTED:
        break;
    }
    SIM_CHECK(conn->failed == 0 || conn->failed == -EADDRNOTAVAIL, "connection %u: connect after it failed",
              conn->id);
    if (conn->partner == 0) {
        conn->partner = client->id;
        client->attempts++;
    }
    int result = local ? 0 : choose_port(conn);
    if (result < 0) {
        return result;
    }
    conn->remote_port = remote_port;
    conn->state = NET_CONNECTING;
    conn->failed = 0; /* of another port */
    conn->connect_result = draw_outcome(conn);
    if (!local) {
        tcp_open(conn);
    }
    net.connecting[net.connecting_count++] = conn->id;
    return -EINPROGRESS;
}

static void connect_done(struct net_conn *conn)
{
    if (conn->connect_result == 0) {
        conn->state = NET_CONNECTED;
        net.conns[conn->partner].partner = conn->id;
        net_moved(conn);
        peer_plan(conn);
        peer_list(conn);
    } else {
        conn->state = NET_FAILED;
    }
    ring_touch(conn);
}

void net_connects_run(void)
{
    for (uint32_t i = 0; i < net.connecting_count;) {
        struct net_conn *conn = &net.conns[net.connecting[i]];
        if (!conn->closed && conn->connect_at_us > sim.now_us) {
            i++;
            continue;
        }
        net.connecting[i] = net.connecting[--net.connecting_count];
        if (!conn->closed) {
            connect_done(conn);
        }
    }
}

uint64_t net_next_us(void)
{
    uint64_t next = UINT64_MAX;

    for (uint32_t i = 0; i < net.peer_count; i++) {
        uint64_t wake = net.conns[net.peers[i]].wake_us;
        next = wake > sim.now_us && wake < next ? wake : next;
    }
    for (uint32_t i = 0; i < net.connecting_count; i++) {
        uint64_t at = net.conns[net.connecting[i]].connect_at_us;
        next = at > sim.now_us && at < next ? at : next;
    }
    uint64_t tcp_us = tcp_next_us();
    return tcp_us < next ? tcp_us : next;
}
