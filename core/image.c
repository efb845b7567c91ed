/*
 * The layout of a configuration image, the check of one that comes from elsewhere, and the lookup of timeouts.
 * Pure; used by every process.
 */
#include "core/image.h"

#include <string.h>

#define ALIGNED(bytes) (((bytes) + 7) & ~(size_t)7)

_Static_assert(ALIGNED(sizeof(struct image)) + IMAGE_LISTENERS_MAX * ALIGNED(sizeof(struct image_listener)) +
                       IMAGE_BINDS_MAX * ALIGNED(sizeof(struct image_bind)) +
                       IMAGE_POOLS_MAX * ALIGNED(sizeof(struct image_pool)) +
                       IMAGE_SERVERS_MAX * ALIGNED(sizeof(struct image_server)) <=
                   IMAGE_BYTES_MAX,
               "the largest image fits");

uint32_t image_layout(struct image *image, uint32_t listeners, uint32_t binds, uint32_t pools,
                      uint32_t servers)
{
    size_t offset = ALIGNED(sizeof(struct image));

    if (listeners > IMAGE_LISTENERS_MAX || binds > IMAGE_BINDS_MAX || pools > IMAGE_POOLS_MAX ||
        servers > IMAGE_SERVERS_MAX)
        return 0;
    image->listener_count = listeners;
    image->listener_offset = (uint32_t)offset;
    offset += ALIGNED(listeners * sizeof(struct image_listener));
    image->bind_count = binds;
    image->bind_offset = (uint32_t)offset;
    offset += ALIGNED(binds * sizeof(struct image_bind));
    image->pool_count = pools;
    image->pool_offset = (uint32_t)offset;
    offset += ALIGNED(pools * sizeof(struct image_pool));
    image->server_count = servers;
    image->server_offset = (uint32_t)offset;
    offset += ALIGNED(servers * sizeof(struct image_server));
    image->size = (uint32_t)offset;
    return image->size;
}

static uint32_t inherit(uint32_t own, uint32_t above)
{
    return own == IMAGE_INHERIT ? above : own;
}

static struct image_timeouts timeouts_inherit(struct image_timeouts own, struct image_timeouts above)
{
    return (struct image_timeouts){
        .connect_ms = inherit(own.connect_ms, above.connect_ms),
        .idle_ms = inherit(own.idle_ms, above.idle_ms),
        .half_closed_ms = inherit(own.half_closed_ms, above.half_closed_ms),
        .drain_ms = inherit(own.drain_ms, above.drain_ms),
    };
}

struct image_timeouts image_timeouts_of(const struct image *image, uint32_t listener, uint32_t pool)
{
    struct image_timeouts timeouts =
        timeouts_inherit(image_listener(image, listener)->timeouts, image->timeouts);

    return timeouts_inherit(image_pool(image, pool)->timeouts, timeouts);
}

uint64_t image_flows(const struct image *image)
{
    uint64_t by_sessions = image->sessions_limit * 2 * 100 / IMAGE_FLOW_LOAD_PERCENT;

    return image->flows_limit > 0 ? image->flows_limit : by_sessions;
}

bool image_has_rows(const struct image *image, uint16_t listener_row, uint16_t server_row)
{
    bool listener = false;
    bool server = server_row == ROW_NONE;

    for (uint32_t i = 0; i < image->listener_count && !listener; i++) {
        listener = image_listener(image, i)->row == listener_row;
    }
    for (uint32_t i = 0; i < image->server_count && !server; i++) {
        server = image_server(image, i)->row == server_row;
    }
    return listener && server;
}

bool image_clear_zero_copy(struct image *image)
{
    bool any = false;

    for (uint32_t i = 0; i < image->listener_count; i++) {
        struct image_listener *listener = (struct image_listener *)image_listener(image, i);
        any = any || listener->zero_copy != 0;
        listener->zero_copy = 0;
    }
    for (uint32_t i = 0; i < image->pool_count; i++) {
        struct image_pool *pool = (struct image_pool *)image_pool(image, i);
        any = any || pool->zero_copy != 0;
        pool->zero_copy = 0;
    }
    return any;
}

