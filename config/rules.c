/*
 * What no single value of a configuration shows: names and addresses given twice, pools that do not exist, pools that
 * cannot serve. Pure. Tables are small (core/image.h), so pairs are compared directly.
 */
#include "config/draft.h"

#include <inttypes.h>
#include <string.h>

static void names_check_listeners(const struct config_draft *draft, struct config_report *report)
{
    for (uint32_t i = 1; i < draft->listener_count; i++) {
        const struct draft_listener *listener = &draft->listeners[i];

        for (uint32_t j = 0; j < i && listener->row.name[0]; j++) {
            if (strcmp(listener->row.name, draft->listeners[j].row.name) != 0)
                continue;
            config_report_add(
                report, listener->name_place,
                "listeners[%u].name: '%s' is the name of the listener of line %u already; write another", i,
                listener->row.name, draft->listeners[j].name_place.line);
            break;
        }
    }
}

static void names_check_pools(const struct config_draft *draft, struct config_report *report)
{
    for (uint32_t i = 1; i < draft->pool_count; i++) {
        const struct draft_pool *pool = &draft->pools[i];

        for (uint32_t j = 0; j < i && pool->row.name[0]; j++) {
            if (strcmp(pool->row.name, draft->pools[j].row.name) != 0)
                continue;
            config_report_add(
                report, pool->name_place,
                "pools[%u].name: '%s' is the name of the pool of line %u already; write another", i,
                pool->row.name, draft->pools[j].name_place.line);
            break;
        }
    }
}

static void routes_resolve(struct config_draft *draft, struct config_report *report)
{
    for (uint32_t i = 0; i < draft->listener_count; i++) {
        struct draft_listener *listener = &draft->listeners[i];
        uint32_t pool = 0;

        if (!listener->pool_name[0])
            continue;
        while (pool < draft->pool_count && strcmp(draft->pools[pool].row.name, listener->pool_name) != 0)
            pool++;
        if (pool == draft->pool_count)
            config_report_add(
                report, listener->pool_place,
                "listeners[%u].routes[0].pool: there is no pool '%s'; write the name of one of 'pools'", i,
                listener->pool_name);
        listener->row.pool = pool;
    }
}

static size_t address_length(const struct endpoint *endpoint)
{
    return endpoint->family == ENDPOINT_V4 ? 4 : 16;
}

static bool address_is_any(const struct endpoint *endpoint)
{
    static const uint8_t any[16];

    return (endpoint->family == ENDPOINT_V4 || endpoint->family == ENDPOINT_V6) &&
           memcmp(endpoint->bytes, any, address_length(endpoint)) == 0;
}

/* Whether the kernel could not give both to sockets of different listeners. IPv6 is bound V6ONLY, so that [::] and
 * 0.0.0.0 do not meet. */
static bool binds_collide(const struct endpoint *a, const struct endpoint *b)
{
    if (endpoint_equal(a, b))
        return true;
    return a->family == b->family && a->port == b->port && (address_is_any(a) || address_is_any(b));
}

static void binds_check(const struct config_draft *draft, struct config_report *report)
{
    char text[ENDPOINT_TEXT_MAX], other[ENDPOINT_TEXT_MAX];

    for (uint32_t i = 1; i < draft->bind_count; i++) {
        const struct draft_bind *bind = &draft->binds[i];

        for (uint32_t j = 0; j < i; j++) {
            if (!binds_collide(&bind->row.endpoint, &draft->binds[j].row.endpoint))
                continue;
            config_report_add(report, bind->place,
                              "listeners[%u].bind: %s is taken by %s in line %u; choose another %s",
                              bind->row.listener, endpoint_format(&bind->row.endpoint, text, sizeof(text)),
                              endpoint_format(&draft->binds[j].row.endpoint, other, sizeof(other)),
                              draft->binds[j].place.line,
                              bind->row.endpoint.family == ENDPOINT_UNIX ? "path" : "port or address");
            break;
        }
    }
}

/* Multicast and the like: addresses that no TCP connection can have at either end. */
static bool address_is_tcp(const struct endpoint *endpoint)
{
    if (endpoint->family == ENDPOINT_V4)
        return endpoint->bytes[0] < 224;
    return endpoint->family != ENDPOINT_V6 || endpoint->bytes[0] != 0xff;
}

