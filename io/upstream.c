#include "io/upstream.h"

#include <errno.h>
#include <string.h>

#include "core/balance.h"
#include "io/log.h"
#include "io/relay.h"
#include "io/sock.h"
#include "io/source_port.h"
#include "shm/order.h"

static const struct image_pool *pool_of(const struct worker *worker, const struct session *session)
{
    uint16_t index = worker->pool_index[session->pool_row];

    if (index == ROW_NONE) {
        return image_pool(worker->image, worker->routes[session->listener_row].pool);
    }
    return image_pool(worker->image, index);
}

struct image_timeouts upstream_timeouts(const struct worker *worker, const struct session *session)
{
    const struct worker_route *route = &worker->routes[session->listener_row];
    uint16_t pool = worker->pool_index[session->pool_row];

    if (session->pool_row == route->pool_row || pool == ROW_NONE) {
        return route->timeouts;
    }
    for (uint32_t i = 0; i < worker->image->listener_count; i++) {
        if (image_listener(worker->image, i)->row == session->listener_row) {
            return image_timeouts_of(worker->image, i, pool);
        }
    }
    return worker->image->timeouts;
}

uint32_t upstream_retries(const struct worker *worker, const struct session *session)
{
    return pool_of(worker, session)->retries;
}

static bool was_tried(const struct session *session, uint16_t row)
{
    for (int i = 0; i < session->tries && i < IMAGE_RETRIES_MAX; i++) {
        if (session->tried[i] == row) {
            return true;
        }
    }
    return false;
}

/* Sessions of a server over all workers. Other workers' counts may be a moment old. */
static uint32_t server_sessions(const struct worker *worker, uint16_t row)
{
    uint32_t sessions = 0;

    for (uint32_t slot = 0; slot < region_slots_used(&worker->region); slot++) {
        sessions +=
            __atomic_load_n(&region_server_counters(&worker->region, slot, row)->sessions, __ATOMIC_RELAXED);
    }
    return sessions;
}

/* Servers that the session is not to have: no source port is free toward them. */
struct full_rows {
    uint32_t count;
    uint16_t rows[IMAGE_RETRIES_MAX + 1];
};

static bool is_full(const struct full_rows *full, uint16_t row)
{
    for (uint32_t i = 0; i < full->count; i++) {
        if (full->rows[i] == row) {
            return true;
        }
    }
    return false;
}

/* The server of the pool that takes the session. NULL: none is left. */
static const struct image_server *pick_of(struct worker *worker, const struct session *session,
                                          const struct image_pool *pool, const struct full_rows *full,
                                          bool backup)
{
    struct balance_candidate candidates[IMAGE_SERVERS_MAX];

    for (uint32_t i = 0; i < pool->server_count; i++) {
        const struct image_server *server = image_server(worker->image, pool->server_first + i);
        bool usable = (server->backup != 0) == backup && !was_tried(session, server->row) &&
                      !is_full(full, server->row);
        bool counts = usable && pool->balance == BALANCE_LEAST_SESSIONS;
        candidates[i] = (struct balance_candidate){
            .weight = usable ? admin_weight(order_server(&worker->region, server->row), server->weight) : 0,
            .sessions = counts ? server_sessions(worker, server->row) : 0,
            .credit = &worker->credit[server->row],
        };
    }
    int index = balance_pick(pool->balance, candidates, pool->server_count);
    return index < 0 ? NULL : image_server(worker->image, pool->server_first + (uint32_t)index);
}

/* Backups only when no other is left. */
static const struct image_server *pick(struct worker *worker, const struct session *session,
                                       const struct image_pool *pool, const struct full_rows *full)
{
    const struct image_server *server = pick_of(worker, session, pool, full, false);

    return server != NULL ? server : pick_of(worker, session, pool, full, true);
}

static struct server_counters *counters_of(const struct worker *worker, uint16_t row)
{
    return region_server_counters(&worker->region, worker->slot_index, row);
}

static void add_session(struct server_counters *counters, int n)
{
    __atomic_store_n(&counters->sessions, counters->sessions + (uint32_t)n,
                     __ATOMIC_RELAXED); /* read by all slots */
}

/* A session goes on with the system's congestion control where the pool's cannot be set: start and reload have checked
 * it, so a module was unloaded or a sysctl changed since. */
