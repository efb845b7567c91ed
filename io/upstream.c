#include "io/upstream.h"

#include <errno.h>
#include <string.h>

#include "core/balance.h"
#include "io/log.h"
#include "io/relay.h"
#include "io/sock.h"
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

/* The server of the pool that takes the session; backups only when no other is left. NULL: none is left. */
static const struct image_server *pick(struct worker *worker, const struct session *session,
                                       const struct image_pool *pool, bool backup)
{
    struct balance_candidate candidates[IMAGE_SERVERS_MAX];

    for (uint32_t i = 0; i < pool->server_count; i++) {
        const struct image_server *server = image_server(worker->image, pool->server_first + i);
        bool usable = (server->backup != 0) == backup && !was_tried(session, server->row);
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

void upstream_choose(struct worker *worker, struct session *session)
{
    const struct image_pool *pool = pool_of(worker, session);
    const struct image_server *server = pick(worker, session, pool, false);
    struct relay_event event = {.kind = RELAY_NO_SERVER, .side = SIDE_SERVER};

    if (server == NULL) {
        server = pick(worker, session, pool, true);
    }
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
        }
    }
    relay_step_in(worker, session, &event);
    if (event.kind == RELAY_CHOSEN) {
        count_redispatch(worker, session);
        add_session(counters_of(worker, session->server_row), 1);
        relay_schedule(worker, session);
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

void upstream_share_ports(struct worker *worker)
{
    uint32_t slots = worker->image->workers;
    uint32_t each = ((uint32_t)worker->host_port_high - worker->host_port_low + 1) / slots;

    worker->port_low = (uint16_t)(worker->host_port_low + each * (worker->slot_index % slots));
    worker->port_high = (uint16_t)(worker->port_low + (each > 0 ? each - 1 : 0));
    /* Where an earlier incarnation left off is not known: begin anywhere, so that its newest TIME_WAITs rest. */
    worker->port_next = (uint16_t)(worker->port_low + (each > 0 ? worker->now_us % each : 0));
}

/* A window of one port: connect() then needs no search, which costs more than a millisecond when the range is half
 * full. The last try leaves the choice to the kernel. */
static void choose_port(struct worker *worker, const struct conn *server)
{
    if (server->port_tries >= RELAY_PORT_TRIES) {
        relay_count(worker, &worker->slot->stats.port_fallbacks, 1);
        (void)sock_port_window(server->fd, 0, 0);
        return;
    }
    uint16_t port = worker->port_next;
    worker->port_next = port >= worker->port_high ? worker->port_low : (uint16_t)(port + 1);
    (void)sock_port_window(server->fd, port, port); /* before Linux 6.3 the kernel chooses */
}

void upstream_connect(struct worker *worker, struct session *session, struct ring_tag tag)
{
    struct conn *server = &session->conn[SIDE_SERVER];
    const struct endpoint *to = address_of(worker, session);
    struct endpoint gone = {.family = ENDPOINT_UNIX, .bytes = "/nonexistent"};

    if (to == NULL) {
        to =
            &gone; /* a reload took the server away between choosing and connecting: fails, the next is tried */
    } else if (to->family != ENDPOINT_UNIX) {
        choose_port(worker, server);
    }
    ring_connect(worker->ring, tag, server->fd, to);
    FAULT_POINT(CONNECT_FILLED);
    server->in_flight |= CONN_OP_CONNECT;
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
        server->flow =
            flow_table_claim(&worker->flows, &key, worker->slot_index, relay_index(worker, session),
                             worker->now_ms, &worker->slot->flow_claim);
        relay_count(worker, &worker->slot->stats.flow_failures, server->flow == FLOW_NONE);
    }
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