static void addresses_check(const struct config_draft *draft, struct config_report *report)
{
    char text[ENDPOINT_TEXT_MAX];

    for (uint32_t i = 0; i < draft->bind_count; i++)
        if (!address_is_tcp(&draft->binds[i].row.endpoint))
            config_report_add(
                report, draft->binds[i].place,
                "listeners[%u].bind: %s cannot be bound for TCP; write an address of this machine",
                draft->binds[i].row.listener,
                endpoint_format(&draft->binds[i].row.endpoint, text, sizeof(text)));
}

/* The first server of the pool with the address of its server `index`; `index` itself if there is none before it. */
static uint32_t server_find_same(const struct draft_server *servers, uint32_t index)
{
    uint32_t same = 0;

    if (servers[index].row.address.family == ENDPOINT_NONE)
        return index;
    while (!endpoint_equal(&servers[index].row.address, &servers[same].row.address))
        same++;
    return same;
}

static void servers_check(const struct config_draft *draft, uint32_t index, struct config_report *report)
{
    const struct draft_pool *pool = &draft->pools[index];
    const struct draft_server *servers = &draft->servers[pool->row.server_first];
    uint32_t backups = 0;

    for (uint32_t i = 0; i < pool->row.server_count; i++) {
        const struct endpoint *address = &servers[i].row.address;
        uint32_t same = server_find_same(servers, i);
        char text[ENDPOINT_TEXT_MAX];

        endpoint_format(address, text, sizeof(text));
        backups += servers[i].row.backup;
        if (!address_is_tcp(address) || address_is_any(address))
            config_report_add(
                report, servers[i].place,
                "pools[%u].servers[%u]: %s is not the address of a server; write the one it listens on",
                index, i, text);
        if (same < i)
            config_report_add(
                report, servers[i].place,
                "pools[%u].servers[%u]: %s is the server of line %u already; write another address", index, i,
                text, servers[same].place.line);
    }
    if (backups > 0 && backups == pool->row.server_count)
        config_report_add(report, pool->servers_place,
                          "pools[%u].servers: all servers are backups; leave 'backup' out for at least one",
                          index);
}

static bool address_is_loopback(const struct endpoint *endpoint)
{
    static const uint8_t loopback[16] = {[15] = 1};

    if (endpoint->family == ENDPOINT_V4)
        return endpoint->bytes[0] == 127;
    return endpoint->family == ENDPOINT_V6 && memcmp(endpoint->bytes, loopback, 16) == 0;
}

/* Whether a connection to `server` surely arrives at `bind`. */
static bool server_is_bind(const struct endpoint *server, const struct endpoint *bind)
{
    if (endpoint_equal(server, bind))
        return true;
    return server->family == bind->family && server->port == bind->port && address_is_any(bind) &&
           address_is_loopback(server);
}

/* A listener whose own pool leads back to it would open sessions until none is left. */
static void loops_check(const struct config_draft *draft, struct config_report *report)
{
    char text[ENDPOINT_TEXT_MAX];

    for (uint32_t i = 0; i < draft->bind_count; i++) {
        const struct draft_bind *bind = &draft->binds[i];
        const struct draft_listener *listener = &draft->listeners[bind->row.listener];
        const struct image_pool *pool = &draft->pools[listener->row.pool].row;

        if (!listener->pool_name[0] || listener->row.pool >= draft->pool_count)
            continue;
        for (uint32_t s = pool->server_first; s < pool->server_first + pool->server_count; s++)
            if (server_is_bind(&draft->servers[s].row.address, &bind->row.endpoint))
                config_report_add(
                    report, draft->servers[s].place,
                    "pools[%u].servers[%u]: %s leads back to the listener of line %u, which uses this "
                    "pool; write the address of a server",
                    listener->row.pool, s - pool->server_first,
                    endpoint_format(&draft->servers[s].row.address, text, sizeof(text)), bind->place.line);
    }
}

static void flows_check(const struct config_draft *draft, struct config_report *report)
{
    struct image by_sessions = {.sessions_limit = draft->head.sessions_limit};
    uint64_t flows = draft->head.flows_limit;

    if (flows > 0 && flows < 2 * draft->head.sessions_limit)
        config_report_add(report, draft->positions.flows,
                          "limits.flows: %" PRIu64 " are not enough for %" PRIu64
                          " sessions of two connections each; write at least %" PRIu64 ", or leave it out",
                          flows, draft->head.sessions_limit, image_flows(&by_sessions));
}