static void set_options(struct worker *worker, const struct image_pool *pool, int fd)
{
    int result = pool->congestion[0] == '\0' ? 0 : sock_set_congestion(fd, pool->congestion);

    if (result < 0 && !worker->congestion_warned) {
        worker->congestion_warned = true;
        log_line(LOG_LEVEL_WARNING,
                 "event=congestion_failed pool=%s congestion=%s error=\"%s\" what=\"sessions go on with the "
                 "system's; told once\"",
                 pool->name, pool->congestion, strerror(-result));
    }
    if (pool->buffers.receive > 0 || pool->buffers.send > 0) {
        (void)sock_set_buffers(fd, &pool->buffers); /* fails for no value that was checked */
    }
}

/* How the bytes of the session may go, now that its server is known. */
static void set_ways(struct session *session, const struct image_pool *pool, bool local)
{
    const uint8_t zero_copy = SESSION_ZERO_COPY << SIDE_SERVER;

    session->flags |= local ? SESSION_NEVER_STREAMS : 0;
    session->flags &= (uint8_t)~zero_copy; /* of the server tried before */
    session->flags |= pool->zero_copy && !local ? zero_copy : 0;
}

/* Another server takes the session over from the last one that failed it. */
static void count_redispatch(struct worker *worker, const struct session *session)
{
    if (session->tries > 0 && session->tries <= IMAGE_RETRIES_MAX) {
        relay_count(worker, &counters_of(worker, session->tried[session->tries - 1])->redispatches, 1);
    }
}

static void count_full(struct worker *worker, const struct image_pool *pool,
                       const struct image_server *server)
{
    char text[ENDPOINT_TEXT_MAX];

    relay_count(worker, &worker->slot->stats.ports_exhausted, 1);
    relay_count(worker, &counters_of(worker, server->row)->ports_exhausted, 1);
    if (worker->now_ms >= worker->sources.full_log_after_ms) {
        worker->sources.full_log_after_ms = worker->now_ms + SOURCE_LOG_EVERY_MS;
        log_line(
            LOG_LEVEL_WARNING,
            "event=ports_exhausted pool=%s server=%s what=\"no source port is free; other servers are tried, "
            "then sessions wait\"",
            pool->name, endpoint_format(&server->address, text, sizeof(text)));
    }
}

/* A server, and a source port toward it. Where no source port is free another server is chosen; where none is
 * toward any of those that may be tried, the first: the session waits for one. */
static const struct image_server *choose(struct worker *worker, const struct session *session,
                                         const struct image_pool *pool)
{
    struct full_rows full = {0};
    const struct image_server *first = NULL;

    while (session->tries + full.count <= pool->retries) {
        const struct image_server *server = pick(worker, session, pool, &full);
        if (server == NULL) {
            break;
        }
        if (server->address.family == ENDPOINT_UNIX ||
            source_port_take(worker, relay_index(worker, session), pool, &server->address)) {
            return server;
        }
        count_full(worker, pool, server);
        first = first != NULL ? first : server;
        full.rows[full.count++] = server->row;
    }
    return first;
}

void upstream_choose(struct worker *worker, struct session *session)
{
    const struct image_pool *pool = pool_of(worker, session);
    const struct image_server *server = choose(worker, session, pool);
    struct relay_event event = {.kind = RELAY_NO_SERVER, .side = SIDE_SERVER};

    if (server != NULL) {
        int fd = sock_open(&server->address);
        event.result = fd;
        if (fd >= 0) {
            FAULT_POINT(SERVER_OPENED);
            if (server->address.family != ENDPOINT_UNIX) {
                set_options(worker, pool, fd);
            }
            event.kind = RELAY_CHOSEN;
            event.fd = fd;
            event.cookie = sock_cookie(fd);
            event.row = server->row;
            set_ways(session, pool, server->address.family == ENDPOINT_UNIX);
        } else {
            source_port_release(worker, relay_index(worker, session), false);
        }
    }
    relay_step_in(worker, session, &event);
    if (event.kind == RELAY_CHOSEN) {
        count_redispatch(worker, session);
        add_session(counters_of(worker, session->server_row), 1);
        if (!(session->conn[SIDE_SERVER].flags & CONN_NO_PORT)) {
            relay_schedule(worker, session);
        }
    }
}

static const struct endpoint *address_of(const struct worker *worker, const struct session *session)
{
    const struct image_pool *pool = pool_of(worker, session);

    for (uint32_t i = 0; i < pool->server_count; i++) {
        const struct image_server *server = image_server(worker->image, pool->server_first + i);
        if (server->row == session->server_row) {
            return &server->address;
        }
    }
    return NULL;
}

