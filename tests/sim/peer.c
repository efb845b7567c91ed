/*
 * The peers: clients and servers that write and read in random pieces, pause, half-close, and some that reset, close
 * early or stand still.
 */
#include <errno.h>

#include "tests/sim/crew.h"
#include "tests/sim/fake_lent.h"
#include "tests/sim/fake_net.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/fake_tcp.h"

enum { STREAM_ROOM = 128 * 1024 };

static uint64_t draw_total(struct net_conn *conn)
{
    uint32_t max = sim.config->bytes_max;

    if (sim_percent(sim.config->streams)) {
        conn->stream = true;
        conn->in_room = STREAM_ROOM << sim_below(4);
        return sim.config->stream_bytes / 8 + sim_below(sim.config->stream_bytes);
    }

    if (sim_once_in(16)) {
        return 0;
    }
    return NET_NAME_BYTES + (sim_once_in(8) ? sim_below(max) : sim_below(1 + (max >> sim_below(8))));
}

void peer_plan(struct net_conn *conn)
{
    const struct net_conn *client = net_conn(conn->partner);

    conn->in_total = draw_total(conn);
    if (conn->server) {
        conn->fin_waits = !client->fin_waits && sim_once_in(2);
    } else {
        conn->fin_waits = sim_once_in(4);
    }
    if (sim_percent(sim.config->faults)) {
        conn->fault = (uint8_t)(NET_FAULT_RESET + sim_below(8) % 3);
        conn->fault_at = sim_below(2 * (uint32_t)conn->in_total + 2);
    }
}

void peer_list(struct net_conn *conn)
{
    if (!conn->peer_listed && !conn->peer_done) {
        conn->peer_listed = true;
        net.peers[net.peer_count++] = conn->id;
    }
}

void peer_reset(struct net_conn *conn)
{
    if (conn->reset) {
        return;
    }
    conn->reset = true;
    conn->reset_by_peer = true;
    conn->error = conn->peer_fin ? EPIPE : ECONNRESET; /* tcp_reset(): in CLOSE_WAIT it is EPIPE */
    tcp_stir(conn);
    ring_touch(conn);
}

static void peer_see_end(struct net_conn *conn)
{
    if (conn->peer_done) {
        return;
    }
    conn->peer_done = true;
    net.clients_alive -= !conn->server;
}

static void peer_end_stream(struct net_conn *conn)
{
    if (!conn->peer_fin) {
        conn->acted_us = sim.now_us;
        conn->peer_fin = true;
        conn->in_total = conn->in_written;
        tcp_stir(conn);
        ring_touch(conn);
    }
}

/* The fault this peer was given. True if it did something. */
static bool peer_fail(struct net_conn *conn)
{
    if (conn->fault == NET_FAULT_NONE || conn->in_written + conn->out_read < conn->fault_at) {
        return false;
    }
    switch ((enum net_fault)conn->fault) {
    case NET_FAULT_RESET:
        peer_reset(conn);
        break;
    case NET_FAULT_CLOSE:
        if (!conn->peer_closed) {
            conn->peer_closed = true;
            if (conn->out_sent > conn->out_read) {
                peer_reset(conn);
            } else {
                peer_end_stream(conn);
            }
        }
        break;
    default:
        conn->wake_us = UINT64_MAX;
        break;
    }
    return true;
}

/* A stream is written as much as there is room, with spells of small pieces. */
static uint32_t piece_length(struct net_conn *conn, uint32_t most)
{
    uint32_t small = most > 64 ? 64 : most;

    if (!conn->stream) {
        return 1 + sim_below(sim_once_in(4) ? small : most);
    }
    if (sim_once_in(conn->trickles ? 8 : 50)) {
        conn->trickles = !conn->trickles;
    }
    if (conn->trickles) {
        return 1 + sim_below(most > 4096 ? 4096 : most);
    }
    return sim_once_in(4) ? 1 + sim_below(most) : most;
}

static bool peer_write(struct net_conn *conn)
{
    uint64_t room = conn->in_room - net_readable(conn);
    uint64_t left = conn->in_total - conn->in_written;

    if (conn->peer_fin || (left > 0 && room == 0)) {
        return false;
    }
    if (left == 0) {
        if (conn->fin_waits && !(conn->our_fin && conn->out_read == conn->out_sent)) {
            return false;
        }
        peer_end_stream(conn);
        return true;
    }
    uint64_t most = left < room ? left : room;
    conn->acted_us = sim.now_us;
    conn->in_written += piece_length(conn, (uint32_t)most);
    ring_touch(conn);
    return true;
}