/* Those who scrape speak HTTP over TCP, at an address nobody else has. */
static void exporter_check(const struct config_draft *draft, struct config_report *report)
{
    const struct endpoint *exporter = &draft->head.exporter;
    char text[ENDPOINT_TEXT_MAX];

    if (exporter->family == ENDPOINT_NONE)
        return;
    endpoint_format(exporter, text, sizeof(text));
    if (exporter->family == ENDPOINT_UNIX || !address_is_tcp(exporter))
        config_report_add(report, draft->exporter_place,
                          "exporter.listen: %s cannot be bound for TCP; write an address of this machine",
                          text);
    for (uint32_t i = 0; i < draft->bind_count; i++)
        if (binds_collide(exporter, &draft->binds[i].row.endpoint))
            config_report_add(report, draft->exporter_place,
                              "exporter.listen: %s is taken by the listener of line %u; choose another port",
                              text, draft->binds[i].place.line);
}

static bool listener_is_local(const struct config_draft *draft, const struct image_listener *listener)
{
    uint32_t local = 0;

    for (uint32_t k = 0; k < listener->bind_count; k++)
        local += draft->binds[listener->bind_first + k].row.endpoint.family == ENDPOINT_UNIX;
    return local > 0 && local == listener->bind_count;
}

static bool pool_is_local(const struct config_draft *draft, const struct image_pool *pool)
{
    uint32_t local = 0;

    for (uint32_t k = 0; k < pool->server_count; k++)
        local += draft->servers[pool->server_first + k].row.address.family == ENDPOINT_UNIX;
    return local > 0 && local == pool->server_count;
}

/* Congestion control and zero-copy sends are TCP's. Beside TCP addresses a unix socket goes without; alone it is a
 * misunderstanding. */
static void tcp_keys_check(const struct config_draft *draft, struct config_report *report)
{
    static const char listener_text[] = "listeners[%u].%s: unix sockets have none, and this listener binds "
                                        "nothing else; leave it out";
    static const char pool_text[] =
        "pools[%u].%s: unix sockets have none, and this pool has no other servers; leave it out";

    for (uint32_t i = 0; i < draft->listener_count; i++) {
        const struct draft_listener *listener = &draft->listeners[i];
        bool local = listener_is_local(draft, &listener->row);

        if (listener->row.congestion[0] && local)
            config_report_add(report, listener->congestion_place, listener_text, i, "congestion");
        if (listener->row.buffers.receive && local)
            config_report_add(report, listener->buffer_places.receive, listener_text, i, "receive_buffer");
        if (listener->row.buffers.send && local)
            config_report_add(report, listener->buffer_places.send, listener_text, i, "send_buffer");
        if (listener->row.zero_copy && local)
            config_report_add(report, listener->zero_copy_place, listener_text, i, "zero_copy");
    }
    for (uint32_t i = 0; i < draft->pool_count; i++) {
        const struct draft_pool *pool = &draft->pools[i];
        bool local = pool_is_local(draft, &pool->row);

        if (pool->row.congestion[0] && local)
            config_report_add(report, pool->congestion_place, pool_text, i, "congestion");
        if (pool->row.buffers.receive && local)
            config_report_add(report, pool->buffer_places.receive, pool_text, i, "receive_buffer");
        if (pool->row.buffers.send && local)
            config_report_add(report, pool->buffer_places.send, pool_text, i, "send_buffer");
        if (pool->row.zero_copy && local)
            config_report_add(report, pool->zero_copy_place, pool_text, i, "zero_copy");
    }
}

/* What is set for a TIME_WAIT of our own has no effect where the kernel keeps it. */
static void time_wait_check(const struct config_draft *draft, struct config_report *report)
{
    static const char text[] = "time_wait.%s: has no effect where mode is kernel; leave it out";
    const struct image_time_wait *time_wait = &draft->head.time_wait;
    const struct draft_time_wait_places *places = &draft->time_wait_places;

    if (time_wait->mode != TIME_WAIT_KERNEL)
        return;
    if (time_wait->two_msl_ms != IMAGE_TWO_MSL_MS)
        config_report_add(report, places->two_msl,
                          "time_wait.two_msl: is always %ds where mode is kernel; leave it out",
                          IMAGE_TWO_MSL_MS / 1000);
    if (time_wait->interface_count > 0)
        config_report_add(report, places->interfaces, text, "interfaces");
    if (time_wait->cgroup[0])
        config_report_add(report, places->cgroup, text, "cgroup");
    if (time_wait->no_buckets)
        config_report_add(report, places->buckets, text, "tcp_max_tw_buckets");
}

