/*
 * The keys of a configuration: one table for each mapping, and the readers of what is more than a plain value.
 *
 * What a key means to whoever writes one is said in config/README.md.
 */
#include "config/draft.h"
#include "config/schema.h"

#include <string.h>

#define SESSIONS_MAX        10000000u
#define SESSIONS_DEFAULT    8000u
#define FLOWS_MAX           1000000000u
#define BUFFERS_MIN         (1024u * 1024)
#define BUFFERS_MAX         (1024ull * 1024 * 1024 * 1024)
#define BUFFERS_DEFAULT     (256u * 1024 * 1024)
#define BACKLOG_MAX         65535u
#define BACKLOG_DEFAULT     4096u
#define WATCHDOG_DEFAULT_MS (10u * 1000)
#define RETRIES_DEFAULT     3u
#define EXPORTER_DEFAULT    "127.0.0.1:9464"

#define SCHEMA(table)                                                \
    {                                                                \
        .keys = (table), .count = sizeof(table) / sizeof((table)[0]) \
    }
#define CHECK_TABLE(table)                                                \
    _Static_assert(sizeof(table) / sizeof((table)[0]) <= CONFIG_KEYS_MAX, \
                   #table " fits the list of seen keys")

/* Where a row has the value, and where it notes the place of it in the file. */
#define MEMBER(row, member) .offset = offsetof(struct row, member)
#define PLACE(row, member)  .place = offsetof(struct row, member)

/* The same four words at three levels; the row is a struct image_timeouts. */
#define TIMEOUT(level_name, member)                                                                         \
    {                                                                                                       \
        .name = level_name, .read = config_read_duration, .offset = offsetof(struct image_timeouts, member) \
    }
#define TIMEOUT_REFUSED(level_name, where)                                 \
    {                                                                      \
        .name = level_name, .refusal = "it belongs to the timeouts " where \
    }

/* What listeners say of their clients' sockets, and pools of their servers'. */
#define CONGESTION(row_type)                                                                    \
    {                                                                                           \
        .name = "congestion", .read = config_read_congestion, MEMBER(row_type, row.congestion), \
        PLACE(row_type, congestion_place), .max = IMAGE_CONGESTION_MAX                          \
    }
#define SOCKET_BUFFER(row_type, key_name, way)                                                  \
    {                                                                                           \
        .name = key_name, .read = config_read_socket_buffer, MEMBER(row_type, row.buffers.way), \
        PLACE(row_type, buffer_places.way)                                                      \
    }
#define ZERO_COPY(row_type)                                                                \
    {                                                                                      \
        .name = "zero_copy", .read = config_read_boolean, MEMBER(row_type, row.zero_copy), \
        PLACE(row_type, zero_copy_place)                                                   \
    }

static const struct image_timeouts inherit_all = {IMAGE_INHERIT, IMAGE_INHERIT, IMAGE_INHERIT, IMAGE_INHERIT};

static const struct config_key timeout_keys[] = {
    TIMEOUT("connect", connect_ms),
    TIMEOUT("idle", idle_ms),
    TIMEOUT("half_closed", half_closed_ms),
    TIMEOUT("drain", drain_ms),
};
static const struct config_schema timeout_schema = SCHEMA(timeout_keys);

static const struct config_key listener_timeout_keys[] = {
    TIMEOUT("idle", idle_ms),
    TIMEOUT("half_closed", half_closed_ms),
    TIMEOUT_REFUSED("connect", "of a pool or of the top level"),
    TIMEOUT_REFUSED("drain", "of the top level"),
};
static const struct config_schema listener_timeout_schema = SCHEMA(listener_timeout_keys);

static const struct config_key pool_timeout_keys[] = {
    TIMEOUT("connect", connect_ms),
    TIMEOUT("idle", idle_ms),
    TIMEOUT("half_closed", half_closed_ms),
    TIMEOUT_REFUSED("drain", "of the top level"),
};
static const struct config_schema pool_timeout_schema = SCHEMA(pool_timeout_keys);

/* Reads an address; false leaves `endpoint` alone. */
static bool address_read(struct config_reader *reader, const struct config_node *node,
                         struct endpoint *endpoint)
{
    const char *text = config_scalar_text(reader, node, "an address, as in 192.0.2.1:80");
    struct config_why why;

    if (!text)
        return false;
    if (config_value_address(text, endpoint, &why) == 0)
        return true;
    config_reader_refuse(reader, node->place, "%s", why.text);
    return false;
}

/* ---- listeners ---- */

static void bind_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    struct config_draft *draft = reader->draft;
    struct draft_listener *listener = target;
    struct draft_bind *bind;

    if (draft->bind_count == IMAGE_BINDS_MAX) {
        config_reader_refuse(reader, node->place,
                             "too many addresses to bind; at most %d are possible in all", IMAGE_BINDS_MAX);
        return;
    }
    bind = &draft->binds[draft->bind_count];
    if (!address_read(reader, node, &bind->row.endpoint))
        return;
    bind->row.listener = (uint32_t)(listener - draft->listeners);
    bind->place = node->place;
    draft->bind_count++;
    listener->row.bind_count++;
}