static bool text_check(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* Whether `count` rows from `first` on lie in a table of `total` rows. */
static bool range_check(uint32_t first, uint32_t count, uint32_t total)
{
    return first <= total && count <= total - first;
}

static bool endpoint_check(const struct endpoint *endpoint)
{
    switch (endpoint->family) {
    case ENDPOINT_UNIX:
        return endpoint->bytes[0] == '/' &&
               text_check((const char *)endpoint->bytes, sizeof(endpoint->bytes));
    case ENDPOINT_V4:
    case ENDPOINT_V6:
        return endpoint->port != 0;
    default:
        return false;
    }
}

static bool time_wait_check(const struct image_time_wait *time_wait)
{
    if (time_wait->mode > TIME_WAIT_KERNEL || time_wait->two_msl_ms < IMAGE_TWO_MSL_MIN_MS ||
        time_wait->two_msl_ms > IMAGE_TWO_MSL_MAX_MS || time_wait->no_buckets > 1 ||
        time_wait->interface_count > IMAGE_INTERFACES_MAX ||
        !text_check(time_wait->cgroup, sizeof(time_wait->cgroup)))
        return false;
    for (uint32_t i = 0; i < time_wait->interface_count; i++)
        if (!time_wait->interfaces[i][0] || !text_check(time_wait->interfaces[i], IMAGE_INTERFACE_MAX))
            return false;
    return true;
}

static bool head_check(const struct image *image)
{
    const struct image_timeouts *timeouts = &image->timeouts;

    return time_wait_check(&image->time_wait) &&
           (image->exporter.family == ENDPOINT_NONE || endpoint_check(&image->exporter)) &&
           text_check(image->name, sizeof(image->name)) && text_check(image->user, sizeof(image->user)) &&
           text_check(image->access_path, sizeof(image->access_path)) && image->workers >= 1 &&
           image->workers <= IMAGE_WORKERS_MAX && image->log_level <= LOG_LEVEL_DEBUG &&
           image->access_format <= ACCESS_JSON && image->spin_us <= IMAGE_SPIN_MAX_US &&
           timeouts->connect_ms != IMAGE_INHERIT && timeouts->idle_ms != IMAGE_INHERIT &&
           timeouts->half_closed_ms != IMAGE_INHERIT && timeouts->drain_ms != IMAGE_INHERIT;
}

/* Whether the offsets are those that image_layout gives for the counts, and the whole lies within `size`. */
static bool layout_check(const struct image *image, size_t size)
{
    struct image expected;
    uint32_t bytes = image_layout(&expected, image->listener_count, image->bind_count, image->pool_count,
                                  image->server_count);

    return bytes != 0 && bytes == image->size && bytes <= size &&
           image->listener_offset == expected.listener_offset && image->bind_offset == expected.bind_offset &&
           image->pool_offset == expected.pool_offset && image->server_offset == expected.server_offset;
}

static bool buffer_check(uint32_t bytes)
{
    return bytes == 0 || (bytes >= IMAGE_SOCKET_BUFFER_MIN && bytes <= IMAGE_SOCKET_BUFFER_MAX);
}

static bool buffers_check(const struct image_socket_buffers *buffers)
{
    return buffer_check(buffers->receive) && buffer_check(buffers->send);
}

static bool listeners_check(const struct image *image)
{
    for (uint32_t i = 0; i < image->listener_count; i++) {
        const struct image_listener *listener = image_listener(image, i);

        if (!text_check(listener->name, sizeof(listener->name)) ||
            !text_check(listener->congestion, sizeof(listener->congestion)) || listener->zero_copy > 1 ||
            !buffers_check(&listener->buffers) || listener->pool >= image->pool_count ||
            !range_check(listener->bind_first, listener->bind_count, image->bind_count))
            return false;
    }
    for (uint32_t i = 0; i < image->bind_count; i++) {
        const struct image_bind *bind = image_bind(image, i);

        if (!endpoint_check(&bind->endpoint) || bind->listener >= image->listener_count ||
            bind->place >= IMAGE_BINDS_MAX)
            return false;
    }
    return true;
}

static bool source_check(const struct image_source *source)
{
    if (source->port_low > source->port_high || (source->port_low == 0) != (source->port_high == 0) ||
        source->address_count > IMAGE_SOURCES_MAX)
        return false;
    for (uint32_t i = 0; i < source->address_count; i++)
        if (source->addresses[i].family != ENDPOINT_V4 && source->addresses[i].family != ENDPOINT_V6)
            return false;
    return true;
}

static bool pools_check(const struct image *image)
{
    for (uint32_t i = 0; i < image->pool_count; i++) {
        const struct image_pool *pool = image_pool(image, i);

        if (!text_check(pool->name, sizeof(pool->name)) ||
            !text_check(pool->congestion, sizeof(pool->congestion)) || pool->zero_copy > 1 ||
            !buffers_check(&pool->buffers) || pool->balance > BALANCE_LEAST_SESSIONS ||
            pool->retries > IMAGE_RETRIES_MAX || !source_check(&pool->source) ||
            !range_check(pool->server_first, pool->server_count, image->server_count))
            return false;
    }
    for (uint32_t i = 0; i < image->server_count; i++) {
        const struct image_server *server = image_server(image, i);

        if (!endpoint_check(&server->address) || server->weight < 1 || server->weight > IMAGE_WEIGHT_MAX ||
            server->backup > 1)
            return false;
    }
    return true;
}

bool image_check(const struct image *image, size_t size)
{
    return size >= sizeof(*image) && image->magic == IMAGE_MAGIC && layout_check(image, size) &&
           head_check(image) && listeners_check(image) && pools_check(image);
}
