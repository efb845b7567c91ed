#include "tests/sim/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/crew.h"
#include "tests/sim/run.h"

struct ledger ledger;
static uint8_t *serials[SIM_CREW_MAX]; /* by worker and serial: lines */
static bool *kills[SIM_CREW_MAX];      /* by worker and serial: an operator wanted its end */

void ledger_init(void)
{
    memset(&ledger, 0, sizeof(ledger));
    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        serials[i] = calloc(sim.config->sessions + 1, 1);
        kills[i] = calloc(sim.config->sessions + 1, sizeof(*kills[i]));
        SIM_CHECK(serials[i] != NULL && kills[i] != NULL, "no memory");
    }
}

void ledger_free(void)
{
    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        free(serials[i]);
        free(kills[i]);
    }
}

void ledger_note_kill(uint64_t serial)
{
    kills[sim.at][serial] = true;
}

/* Of those that had the address one after the other: by the serial noted at its connect, or who has none and
 * no line. */
static struct net_conn *client_from(uint32_t first, const struct log_record *record)
{
    struct net_conn *nameless = NULL;

    for (struct net_conn *conn = net_conn(first); conn != NULL; conn = net_conn(conn->again)) {
        if (conn->owner == sim.at && conn->serial_known && conn->serial == record->serial) {
            return conn;
        }
        if (conn->owner == sim.at && !conn->serial_known && !conn->logged && nameless == NULL) {
            nameless = conn;
        }
    }
    SIM_CHECK(nameless != NULL, "clients from %u on are not worker %u's", first, sim.at);
    return nameless;
}

/* The client of a line: by its address, which only TCP has; by the serial noted at its connect. */
static struct net_conn *client_of(const struct log_record *record)
{
    uint32_t id;

    if (record->source_family == ENDPOINT_V4) {
        memcpy(&id, record->source_address, sizeof(id));
        SIM_CHECK(id > 0 && id <= net.count && !net.conns[id].server, "a session of no client: address %x",
                  id);
        SIM_CHECK(record->source_port == net.conns[id].remote_port, "client %u has another port", id);
        return client_from(id, record);
    }
    for (id = 1; id <= net.count; id++) {
        if (net.conns[id].serial_known && !net.conns[id].server && net.conns[id].serial == record->serial &&
            net.conns[id].owner == sim.at) {
            return &net.conns[id];
        }
    }
    return NULL;
}

/* To wait for a source port in vain is a failure without a connect. */
static bool is_exhausted(void)
{
    return sim.config->ports < sim.config->at_once;
}

_Noreturn static void fail_line(const struct log_record *record, const struct net_conn *client,
                                const char *what)
{
    net_print(client);
    if (client->partner != 0) {
        net_print(net_conn(client->partner));
    }
    sim_fail(SESSION_NONE, "client %u (server %u) ended as %s, %lu bytes up, %lu down: %s", client->id,
             client->partner, close_reason_text(record->reason), (unsigned long)record->bytes_from_client,
             (unsigned long)record->bytes_from_server, what);
}

#define LINE_CHECK(condition, what)            \
    do {                                       \
        if (!(condition)) {                    \
            fail_line(record, client, (what)); \
        }                                      \
    } while (0)

/* Both directions ended: nothing is missing, and the reason names the side that ended first. */
static void check_graceful(const struct log_record *record, const struct net_conn *client,
                           const struct net_conn *server)
{
    LINE_CHECK(server != NULL && client->eof_order != 0 && server->eof_order != 0, "not both have ended");
    LINE_CHECK(client->in_read == client->in_total && server->in_read == server->in_total,
               "bytes were not read");
    LINE_CHECK(client->out_sent == server->in_total && server->out_sent == client->in_total,
               "bytes are missing");
    bool server_first = server->eof_order < client->eof_order;
    LINE_CHECK((record->reason == CLOSE_SERVER_CLOSED) == server_first, "the other side ended first");
    bool passed_on = (client->our_fin || client->reset_by_peer) && (server->our_fin || server->reset_by_peer);
    LINE_CHECK(passed_on, "an end was not passed on");
}