static CONFIG_READER(read_binds)
{
    (void)key;
    if (value->kind == CONFIG_LIST)
        config_list_read(reader, value, IMAGE_BINDS_MAX, "addresses", bind_read, target);
    else
        bind_read(reader, value, target);
}

static const struct config_key route_keys[] = {
    {.name = "pool",
     .example = "pool: app",
     .read = config_read_name,
     MEMBER(draft_listener, pool_name),
     PLACE(draft_listener, pool_place),
     .max = IMAGE_NAME_MAX},
    {.name = "sni"},
};
static const struct config_schema route_schema = SCHEMA(route_keys);

static void route_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    config_schema_read(reader, &route_schema, node, target);
}

static CONFIG_READER(read_routes)
{
    (void)key;
    if (value->kind == CONFIG_LIST && value->count > 1)
        config_reader_refuse(
            reader, value->first->next->place,
            "more than one route is not supported by this version; write just '- pool: NAME'");
    else
        config_list_read(reader, value, 1, "routes", route_read, target);
}

static const struct config_key listener_keys[] = {
    {.name = "name",
     .example = "name: web",
     .read = config_read_name,
     MEMBER(draft_listener, row.name),
     PLACE(draft_listener, name_place),
     .max = IMAGE_NAME_MAX},
    {.name = "bind", .example = "bind: 0.0.0.0:8080", .read = read_binds},
    {.name = "routes", .example = "routes: [ { pool: app } ]", .read = read_routes},
    {.name = "timeouts",
     .read = config_read_mapping,
     MEMBER(draft_listener, row.timeouts),
     .schema = &listener_timeout_schema},
    {.name = "accept_proxy"},
    {.name = "allow"},
    {.name = "deny"},
    {.name = "max_sessions"},
    {.name = "rate"},
    CONGESTION(draft_listener),
    SOCKET_BUFFER(draft_listener, "receive_buffer", receive),
    SOCKET_BUFFER(draft_listener, "send_buffer", send),
    ZERO_COPY(draft_listener),
    {.name = "pool", .refusal = "write 'routes: [ { pool: NAME } ]'"},
    {.name = "address", .refusal = "write 'bind: ADDRESS:PORT'"},
};
static const struct config_schema listener_schema = SCHEMA(listener_keys);

static void listener_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    struct config_draft *draft = target;
    struct draft_listener *listener = &draft->listeners[draft->listener_count++];

    listener->row.timeouts = inherit_all;
    listener->row.bind_first = draft->bind_count;
    config_schema_read(reader, &listener_schema, node, listener);
}

static CONFIG_READER(read_listeners)
{
    (void)key;
    config_list_read(reader, value, IMAGE_LISTENERS_MAX, "listeners", listener_read, target);
}

/* ---- pools ---- */

static CONFIG_READER(read_server_address)
{
    struct draft_server *server = target;

    (void)key;
    server->place = value->place;
    address_read(reader, value, &server->row.address);
}