static bool source_address_is_usable(const struct image_address *address)
{
    static const uint8_t any[16];
    bool link_local =
        address->family == ENDPOINT_V6 && address->bytes[0] == 0xfe && address->bytes[1] >> 6 == 2;
    bool multicast = address->family == ENDPOINT_V4 ? address->bytes[0] >= 224 : address->bytes[0] == 0xff;

    return !link_local && !multicast && memcmp(address->bytes, any, sizeof(any)) != 0;
}

static bool pool_has_family(const struct config_draft *draft, const struct image_pool *pool, uint8_t family)
{
    bool has = false;

    for (uint32_t i = 0; i < pool->server_count; i++)
        has = has || draft->servers[pool->server_first + i].row.address.family == family;
    return has;
}

static bool source_has_family(const struct image_source *source, uint8_t family)
{
    bool has = false;

    for (uint32_t i = 0; i < source->address_count; i++)
        has = has || source->addresses[i].family == family;
    return has;
}

static const char *family_text(uint8_t family)
{
    return family == ENDPOINT_V4 ? "IPv4" : "IPv6";
}

/* The first address that is the same as address `index`. */
static uint32_t source_find_same(const struct image_source *source, uint32_t index)
{
    uint32_t same = 0;

    while (memcmp(&source->addresses[same], &source->addresses[index], sizeof(source->addresses[0])) != 0)
        same++;
    return same;
}

static void source_addresses_check(const struct config_draft *draft, uint32_t index,
                                   struct config_report *report)
{
    const struct draft_pool *pool = &draft->pools[index];
    const struct image_source *source = &pool->row.source;

    for (uint32_t i = 0; i < source->address_count; i++) {
        const struct image_address *address = &source->addresses[i];
        uint32_t same = source_find_same(source, i);

        if (!source_address_is_usable(address))
            config_report_add(
                report, pool->source_places[i],
                "pools[%u].source.addresses[%u]: no connection can come from this address; write "
                "one of this machine",
                index, i);
        else if (same < i)
            config_report_add(
                report, pool->source_places[i],
                "pools[%u].source.addresses[%u]: this is the address of line %u already; write another",
                index, i, pool->source_places[same].line);
        else if (!pool_has_family(draft, &pool->row, address->family))
            config_report_add(
                report, pool->source_places[i],
                "pools[%u].source.addresses[%u]: no server of the pool has an %s address; leave this one out",
                index, i, family_text(address->family));
    }
}

/* The server decides the family: each must have an address to be connected to from. */
static void source_families_check(const struct config_draft *draft, uint32_t index,
                                  struct config_report *report)
{
    static const uint8_t families[] = {ENDPOINT_V4, ENDPOINT_V6};
    const struct draft_pool *pool = &draft->pools[index];

    for (size_t i = 0; i < sizeof(families); i++)
        if (pool->row.source.address_count > 0 && pool_has_family(draft, &pool->row, families[i]) &&
            !source_has_family(&pool->row.source, families[i]))
            config_report_add(report, pool->source_place,
                              "pools[%u].source.addresses: servers of the pool have %s addresses; add an %s "
                              "address of this machine",
                              index, family_text(families[i]), family_text(families[i]));
}

static void sources_check(const struct config_draft *draft, struct config_report *report)
{
    for (uint32_t i = 0; i < draft->pool_count; i++) {
        const struct draft_pool *pool = &draft->pools[i];
        const struct image_source *source = &pool->row.source;
        uint32_t ports = (uint32_t)source->port_high - source->port_low + 1;

        if (pool->source_place.line != 0 && pool_is_local(draft, &pool->row)) {
            config_report_add(
                report, pool->source_place,
                "pools[%u].source: unix sockets have none, and this pool has no other servers; leave it out",
                i);
            continue;
        }
        source_addresses_check(draft, i, report);
        source_families_check(draft, i, report);
        if (source->port_low > 0 && ports < draft->head.workers)
            config_report_add(
                report, pool->source_ports_place,
                "pools[%u].source.ports: %u ports are not enough for %u workers, which have a part "
                "each; write at least %u",
                i, ports, draft->head.workers, draft->head.workers);
    }
}

void config_rules_check(struct config_draft *draft, struct config_report *report)
{
    names_check_listeners(draft, report);
    names_check_pools(draft, report);
    routes_resolve(draft, report);
    addresses_check(draft, report);
    binds_check(draft, report);
    for (uint32_t i = 0; i < draft->pool_count; i++)
        servers_check(draft, i, report);
    loops_check(draft, report);
    tcp_keys_check(draft, report);
    sources_check(draft, report);
    flows_check(draft, report);
    exporter_check(draft, report);
    time_wait_check(draft, report);
}
