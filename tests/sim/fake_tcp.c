#include "tests/sim/fake_tcp.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/programs.h"
#include "tests/sim/store_hook.h"

enum {
    RECENT = 256, /* waiting connections that segments still come to */
    PORTS = 65536,
    CLIENT_PORTS = 8000, /* the listeners', peers_arrive() */
    REST_MS = 1000,      /* RFC 6191 */
};

struct tcp_world tcp_world;
static struct program_table table;
static uint32_t *waits; /* by entry: whose FIN_WAIT2 or TIME_WAIT it is */
static uint32_t recent[RECENT];
static uint32_t port_holders[SIM_SERVERS][PORTS]; /* of Penstock's ports: the last connection */

static uint32_t now_ms(void)
{
    return (uint32_t)(sim.now_us / 1000);
}

void tcp_world_init(struct region *region)
{
    struct region_time_wait *state = &region->header->time_wait;

    memset(&tcp_world, 0, sizeof(tcp_world));
    memset(recent, 0, sizeof(recent));
    memset(port_holders, 0, sizeof(port_holders));
    tcp_world.two_msl_ms = 1000u << sim.seed % 7;
    state->owned = true;
    state->two_msl_ms = tcp_world.two_msl_ms;
    table = (struct program_table){
        .tags = region_row(region, TABLE_FLOW_TAGS, 0),
        .entries = region_row(region, TABLE_FLOW_ENTRIES, 0),
        .groups = region->header->flow_groups,
        .seed = region->header->flow_seed,
        .two_msl_ms = tcp_world.two_msl_ms,
        .sole_owner = sim.seed % 2 == 0,
    };
    waits = calloc((size_t)table.groups * FLOW_GROUP, sizeof(*waits));
    tcp_world.listed = calloc(net.capacity + 1, sizeof(*tcp_world.listed));
    SIM_CHECK(waits != NULL && tcp_world.listed != NULL, "no memory");
    programs_load(&table);
    tcp_world_share(region);
}

void tcp_world_share(struct region *region)
{
    region->header->time_wait.owned = true;
    region->header->time_wait.two_msl_ms = tcp_world.two_msl_ms;
    region->flow_maps[0] = table.tags;
    region->flow_maps[1] = (unsigned char *)table.entries;
}

void tcp_world_free(void)
{
    free(waits);
    free(tcp_world.listed);
    waits = NULL;
    tcp_world.listed = NULL;
}

/* --- The table, as it is --- */

static bool has_ended(const struct flow_entry *entry)
{
    uint32_t head;

    memcpy(&head, entry, sizeof(head));
    return flow_has_ended(head, entry->expire_ms, now_ms(), 0);
}

static uint32_t find_entry(const struct flow_key *key)
{
    struct flow_place place = flow_place_of(flow_hash(key, table.seed), table.groups);

    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        uint32_t index = place.buckets[i / FLOW_WAYS] + i % FLOW_WAYS;
        const struct flow_entry *entry = &table.entries[index];
        if (table.tags[index] == place.tag && flow_state_lives(entry->state) && flow_matches(entry, key) &&
            !has_ended(entry)) {
            return index;
        }
    }
    return FLOW_NONE;
}

static bool is_waiting(const struct flow_entry *entry, const struct net_conn *conn)
{
    struct flow_key key;

    net_flow_key(conn, &key);
    return (entry->state == FLOW_FIN_WAIT2 || entry->state == FLOW_TIME_WAIT) && flow_matches(entry, &key);
}

static bool is_over(const struct net_conn *conn)
{
    return (int32_t)(now_ms() - conn->expire_ms) >= 0;
}

static void end_wait(struct net_conn *conn)
{
    waits[conn->wait - 1] = 0;
    conn->wait = 0;
}

/* The entry may be another's only since its time was over. */
static void begin_wait(struct net_conn *conn, uint32_t index)
{
    struct net_conn *before = net_conn(waits[index]);

    if (before != NULL) {
        SIM_CHECK(is_over(before), "flow entry %u of connection %u was freed %d ms early", index, before->id,
                  (int)(before->expire_ms - now_ms()));
        end_wait(before);
    }
    waits[index] = conn->id;
    conn->wait = index + 1;
    conn->expire_ms = table.entries[index].expire_ms;
    recent[sim_below(RECENT)] = conn->id;
    tcp_world.published++;
}