static void check_connect_reason(const struct log_record *record, const struct net_conn *client)
{
    const struct net_conn *last = NULL;
    uint32_t failed = 0;

    for (uint32_t id = client->id; id <= net.count; id++) {
        const struct net_conn *conn = &net.conns[id];
        if (conn->server && conn->partner == client->id && conn->failed != 0 &&
            conn->failed != -EADDRNOTAVAIL) {
            failed++;
            last = conn;
        }
    }
    if (is_exhausted()) {
        return;
    }
    LINE_CHECK(last != NULL, "no connect failed");
    uint32_t may =
        sim.config->retries + 1 < sim.config->servers ? sim.config->retries + 1 : sim.config->servers;
    LINE_CHECK(failed == may && record->tries == may, "not all servers were tried");
    switch ((enum close_reason)record->reason) {
    case CLOSE_CONNECT_REFUSED:
        LINE_CHECK(last->failed == -ECONNREFUSED, "it was not refused");
        break;
    case CLOSE_CONNECT_TIMEOUT:
        LINE_CHECK(last->failed == -ETIMEDOUT || last->failed == -ECANCELED, "it did not take too long");
        break;
    case CLOSE_CONNECT_UNREACHABLE:
        LINE_CHECK(last->failed == -EHOSTUNREACH, "it was reachable");
        break;
    default:
        LINE_CHECK(last->failed == -ENETDOWN, "nothing else was wrong");
        break;
    }
}

/* A silent session must have had nothing to do: no bytes to send where there was room, nothing to receive. */
static void check_stuck(const struct log_record *record, const struct net_conn *client,
                        const struct net_conn *from, const struct net_conn *to, uint64_t since_us)
{
    bool settled = from->acted_us < since_us && to->acted_us < since_us;

    if (!settled || from->reset_by_peer || to->reset_by_peer) {
        return;
    }
    /* Of a peer that acknowledges nothing, what it is lent may be all that the direction is allowed to hold. */
    bool lent = sim.config->zero_copy && to->out_acked < to->out_sent;
    bool sendable = net_room(to) >= (to->out_room + 2) / 3 && !lent;
    LINE_CHECK(from->in_read == to->out_sent || !sendable, "there was something to send");
    if (net.pressed_us < since_us && sendable) {
        LINE_CHECK(net_readable(from) == 0, "there was something to receive");
        LINE_CHECK(!from->peer_fin || from->eof_order != 0, "there was an end to see");
        LINE_CHECK(from->eof_order == 0 || to->our_fin, "there was an end to pass on");
    }
}

/* What moved so shortly before the end was on its way when the timeout was decided. */
static uint64_t silent_since(const struct net_conn *conn, uint64_t closed_us)
{
    return closed_us < conn->stirred_us + NET_REST_US ? conn->rested_us : conn->moved_us;
}

static void check_silence(const struct log_record *record, const struct net_conn *client,
                          const struct net_conn *server, uint32_t limit_ms)
{
    LINE_CHECK(server != NULL, "there was no server");
    uint32_t turn_ms = crew.count > 1 ? 50 : 1; /* a worker's clock stands while others go on */
    uint64_t due_us = record->closed_us - (uint64_t)(limit_ms - turn_ms) * 1000;
    LINE_CHECK(silent_since(client, record->closed_us) <= due_us &&
                   silent_since(server, record->closed_us) <= due_us,
               "it was not silent so long");
    uint64_t since_us = record->closed_us - (uint64_t)limit_ms * 1000 / 2;
    check_stuck(record, client, client, server, since_us);
    check_stuck(record, client, server, client, since_us);
}

static void check_reason(const struct log_record *record, const struct net_conn *client)
{
    const struct net_conn *server = net_conn(client->partner);

    switch ((enum close_reason)record->reason) {
    case CLOSE_CLIENT_CLOSED:
    case CLOSE_SERVER_CLOSED:
        check_graceful(record, client, server);
        break;
    case CLOSE_CLIENT_RESET:
        LINE_CHECK(client->reset_by_peer, "the client did not");
        break;
    case CLOSE_SERVER_RESET:
        LINE_CHECK(server != NULL && server->reset_by_peer, "the server did not");
        break;
    case CLOSE_CONNECT_REFUSED:
    case CLOSE_CONNECT_TIMEOUT:
    case CLOSE_CONNECT_UNREACHABLE:
    case CLOSE_CONNECT_ERROR:
        check_connect_reason(record, client);
        break;
    case CLOSE_NO_RESOURCES:
        LINE_CHECK(net.open_failures > 0, "there were enough");
        break;
    case CLOSE_NO_SOURCE_PORT:
        LINE_CHECK(sim.config->ports < 2 * sim.config->at_once, "there were enough");
        break;
    case CLOSE_IDLE_TIMEOUT:
        check_silence(record, client, server, RUN_IDLE_MS);
        break;
    case CLOSE_HALF_CLOSED_TIMEOUT:
        check_silence(record, client, server, RUN_HALF_CLOSED_MS);
        LINE_CHECK(client->our_fin || server->our_fin || client->reset || server->reset,
                   "nothing was half closed");
        break;
    case CLOSE_KILLED:
        LINE_CHECK(kills[sim.at][record->serial], "nobody killed it");
        break;
    case CLOSE_STOPPED:
        LINE_CHECK(sim.region->header->run_state != RUN_SERVE, "nobody stopped Penstock");
        break;
    default:
        LINE_CHECK(false, "that cannot be");
        break;
    }
}