static bool peer_read(struct net_conn *conn)
{
    uint64_t waiting = conn->out_sent - conn->out_read;

    if (waiting == 0) {
        return false;
    }
    conn->acted_us = sim.now_us;
    conn->out_read += sim_once_in(2) ? waiting : 1 + sim_below((uint32_t)waiting);
    lent_acknowledge(conn, conn->out_read);
    ring_touch(conn);
    return true;
}

/* The peer's kernel, awake or not. */
static bool peer_acknowledge(struct net_conn *conn)
{
    if (conn->reset || conn->ack_late || conn->out_acked == conn->out_sent || sim_once_in(2)) {
        return false;
    }
    lent_acknowledge(conn, conn->out_acked + 1 + sim_below((uint32_t)(conn->out_sent - conn->out_acked)));
    return true;
}

/* One action of the peer. False if there is nothing it could do now. */
static bool peer_act(struct net_conn *conn)
{
    if (peer_acknowledge(conn)) {
        return true;
    }
    if (conn->wake_us > sim.now_us && !(conn->closed || conn->reset)) {
        return false;
    }
    if (conn->reset) { /* a peer that was reset, or did it, has nothing more to do */
        peer_see_end(conn);
        return true;
    }
    if (conn->closed && conn->peer_closed) {
        peer_see_end(conn);
        return true;
    }
    if (conn->closed && conn->wake_us == UINT64_MAX) { /* stands still for ever */
        peer_see_end(conn);
        return true;
    }
    if (peer_fail(conn)) {
        return true;
    }
    if (sim_below(1000) < sim.config->pauses) {
        conn->wake_us = sim.now_us + sim_below(sim_once_in(20) ? 7000000 : 50000);
        return true;
    }
    bool acted = sim_once_in(2) ? peer_write(conn) || peer_read(conn) : peer_read(conn) || peer_write(conn);
    if (conn->closed && !acted) {
        if (conn->in_written < conn->in_total ||
            !conn->peer_fin) { /* more than anybody reads: answered by RST */
            conn->reset = true;
            tcp_stir(conn);
            return true;
        }
        if (conn->out_read == conn->out_sent) {
            peer_see_end(conn);
            return true;
        }
    }
    return acted;
}

uint32_t peers_run(uint32_t count)
{
    uint32_t acted = 0;

    for (uint32_t n = 0; n < count && net.peer_count > 0; n++) {
        uint32_t place = sim_below(net.peer_count);
        struct net_conn *conn = &net.conns[net.peers[place]];
        acted += peer_act(conn);
        bool is_there = place < net.peer_count && net.peers[place] == conn->id; /* others may have gone on */
        if (conn->peer_done && is_there) {
            conn->peer_listed = false;
            net.peers[place] = net.peers[--net.peer_count];
        }
    }
    return acted;
}

void peers_finish(void)
{
    for (int n = 0; n < 100000 && net.peer_count > 0; n++) {
        peers_run(64);
        sim.now_us += 1000;
    }
}

static bool may_arrive(void)
{
    return !net.silent && net.clients < sim.config->sessions && net.clients_alive < sim.config->at_once;
}

/* A client, with the tuple of one before it or its own. */
static struct net_conn *create_client(uint32_t listener, struct net_conn *before)
{
    struct net_conn *conn = net_create(false);

    if (before != NULL) {
        conn->tuple = before->tuple;
        before->again = conn->id;
    }
    conn->listener = (uint8_t)listener;
    conn->state = NET_CONNECTED;
    conn->remote_port = (uint16_t)(1024 + conn->tuple % 60000);
    conn->local_port = (uint16_t)(8000 + listener);
    net.clients++;
    net.clients_alive++;
    peer_plan(conn);
    tcp_open(conn);
    peer_list(conn);
    return conn;
}

uint32_t peers_arrive(void)
{
    const struct sim_config *config = sim.config;
    uint32_t listeners = config->listeners + config->local_listeners;
    uint32_t created = 0;

    while (may_arrive()) {
        uint32_t which = sim_below(listeners);
        uint32_t slot = sim_below(net.slots);
        struct net_queue *queue = net_queue(slot, which);
        if (!queue->open || queue->count > config->backlog || sim_once_in(4)) {
            break;
        }
        struct net_conn *before = config->owned && sim_once_in(4) ? tcp_reopen(which) : NULL;
        if (!may_arrive()) { /* others came while the SYN was judged */
            break;
        }
        struct net_conn *conn = create_client(which, before);
        queue->ids[queue->count++] = conn->id;
        ring_wake_accept(slot, which);
        crew_wake_all();
        created++;
    }
    return created;
}