/* --- Programs --- */

/* A program may be stopped, if none is. Returns whether. */
static bool begin_program(void)
{
    bool stops = crew.host == 0;

    if (stops) {
        crew_program_begin();
    }
    return stops;
}

static void end_program(bool stops)
{
    if (stops) {
        crew_program_end();
    }
}

uint32_t programs_cpu(void)
{
    return sim.at;
}

void tcp_lock(const struct net_conn *conn)
{
    while (conn->locked) {
        crew_change();
    }
}

/* Who had the tuple last. */
static uint32_t *holder_place(const struct net_conn *conn)
{
    return conn->server ? &port_holders[conn->remote_port % SIM_SERVERS][conn->local_port]
                        : &net.conns[conn->tuple].holder;
}

static bool is_watched(const struct net_conn *conn)
{
    return sim.config->owned && (conn->server || conn->listener < sim.config->listeners);
}

void tcp_open(struct net_conn *conn)
{
    struct flow_key key;

    if (!is_watched(conn)) {
        return;
    }
    bool armed = store_hook_shield(false);
    net_flow_key(conn, &key);
    uint32_t index = find_entry(&key);
    struct net_conn *before = index != FLOW_NONE ? net_conn(waits[index]) : NULL;
    bool stops = begin_program();
    programs_open(&key);
    end_program(stops);
    if (before != NULL) {
        end_wait(before);
    }
    SIM_CHECK(index == FLOW_NONE || !is_waiting(&table.entries[index], conn),
              "connection %u begins, and its tuple is in TIME_WAIT", conn->id);
    uint32_t *holder = holder_place(conn);
    conn->before = *holder;
    *holder = conn->id;
    conn->timestamps = !sim_once_in(8);
    (void)store_hook_shield(armed);
}

static uint32_t state_of(const struct net_conn *conn)
{
    if (!conn->our_fin) {
        return conn->peer_fin ? TCP_CLOSE_WAIT : TCP_ESTABLISHED;
    }
    if (conn->fin_order == NET_FIN_SECOND) {
        return TCP_LAST_ACK;
    }
    if (conn->fin_acked) {
        return TCP_FIN_WAIT2;
    }
    return conn->peer_fin ? TCP_CLOSING : TCP_FIN_WAIT1;
}

/* What has become of the entry that there was. Deaths may have taken it away, and a claim comes too late to
 * be known. */
static void check_end(const struct net_conn *conn, uint32_t index, enum flow_state wanted, uint32_t since_ms)
{
    const struct flow_entry *entry = &table.entries[index];
    struct flow_key key;

    net_flow_key(conn, &key);
    if (wanted == FLOW_FREE) {
        SIM_CHECK(!flow_state_lives(entry->state) || !flow_matches(entry, &key),
                  "connection %u has ended, flow entry %u is %s", conn->id, index,
                  flow_state_text(entry->state));
        return;
    }
    SIM_CHECK(is_waiting(entry, conn) && entry->state == wanted &&
                  entry->expire_ms - since_ms - table.two_msl_ms <= now_ms() - since_ms,
              "connection %u is in TIME_WAIT, flow entry %u is %s", conn->id, index,
              flow_state_text(entry->state));
}