/* The socket of a failed connect that is bound to a port for good makes place for another. */
static bool renew_socket(struct worker *worker, struct session *session, const struct endpoint *to)
{
    struct conn *server = &session->conn[SIDE_SERVER];
    int fd = sock_open(to);

    if (fd < 0) {
        return false;
    }
    set_options(worker, pool_of(worker, session), fd);
    sock_replace(server->fd, fd);
    server->cookie = sock_cookie(server->fd);
    return true;
}

/* Whether the server's socket has a source port, or is connecting already since before a death. */
static bool give_port(struct worker *worker, struct session *session, const struct endpoint *to)
{
    const struct image_pool *pool = pool_of(worker, session);
    uint32_t index = relay_index(worker, session);
    int fd = session->conn[SIDE_SERVER].fd;

    if (!source_port_is_taken(worker, index)) {
        enum sock_binding binding = sock_binding(fd);
        if (binding == SOCK_UNDER_WAY) {
            return true;
        }
        if (binding == SOCK_BOUND && !renew_socket(worker, session, to)) {
            return false;
        }
    }
    for (int n = 0; n < RELAY_PORT_TRIES; n++) {
        bool taken = source_port_is_taken(worker, index) || source_port_take(worker, index, pool, to);
        if (!taken || source_port_apply(worker, index, fd) == 0) {
            return taken;
        }
    }
    return false;
}

void upstream_connect(struct worker *worker, struct session *session, struct ring_tag tag)
{
    struct conn *server = &session->conn[SIDE_SERVER];
    const struct endpoint *to = address_of(worker, session);
    struct endpoint gone = {.family = ENDPOINT_UNIX, .bytes = "/nonexistent"};

    if (to == NULL) {
        to = &gone; /* taken away by a reload since it was chosen: this fails, the next is tried */
    } else if (to->family != ENDPOINT_UNIX && !give_port(worker, session, to)) {
        relay_step_in(worker, session, &(struct relay_event){.kind = RELAY_NO_PORT, .side = SIDE_SERVER});
        return;
    }
    ring_connect(worker->ring, tag, server->fd, to);
    FAULT_POINT(CONNECT_FILLED);
    server->in_flight |= CONN_OP_CONNECT;
}

void upstream_refused(struct worker *worker, const struct session *session)
{
    source_port_release(worker, relay_index(worker, session), true);
    relay_count(worker, &worker->slot->stats.ports_refused, 1);
}

void upstream_connected(struct worker *worker, struct session *session, uint64_t took_us)
{
    struct conn *server = &session->conn[SIDE_SERVER];
    struct flow_key key;

    relay_count(worker, &counters_of(worker, session->server_row)->connects, 1);
    relay_count(worker, &worker->slot->stats.connects, 1);
    relay_count_time(worker, region_connect_times(&worker->region, worker->slot_index, session->server_row),
                     took_us);
    FAULT_POINT(SERVER_CONNECTED);
    if (sock_flow_key(server->fd, &key)) {
        if (!worker->adopting) {
            source_port_connected(worker, relay_index(worker, session), &key);
        }
        server->flow =
            flow_table_claim(&worker->flows, &key, worker->slot_index, relay_index(worker, session),
                             worker->now_ms, &worker->slot->flow_claim);
        relay_count(worker, &worker->slot->stats.flow_failures, server->flow == FLOW_NONE);
    }
}

void upstream_ended(struct worker *worker, const struct session *session)
{
    const struct conn *server = &session->conn[SIDE_SERVER];
    bool fin_first = (server->flags & CONN_FIN_FIRST) || server->source == SOURCE_OPEN;

    source_port_release(worker, relay_index(worker, session), fin_first && !(session->flags & SESSION_ABORT));
}

void upstream_failed(struct worker *worker, uint16_t row)
{
    relay_count(worker, &counters_of(worker, row)->failures, 1);
    relay_count(worker, &worker->slot->stats.connect_failures, 1);
}

void upstream_drop(struct worker *worker, struct session *session)
{
    struct conn *server = &session->conn[SIDE_SERVER];

    /* Before the commit: should a death undo this, adoption finds the descriptor gone and the connect failed. */
    sock_close(server->fd);
    FAULT_POINT(SERVER_DROPPED);
    source_port_release(worker, relay_index(worker, session), false);
    upstream_leave(worker, session);
    server->fd = -1;
    server->cookie = 0;
}

void upstream_leave(struct worker *worker, const struct session *session)
{
    if (session->conn[SIDE_SERVER].fd >= 0) {
        add_session(counters_of(worker, session->server_row), -1);
    }
}