static const struct config_key server_keys[] = {
    {.name = "address", .example = "address: 127.0.0.1:9001", .read = read_server_address},
    {.name = "weight",
     .read = config_read_u32,
     MEMBER(draft_server, row.weight),
     .min = 1,
     .max = IMAGE_WEIGHT_MAX},
    {.name = "backup", .read = config_read_boolean, MEMBER(draft_server, row.backup)},
    {.name = "max_sessions"},
    {.name = "resolve"},
};
static const struct config_schema server_schema = SCHEMA(server_keys);

static void server_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    struct config_draft *draft = reader->draft;
    struct draft_pool *pool = target;
    struct draft_server *server;

    if (draft->server_count == IMAGE_SERVERS_MAX) {
        config_reader_refuse(reader, node->place, "too many servers; at most %d are possible in all",
                             IMAGE_SERVERS_MAX);
        return;
    }
    server = &draft->servers[draft->server_count++];
    server->row.weight = 1;
    pool->row.server_count++;
    if (node->kind == CONFIG_SCALAR)
        read_server_address(reader, NULL, node, server);
    else
        config_schema_read(reader, &server_schema, node, server);
}

static CONFIG_READER(read_servers)
{
    (void)key;
    config_list_read(reader, value, IMAGE_SERVERS_MAX, "servers", server_read, target);
}

static const struct config_choice balances[] = {
    {"round_robin", BALANCE_ROUND_ROBIN},      {"least_sessions", BALANCE_LEAST_SESSIONS},
    {"random_two", CONFIG_CHOICE_UNSUPPORTED}, {"source_hash", CONFIG_CHOICE_UNSUPPORTED},
    {"maglev", CONFIG_CHOICE_UNSUPPORTED},     {NULL, 0},
};

static void source_address_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    struct draft_pool *pool = target;
    struct image_source *source = &pool->row.source;
    const char *text = config_scalar_text(reader, node, "an address, as in 192.0.2.1");
    struct config_why why;

    if (!text)
        return;
    if (config_value_ip(text, &source->addresses[source->address_count], &why) < 0) {
        config_reader_refuse(reader, node->place, "%s", why.text);
        return;
    }
    pool->source_places[source->address_count++] = node->place;
}

static CONFIG_READER(read_source_addresses)
{
    (void)key;
    config_list_read(reader, value, IMAGE_SOURCES_MAX, "addresses", source_address_read, target);
}