/* The socket goes. */
static void end(struct net_conn *conn)
{
    struct flow_key key;
    uint64_t deaths = sim.deaths;
    uint64_t changes = crew.changes;
    uint32_t since_ms = now_ms();
    uint32_t state = state_of(conn);
    bool waits_now = !conn->reset && state != TCP_LAST_ACK;
    enum flow_state wanted = !waits_now ? FLOW_FREE : conn->peer_fin ? FLOW_TIME_WAIT : FLOW_FIN_WAIT2;

    net_flow_key(conn, &key);
    uint32_t index = find_entry(&key);
    struct program_socket socket = {
        .key = &key,
        .state = state,
        .reset = conn->reset && !conn->aborted,
        .aborted = conn->aborted,
        .fin_acked = !conn->reset || conn->fin_acked,
        .fin_received = conn->peer_fin && !conn->reset,
        .timestamps = conn->timestamps,
    };
    SIM_CHECK(index == FLOW_NONE || table.entries[index].state <= FLOW_ORPHANED,
              "connection %u lives, and its tuple is in TIME_WAIT", conn->id);
    uint64_t failures = programs_count(COUNT_insert_failures);
    conn->locked = true;
    bool stops = begin_program();
    programs_end(&socket);
    end_program(stops);
    conn->locked = false;
    conn->gone = true;
    if (conn->server) {
        *net_port_used(conn, conn->local_port) = 0;
    }
    if (index != FLOW_NONE && deaths == sim.deaths) {
        check_end(conn, index, wanted, since_ms);
    }
    conn->claimed_late = changes != crew.changes && (index == FLOW_NONE || deaths != sim.deaths);
    index = waits_now ? find_entry(&key) : FLOW_NONE;
    if (index != FLOW_NONE && table.entries[index].state >= FLOW_FIN_WAIT2) {
        begin_wait(conn, index);
    } else {
        SIM_CHECK(!waits_now || !table.sole_owner || programs_count(COUNT_insert_failures) > failures,
                  "the kernel keeps nothing of connection %u", conn->id);
    }
}

/* --- Segments --- */

/* Sends one to a connection that waits, and compares what the entry is then. */
static enum time_wait_action send_segment(struct net_conn *conn, struct time_wait_segment segment)
{
    const struct flow_entry *entry = &table.entries[conn->wait - 1];
    struct flow_key key;

    segment.has_timestamp = conn->timestamps;
    net_flow_key(conn, &key);
    bool stops = begin_program();
    enum time_wait_action action = programs_respond(&key, &segment);
    end_program(stops);
    if (is_waiting(entry, conn)) {
        SIM_CHECK((int32_t)(entry->expire_ms - conn->expire_ms) >= 0 &&
                      (int32_t)(now_ms() + table.two_msl_ms - entry->expire_ms) >= 0,
                  "flow entry %u of connection %u ends at %u instead of %u", conn->wait - 1, conn->id,
                  entry->expire_ms, conn->expire_ms);
        conn->expire_ms = entry->expire_ms;
    } else {
        SIM_CHECK(action >= TIME_WAIT_END || is_over(conn), "flow entry %u of connection %u is %s",
                  conn->wait - 1, conn->id, flow_state_text(entry->state));
        end_wait(conn);
    }
    return action;
}

static bool is_in(const struct net_conn *conn, enum flow_state state)
{
    return conn->wait != 0 && !is_over(conn) && table.entries[conn->wait - 1].state == state;
}

/* What the peer does after the socket has gone. */
static void deliver(struct net_conn *conn)
{
    struct time_wait_segment segment = {.seq = PROGRAM_RCV_NXT, .ack = true, .ts_value = now_ms()};

    if (!is_in(conn, FLOW_FIN_WAIT2)) {
        return;
    }
    if (conn->reset) {
        segment.rst = conn->reset_by_peer;
        segment.length = conn->reset_by_peer ? 0 : 100;
        (void)send_segment(conn, segment);
    } else if (conn->peer_fin) {
        segment.fin = true;
        (void)send_segment(conn, segment);
        SIM_CHECK(conn->wait == 0 || is_over(conn) || is_in(conn, FLOW_TIME_WAIT),
                  "the FIN of connection %u is not in flow entry %u", conn->id, conn->wait - 1);
    }
}

/* A segment that comes late, or twice. */
static void stray(void)
{
    struct net_conn *conn = net_conn(recent[sim_below(RECENT)]);
    struct time_wait_segment segment = {.seq = PROGRAM_RCV_NXT, .ts_value = now_ms()};

    if (conn == NULL || conn->wait == 0 || is_over(conn)) {
        return;
    }
    switch (sim_below(4)) {
    case 0: /* the FIN again, where it is not its first time */
        segment.ack = true;
        segment.fin = conn->peer_fin;
        break;
    case 1:
        segment.seq++;
        segment.ack = true;
        break;
    case 2:
        segment.seq -= 500;
        segment.syn = true;
        segment.ts_value -= 100000;
        break;
    default:
        segment.seq += 2;
        segment.rst = true;
        break;
    }
    (void)send_segment(conn, segment);
}