static void read_line(const struct log_record *record)
{
    struct net_conn *client = client_of(record);

    ledger.lines++;
    ledger.closes[record->reason]++;
    SIM_CHECK(record->serial < sim.config->sessions && !serials[sim.at][record->serial]++,
              "session %lu is in the log twice", (unsigned long)record->serial);
    if (client == NULL) {
        ledger.unmapped++;
        SIM_CHECK(record->reason == CLOSE_NO_RESOURCES || record->reason == CLOSE_NO_SOURCE_PORT ||
                      record->reason == CLOSE_STOPPED ||
                      (record->reason == CLOSE_CONNECT_TIMEOUT && is_exhausted()) ||
                      kills[sim.at][record->serial],
                  "a session of nobody: %s", close_reason_text(record->reason));
        return;
    }
    LINE_CHECK(!client->logged && client->accepted && client->closed, "it has a line, or was never accepted");
    LINE_CHECK(!client->serial_known || client->serial == record->serial, "another serial");
    client->logged = true;
    client->reason = record->reason;
    const struct net_conn *server = net_conn(client->partner);
    LINE_CHECK(record->bytes_from_client == client->in_read, "wrong number of bytes from the client");
    LINE_CHECK(record->bytes_from_server == (server != NULL ? server->in_read : 0),
               "wrong number from the server");
    LINE_CHECK(server == NULL || server->closed, "the server's descriptor is open");
    check_reason(record, client);
}

void ledger_read(void)
{
    struct worker_slot *slot = sim.slot;

    SIM_CHECK(slot->log_head - slot->log_tail <= LOG_RING_RECORDS, "the log's ring overflows");
    while (slot->log_tail != slot->log_head) {
        read_line(region_log_record(sim.region, sim.index, slot->log_tail));
        slot->log_tail++;
    }
}

/* What the peers saw at the end. */
static void check_peer(const struct net_conn *conn)
{
    const struct net_conn *partner = net_conn(conn->partner);

    if (!conn->accepted) {
        return;
    }
    SIM_CHECK(conn->closed && conn->fd < 0, "connection %u is still open", conn->id);
    SIM_CHECK(conn->server || conn->logged || ledger.unmapped > 0, "client %u has no line in the log",
              conn->id);
    uint8_t reason = conn->server && partner != NULL ? partner->reason : conn->reason;
    bool quiet = conn->fault == NET_FAULT_NONE && partner != NULL && partner->fault == NET_FAULT_NONE &&
                 (reason == CLOSE_CLIENT_CLOSED || reason == CLOSE_SERVER_CLOSED);
    if (quiet && conn->state == NET_CONNECTED && conn->eof_order != 0 && partner->eof_order != 0) {
        SIM_CHECK(!conn->reset && conn->our_fin, "connection %u ended by a reset", conn->id);
        SIM_CHECK(conn->out_read == partner->in_total, "connection %u: the peer got %lu of %lu bytes",
                  conn->id, (unsigned long)conn->out_read, (unsigned long)partner->in_total);
    }
}

static void check_sum(const char *what, uint64_t counted, uint64_t real)
{
    SIM_CHECK(counted == real, "%s: %lu counted, %lu in truth", what, (unsigned long)counted,
              (unsigned long)real);
}

static uint64_t times_count(const struct time_histogram *times)
{
    uint64_t count = 0;

    for (int i = 0; i < TIME_BUCKETS; i++) {
        count += times->buckets[i];
    }
    return count;
}