static CONFIG_READER(read_source_ports)
{
    struct image_source *source = &((struct draft_pool *)target)->row.source;
    const char *text =
        config_scalar_text(reader, value, "the lowest and the highest port, as in 20000-60999");
    struct config_why why;

    (void)key;
    if (text && config_value_ports(text, &source->port_low, &source->port_high, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

static const struct config_key source_keys[] = {
    {.name = "addresses", .read = read_source_addresses},
    {.name = "ports", .read = read_source_ports, PLACE(draft_pool, source_ports_place)},
};
static const struct config_schema source_schema = SCHEMA(source_keys);

static const struct config_key pool_keys[] = {
    {.name = "name",
     .example = "name: app",
     .read = config_read_name,
     MEMBER(draft_pool, row.name),
     PLACE(draft_pool, name_place),
     .max = IMAGE_NAME_MAX},
    {.name = "servers",
     .example = "servers: [ 127.0.0.1:9001 ]",
     .read = read_servers,
     PLACE(draft_pool, servers_place)},
    {.name = "balance", .read = config_read_choice, MEMBER(draft_pool, row.balance), .choices = balances},
    {.name = "retries", .read = config_read_u32, MEMBER(draft_pool, row.retries), .max = IMAGE_RETRIES_MAX},
    {.name = "timeouts",
     .read = config_read_mapping,
     MEMBER(draft_pool, row.timeouts),
     .schema = &pool_timeout_schema},
    {.name = "health"},
    {.name = "eject"},
    {.name = "send_proxy"},
    {.name = "source",
     .read = config_read_mapping,
     PLACE(draft_pool, source_place),
     .schema = &source_schema},
    CONGESTION(draft_pool),
    SOCKET_BUFFER(draft_pool, "receive_buffer", receive),
    SOCKET_BUFFER(draft_pool, "send_buffer", send),
    ZERO_COPY(draft_pool),
};
static const struct config_schema pool_schema = SCHEMA(pool_keys);

static void pool_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    struct config_draft *draft = target;
    struct draft_pool *pool = &draft->pools[draft->pool_count++];

    pool->row.timeouts = inherit_all;
    pool->row.retries = RETRIES_DEFAULT;
    pool->row.server_first = draft->server_count;
    config_schema_read(reader, &pool_schema, node, pool);
}

static CONFIG_READER(read_pools)
{
    (void)key;
    config_list_read(reader, value, IMAGE_POOLS_MAX, "pools", pool_read, target);
}

/* ---- the top level ---- */

static CONFIG_READER(read_workers)
{
    const char *text = config_scalar_text(reader, value, "auto or a whole number");
    uint32_t *workers = (uint32_t *)((char *)target + key->offset);

    if (text && strcmp(text, "auto") == 0)
        *workers = reader->workers_auto;
    else if (text)
        config_read_u32(reader, key, value, target);
}

/* "syslog" is short for the socket that is usual. */
static void syslog_read(struct config_reader *reader, const struct config_node *value, const char *text,
                        char *path)
{
    const size_t prefix = sizeof(IMAGE_SYSLOG) - 1;
    char quote[CONFIG_QUOTE_MAX];
    struct config_why why;

    if (strcmp(text, "syslog") == 0)
        text = IMAGE_SYSLOG "/dev/log";
    if (config_value_path(text + prefix, path + prefix, ENDPOINT_PATH_MAX + 1, &why) == 0)
        memcpy(path, IMAGE_SYSLOG, prefix);
    else
        config_reader_refuse(reader, value->place,
                             "'%s' names no socket; write syslog, or syslog: and the absolute path of a "
                             "socket of at most %d bytes, as in syslog:/dev/log",
                             config_quote(quote, text), ENDPOINT_PATH_MAX);
}

/* "off", "stderr" and "syslog" are words; all else is a path. */
static CONFIG_READER(read_access)
{
    const char *text = config_scalar_text(reader, value, "off, stderr, syslog or a path");
    char *path = (char *)target + key->offset;
    struct config_why why;

    if (!text)
        return;
    if (strcmp(text, "off") == 0)
        memcpy(path, "off", sizeof("off"));
    else if (strcmp(text, "stderr") == 0)
        path[0] = '\0';
    else if (strcmp(text, "syslog") == 0 || strncmp(text, IMAGE_SYSLOG, sizeof(IMAGE_SYSLOG) - 1) == 0)
        syslog_read(reader, value, text, path);
    else if (config_value_path(text, path, IMAGE_PATH_MAX, &why) < 0)
        config_reader_refuse(reader, value->place, "%s, or off, stderr or syslog", why.text);
}

static const struct config_key limit_keys[] = {
    {.name = "sessions",
     .read = config_read_u64,
     MEMBER(config_draft, head.sessions_limit),
     PLACE(config_draft, positions.sessions),
     .min = 1,
     .max = SESSIONS_MAX},
    {.name = "flows",
     .read = config_read_u64,
     MEMBER(config_draft, head.flows_limit),
     PLACE(config_draft, positions.flows),
     .min = 1,
     .max = FLOWS_MAX},
    {.name = "buffers",
     .read = config_read_size,
     MEMBER(config_draft, head.buffer_bytes_limit),
     PLACE(config_draft, positions.buffers),
     .min = BUFFERS_MIN,
     .max = BUFFERS_MAX},
    {.name = "backlog",
     .read = config_read_u32,
     MEMBER(config_draft, head.backlog),
     .min = 1,
     .max = BACKLOG_MAX},
};
static const struct config_schema limit_schema = SCHEMA(limit_keys);

static const struct config_choice log_levels[] = {
    {"error", LOG_LEVEL_ERROR},
    {"warning", LOG_LEVEL_WARNING},
    {"info", LOG_LEVEL_INFO},
    {"debug", LOG_LEVEL_DEBUG},
    {NULL, 0},
};

static const struct config_choice access_formats[] = {
    {"text", ACCESS_TEXT},
    {"json", ACCESS_JSON},
    {NULL, 0},
};

static const struct config_key log_keys[] = {
    {.name = "level",
     .read = config_read_choice,
     MEMBER(config_draft, head.log_level),
     .choices = log_levels},
    {.name = "access", .read = read_access, MEMBER(config_draft, head.access_path)},
    {.name = "format",
     .read = config_read_choice,
     MEMBER(config_draft, head.access_format),
     .choices = access_formats},
};
static const struct config_schema log_schema = SCHEMA(log_keys);

static CONFIG_READER(read_exporter_listen)
{
    struct config_draft *draft = target;

    (void)key;
    draft->exporter_place = value->place;
    (void)address_read(reader, value, &draft->head.exporter);
}

static const struct config_key exporter_keys[] = {
    {.name = "listen", .read = read_exporter_listen},
};
static const struct config_schema exporter_schema = SCHEMA(exporter_keys);

static CONFIG_READER(read_exporter)
{
    struct config_draft *draft = target;
    struct config_why why;

    draft->exporter_place = value->place;
    (void)config_value_address(EXPORTER_DEFAULT, &draft->head.exporter, &why);
    config_read_mapping(reader, key, value, target);
}

static CONFIG_READER(read_two_msl)
{
    const char *text = config_scalar_text(reader, value, "a duration, as in 60s");
    uint32_t *two_msl_ms = (uint32_t *)((char *)target + key->offset);
    struct config_why why;

    if (text &&
        config_value_duration_within(text, IMAGE_TWO_MSL_MIN_MS, IMAGE_TWO_MSL_MAX_MS, two_msl_ms, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

static void interface_read(struct config_reader *reader, const struct config_node *node, void *target)
{
    const char *text = config_scalar_text(reader, node, "the name of an interface, as in eth0");
    struct image_time_wait *time_wait = target;
    char(*names)[IMAGE_INTERFACE_MAX] = time_wait->interfaces;
    struct config_why why;

    if (!text)
        return;
    if (config_value_interface(text, names[time_wait->interface_count], IMAGE_INTERFACE_MAX, &why) < 0) {
        config_reader_refuse(reader, node->place, "%s", why.text);
        return;
    }
    for (uint32_t i = 0; i < time_wait->interface_count; i++) {
        if (strcmp(names[i], text) == 0) {
            config_reader_refuse(reader, node->place, "'%s' is given already; write it once", text);
            return;
        }
    }
    time_wait->interface_count++;
}

/* Whether the value is the word "auto". */
static bool value_is_auto(const struct config_node *value)
{
    return value->kind == CONFIG_SCALAR && strcmp(value->text, "auto") == 0;
}

static CONFIG_READER(read_interfaces)
{
    struct config_draft *draft = target;
    struct image_time_wait *time_wait = &draft->head.time_wait;

    (void)key;
    if (value_is_auto(value))
        return;
    draft->time_wait_places.interfaces = value->place;
    if (value->kind == CONFIG_LIST)
        config_list_read(reader, value, IMAGE_INTERFACES_MAX, "interfaces", interface_read, time_wait);
    else if (config_scalar_text(reader, value, "auto or a list of interfaces"))
        config_reader_refuse(reader, value->place, "write auto or a list of interfaces, as in [ eth0, lo ]");
}

static CONFIG_READER(read_cgroup)
{
    struct config_draft *draft = target;
    const char *text = config_scalar_text(reader, value, "auto or the path of a cgroup");
    struct config_why why;

    (void)key;
    if (!text || value_is_auto(value))
        return;
    draft->time_wait_places.cgroup = value->place;
    if (config_value_directory(text, draft->head.time_wait.cgroup, IMAGE_PATH_MAX, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

/* Only 0 can be asked for; the kernel's own value is there without asking. */
static CONFIG_READER(read_buckets)
{
    const char *text = config_scalar_text(reader, value, "0");
    struct config_draft *draft = target;
    char quote[CONFIG_QUOTE_MAX];

    (void)key;
    if (!text)
        return;
    draft->head.time_wait.no_buckets = strcmp(text, "0") == 0;
    if (!draft->head.time_wait.no_buckets)
        config_reader_refuse(reader, value->place, "'%s' is not possible; write 0, or leave it out",
                             config_quote(quote, text));
}

static const struct config_choice time_wait_modes[] = {
    {"auto", TIME_WAIT_AUTO},
    {"owned", TIME_WAIT_OWNED},
    {"kernel", TIME_WAIT_KERNEL},
    {NULL, 0},
};

static const struct config_key time_wait_keys[] = {
    {.name = "mode",
     .read = config_read_choice,
     MEMBER(config_draft, head.time_wait.mode),
     .choices = time_wait_modes},
    {.name = "two_msl",
     .read = read_two_msl,
     MEMBER(config_draft, head.time_wait.two_msl_ms),
     PLACE(config_draft, time_wait_places.two_msl)},
    {.name = "interfaces", .read = read_interfaces},
    {.name = "cgroup", .read = read_cgroup},
    {.name = "tcp_max_tw_buckets", .read = read_buckets, PLACE(config_draft, time_wait_places.buckets)},
};
static const struct config_schema time_wait_schema = SCHEMA(time_wait_keys);

static const struct config_key top_keys[] = {
    {.name = "name",
     .example = "name: edge",
     .read = config_read_name,
     MEMBER(config_draft, head.name),
     .max = IMAGE_NAME_MAX},
    {.name = "workers",
     .read = read_workers,
     MEMBER(config_draft, head.workers),
     PLACE(config_draft, positions.workers),
     .min = 1,
     .max = IMAGE_WORKERS_MAX},
    {.name = "user", .read = config_read_name, MEMBER(config_draft, head.user), .max = IMAGE_NAME_MAX},
    {.name = "spin",
     .read = config_read_microseconds,
     MEMBER(config_draft, head.spin_us),
     .max = IMAGE_SPIN_MAX_US},
    {.name = "watchdog",
     .read = config_read_duration,
     MEMBER(config_draft, head.watchdog_ms),
     .min = IMAGE_WATCHDOG_MIN_MS},
    {.name = "limits", .read = config_read_mapping, .schema = &limit_schema},
    {.name = "log", .read = config_read_mapping, .schema = &log_schema},
    {.name = "timeouts",
     .read = config_read_mapping,
     MEMBER(config_draft, head.timeouts),
     .schema = &timeout_schema},
    {.name = "listeners", .example = "listeners: [ ... ]", .read = read_listeners},
    {.name = "pools", .example = "pools: [ ... ]", .read = read_pools},
    {.name = "exporter", .read = read_exporter, .schema = &exporter_schema},
    {.name = "time_wait", .read = config_read_mapping, .schema = &time_wait_schema},
    {.name = "sessions", .refusal = "it belongs to 'limits'"},
    {.name = "buffers", .refusal = "it belongs to 'limits'"},
    {.name = "backlog", .refusal = "it belongs to 'limits'"},
};
static const struct config_schema top_schema = SCHEMA(top_keys);

CHECK_TABLE(listener_keys);
CHECK_TABLE(pool_keys);
CHECK_TABLE(top_keys);

void config_draft_read(struct config_draft *draft, const struct config_node *root,
                       const struct config_options *options, struct config_report *report)
{
    uint32_t workers = options->cpus < IMAGE_WORKERS_MAX ? options->cpus : IMAGE_WORKERS_MAX;
    struct config_reader reader = {
        .report = report, .draft = draft, .workers_auto = workers > 0 ? workers : 1};

    draft->head = (struct image){
        .magic = IMAGE_MAGIC,
        .workers = reader.workers_auto,
        .backlog = BACKLOG_DEFAULT,
        .sessions_limit = SESSIONS_DEFAULT,
        .buffer_bytes_limit = BUFFERS_DEFAULT,
        .timeouts = {.connect_ms = 5 * 1000,
                     .idle_ms = 3600 * 1000,
                     .half_closed_ms = 30 * 1000,
                     .drain_ms = 0},
        .log_level = LOG_LEVEL_INFO,
        .watchdog_ms = WATCHDOG_DEFAULT_MS,
        .time_wait = {.two_msl_ms = IMAGE_TWO_MSL_MS},
    };
    config_schema_read(&reader, &top_schema, root, draft);
}