struct net_conn *tcp_reopen(uint32_t listener)
{
    struct net_conn *conn = net_conn(recent[sim_below(RECENT)]);
    struct time_wait_segment segment = {.seq = PROGRAM_RCV_NXT + 1000, .syn = true, .ts_value = now_ms() + 1};

    bool waiting = conn != NULL && !conn->server && conn->listener == listener &&
                   is_in(conn, FLOW_TIME_WAIT) && net.conns[conn->tuple].holder == conn->id;
    if (!waiting || crew.host != 0) {
        return NULL;
    }
    bool armed = store_hook_shield(false);
    bool reopens = send_segment(conn, segment) == TIME_WAIT_REOPEN;
    (void)store_hook_shield(armed);
    tcp_world.reopened += reopens;
    return reopens ? conn : NULL;
}

/* --- What happens, and when --- */

static void end_now(struct net_conn *conn)
{
    bool armed = store_hook_shield(false);

    end(conn);
    (void)store_hook_shield(armed);
}

void tcp_stir(struct net_conn *conn)
{
    if (!is_watched(conn) || conn->state != NET_CONNECTED) {
        return;
    }
    if (conn->our_fin && conn->fin_order == NET_FIN_NONE) {
        conn->fin_order = conn->peer_fin ? NET_FIN_SECOND : NET_FIN_FIRST;
    }
    if (conn->fin_acked && conn->peer_fin && !conn->gone && !conn->locked) {
        end_now(conn);
    } else if (!conn->tcp_listed) {
        conn->tcp_listed = true;
        conn->goes_on_us = sim.now_us + sim_below(sim_once_in(50) ? 3000000 : sim_once_in(4) ? 5000 : 1);
        tcp_world.listed[tcp_world.listed_count++] = conn->id;
    }
}

static void go_on(struct net_conn *conn)
{
    bool acked = conn->our_fin && !conn->reset;

    if (conn->gone) {
        deliver(conn);
    } else if (conn->reset || (acked && conn->peer_fin) || (conn->fin_acked && conn->closed)) {
        end(conn);
    } else if (acked) {
        conn->fin_acked = true;
        if (conn->closed) {
            end(conn);
        }
    }
}

void tcp_close(struct net_conn *conn)
{
    tcp_stir(conn);
    if (is_watched(conn) && !conn->gone && conn->state == NET_CONNECTED && (conn->reset || conn->fin_acked)) {
        end_now(conn);
    }
}

static bool run_one(void)
{
    uint32_t at = sim_below(tcp_world.listed_count);
    struct net_conn *conn = tcp_world.listed_count > 0 ? net_conn(tcp_world.listed[at]) : NULL;

    if (conn == NULL || conn->goes_on_us > sim.now_us || conn->locked) {
        return false;
    }
    tcp_world.listed[at] = tcp_world.listed[--tcp_world.listed_count];
    conn->tcp_listed = false;
    go_on(conn);
    return true;
}

bool tcp_run(void)
{
    if (!sim.config->owned || crew.host != 0) {
        return false;
    }
    bool armed = store_hook_shield(false);
    if (sim_once_in(64)) {
        stray();
    }
    bool went_on = run_one();
    (void)store_hook_shield(armed);
    return went_on;
}

uint64_t tcp_next_us(void)
{
    uint64_t next = UINT64_MAX;

    for (uint32_t i = 0; i < tcp_world.listed_count; i++) {
        uint64_t at = net.conns[tcp_world.listed[i]].goes_on_us;
        next = at > sim.now_us && at < next ? at : next;
    }
    return next;
}

/* --- What must be --- */

static const struct net_conn *holder_of(const struct flow_entry *entry)
{
    uint32_t id;

    if (entry->local_port >= CLIENT_PORTS && entry->local_port < CLIENT_PORTS + SIM_LISTENERS_MAX) {
        memcpy(&id, entry->remote + 12, sizeof(id));
        const struct net_conn *first = net_conn(id);
        return first != NULL ? net_conn(first->holder) : NULL;
    }
    return net_conn(port_holders[entry->remote_port % SIM_SERVERS][entry->local_port]);
}