static void sum_listeners(const struct crew_member *member, uint64_t sums[3],
                          uint64_t closes[CLOSE_REASON_COUNT])
{
    for (uint16_t row = 0; row < IMAGE_LISTENERS_MAX; row++) {
        const struct listener_counters *counters =
            region_listener_counters(member->region, member->index, row);
        sums[0] += counters->accepted;
        sums[1] += times_count(&counters->durations);
        sums[2] += times_count(&counters->first_bytes);
        for (int reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
            closes[reason] += counters->closes[reason];
        }
    }
}

static void check_listeners(uint64_t first_bytes)
{
    uint64_t sums[3] = {0};
    uint64_t closes[CLOSE_REASON_COUNT] = {0};

    for (uint32_t i = 0; i < crew.count; i++) {
        sum_listeners(&crew.members[i], sums, closes);
    }
    check_sum("accepted by listeners", sums[0], net.accepts);
    check_sum("durations", sums[1], net.accepts);
    check_sum("first bytes", sums[2], first_bytes);
    for (int reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        check_sum("closes of listeners", closes[reason], ledger.closes[reason]);
    }
}

static void sum_servers(const struct crew_member *member, uint64_t sums[5])
{
    for (uint16_t row = 0; row < sim.config->servers; row++) {
        const struct server_counters *counters = region_server_counters(member->region, member->index, row);
        SIM_CHECK(counters->sessions == 0, "server %u has sessions", row);
        sums[0] += counters->connects;
        sums[1] += counters->failures;
        sums[2] += counters->bytes_to;
        sums[3] += counters->bytes_from;
        sums[4] += times_count(region_connect_times(member->region, member->index, row));
    }
}

static void check_servers(const uint64_t sums[4])
{
    uint64_t counted[5] = {0};

    for (uint32_t i = 0; i < crew.count; i++) {
        sum_servers(&crew.members[i], counted);
    }
    check_sum("connect times", counted[4], sums[0]);
    check_sum("connects of servers", counted[0], sums[0]);
    check_sum("failures of servers", counted[1], sums[1]);
    check_sum("bytes from servers", counted[3], sums[3]);
    SIM_CHECK(counted[2] <= sums[2], "bytes to servers");
}

struct slot_stats ledger_stats(void)
{
    enum { COUNTERS = sizeof(struct slot_stats) / sizeof(uint64_t) };
    union {
        struct slot_stats stats;
        uint64_t counters[COUNTERS];
    } sum = {.counters = {0}};

    for (uint32_t i = 0; i < crew.count; i++) {
        uint64_t counters[COUNTERS];
        memcpy(counters, &crew.members[i].slot->stats, sizeof(counters));
        for (int n = 0; n < COUNTERS; n++) {
            sum.counters[n] += counters[n];
        }
    }
    return sum.stats;
}

void ledger_close(void)
{
    const struct slot_stats sum = ledger_stats();
    const struct slot_stats *stats = &sum;
    uint64_t client_bytes = 0, server_bytes = 0, connects = 0, failures = 0, first_bytes = 0;

    for (uint32_t i = 0; i < crew.count; i++) {
        crew_enter(i);
        ledger_read();
        check_sum("descriptors", net_table->open, 0);
    }
    for (uint32_t id = 1; id <= net.count; id++) {
        const struct net_conn *conn = &net.conns[id];
        check_peer(conn);
        client_bytes += conn->server ? 0 : conn->in_read;
        server_bytes += conn->server ? conn->in_read : 0;
        first_bytes += conn->server && conn->in_read > 0;
        connects += conn->server && conn->told;
        failures += conn->server && !conn->told && conn->failed != 0;
    }
    for (int reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        check_sum(close_reason_text(reason), stats->closes[reason], ledger.closes[reason]);
    }
    check_sum("accepted", stats->accepted, net.accepts);
    check_sum("lines", ledger.lines + stats->log_dropped, net.accepts);
    check_sum("client bytes", stats->client_bytes, client_bytes);
    check_sum("server bytes", stats->server_bytes, server_bytes);
    check_listeners(first_bytes);
    check_sum("buffers refused", stats->buffers_refused, net.refused_buffers);
    if (sim.config->ending != RUN_STOP && sim.config->kills == 0) { /* what is cut off is neither */
        check_sum("connects", stats->connects, connects);
        failures = is_exhausted() ? stats->connect_failures : failures;
        check_sum("connect failures", stats->connect_failures, failures);
        check_servers((uint64_t[]){connects, failures, client_bytes, server_bytes});
    }
}