/* Whether a socket that was dead before its worker knew of it may have an entry: it was claimed too late. */
static bool has_dead(const struct net_conn *holder)
{
    for (const struct net_conn *conn = holder; conn != NULL; conn = net_conn(conn->before)) {
        if (conn->gone && !conn->closed) {
            return true;
        }
    }
    return false;
}

static void check_alone(uint32_t index)
{
    const struct flow_entry *entry = &table.entries[index];
    struct flow_key key = {.local_port = entry->local_port, .remote_port = entry->remote_port};

    memcpy(key.remote, entry->remote, sizeof(key.remote));
    memcpy(key.local, entry->local, sizeof(key.local));
    uint32_t first = find_entry(&key);
    SIM_CHECK(first == index || has_ended(entry) || has_dead(holder_of(entry)),
              "flow entry %u, %s, and %u, %s, are of ports %u and %u", index, flow_state_text(entry->state),
              first, flow_state_text(table.entries[first].state), entry->local_port, entry->remote_port);
}

void tcp_check_entry(uint32_t index)
{
    const struct flow_entry *entry = &table.entries[index];
    const struct net_conn *conn = net_conn(waits[index]);
    bool waiting = entry->state == FLOW_FIN_WAIT2 || entry->state == FLOW_TIME_WAIT;

    if (conn != NULL && !is_over(conn)) {
        SIM_CHECK(is_waiting(entry, conn) && entry->expire_ms == conn->expire_ms,
                  "flow entry %u of connection %u, which waits %d ms more, is %s", index, conn->id,
                  (int)(conn->expire_ms - now_ms()), flow_state_text(entry->state));
    }
    SIM_CHECK(!waiting || (conn != NULL && is_waiting(entry, conn)), "flow entry %u is nobody's %s", index,
              flow_state_text(entry->state));
    if (entry->state == FLOW_ORPHANED) {
        conn = holder_of(entry);
        SIM_CHECK(conn != NULL && (!conn->gone || conn->claimed_late),
                  "flow entry %u is ORPHANED, and there is no socket", index);
    }
    if (flow_state_lives(entry->state)) {
        check_alone(index);
    }
}

static uint32_t count_used(void)
{
    uint32_t used = 0;

    for (uint32_t index = 0; index < table.groups * FLOW_GROUP; index++) {
        const struct flow_entry *entry = &table.entries[index];
        uint32_t head;
        memcpy(&head, entry, sizeof(head));
        SIM_CHECK((table.tags[index] != 0) == flow_state_lives(entry->state), "flow entry %u and its tag",
                  index);
        used += !flow_is_takeable(head, entry->expire_ms, now_ms()) || table.tags[index] != 0;
    }
    return used;
}

void tcp_finish(void)
{
    struct flow_sweep sweep = {0};
    struct flow_table flows;
    uint32_t intent = FLOW_NONE;

    if (!sim.config->owned) {
        return;
    }
    while (tcp_world.listed_count > 0) {
        sim.now_us += 1000;
        (void)tcp_run();
    }
    for (uint32_t index = 0; index < table.groups * FLOW_GROUP; index++) {
        tcp_check_entry(index);
        SIM_CHECK(table.entries[index].state != FLOW_ACTIVE, "flow entry %u is ACTIVE at the end", index);
    }
    flow_table_open(&flows, sim.region);
    flows.sweep = &sweep;
    sim.now_us += (uint64_t)(table.two_msl_ms + FLOW_ORPHAN_MS) * 1000;
    sweep.round_since_ms = 1;
    while (sweep.rounds == 0) {
        (void)flow_table_sweep(&flows, 0, sim.now_us / 1000, &intent);
    }
    SIM_CHECK(count_used() == 0, "%u flow entries are left", count_used());
    SIM_CHECK(programs_count(COUNT_published) == tcp_world.published, "%lu published, %lu counted",
              (unsigned long)tcp_world.published, (unsigned long)programs_count(COUNT_published));
}
