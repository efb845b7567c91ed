#include "cmd/exporter/sessions.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/exporter/json.h"
#include "cmd/source.h"
#include "config/value.h"
#include "shm/name_row.h"

static bool read_phase(const char *value, uint32_t *phase)
{
    for (uint32_t i = SESSION_CHOOSING; i < SESSION_PHASE_COUNT; i++) {
        if (strcmp(session_phase_text(i), value) == 0) {
            *phase = i;
            return true;
        }
    }
    return false;
}

static bool read_source(const char *value, struct endpoint *source)
{
    if (inet_pton(AF_INET, value, source->bytes) == 1) {
        source->family = ENDPOINT_V4;
    } else if (inet_pton(AF_INET6, value, source->bytes) == 1) {
        source->family = ENDPOINT_V6;
    } else if (strcmp(value, "unix") == 0) {
        source->family = ENDPOINT_UNIX;
    }
    return source->family != ENDPOINT_NONE;
}

int session_filter_set(struct session_filter *filter, const char *key, const char *value, const char **why)
{
    struct config_why duration;

    if (strcmp(key, "listener") == 0) {
        filter->listener = value;
    } else if (strcmp(key, "pool") == 0) {
        filter->pool = value;
    } else if (strcmp(key, "state") == 0) {
        *why = "a state is choosing, connecting, open or closing";
        return read_phase(value, &filter->phase) ? 0 : -EINVAL;
    } else if (strcmp(key, "older_than") == 0) {
        *why = "a duration is a whole number with ms, s, m, h or d, as in 30s";
        return config_value_duration(value, &filter->older_than_ms, &duration);
    } else if (strcmp(key, "source") == 0) {
        *why = "a source is an IP address without a port, or unix";
        return read_source(value, &filter->source) ? 0 : -EINVAL;
    } else {
        *why = "sessions can be chosen by listener, pool, state, older_than and source";
        return -EINVAL;
    }
    return 0;
}

static const char *name_of(const struct region *region, enum name_kind kind, uint16_t row)
{
    const struct name_row *entry = region_name(region, kind, row);

    return entry != NULL && entry->name[0] != '\0' ? entry->name : "-";
}

static bool source_passes(const struct endpoint *wanted, const struct session *session)
{
    size_t length = wanted->family == ENDPOINT_V4 ? 4 : wanted->family == ENDPOINT_V6 ? 16 : 0;

    return wanted->family == ENDPOINT_NONE || (session->source_family == wanted->family &&
                                               memcmp(session->source_address, wanted->bytes, length) == 0);
}

static bool passes(const struct session_filter *filter, const struct region *region,
                   const struct session *session, uint64_t now_us)
{
    return (filter->phase == SESSION_FREE || session->phase == filter->phase) &&
           (filter->older_than_ms == 0 ||
            session->accepted_us + (uint64_t)filter->older_than_ms * 1000 <= now_us) &&
           source_passes(&filter->source, session) &&
           (filter->listener == NULL ||
            strcmp(name_of(region, NAME_LISTENER, session->listener_row), filter->listener) == 0) &&
           (filter->pool == NULL || strcmp(name_of(region, NAME_POOL, session->pool_row), filter->pool) == 0);
}

bool session_filter_next(const struct session_filter *filter, struct session_walk *walk, uint64_t now_us,
                         struct session *session)
{
    while (session_walk_next(walk, session)) {
        if (passes(filter, walk->region, session, now_us)) {
            return true;
        }
    }
    return false;
}

void session_names_find(struct session_names *names, const struct region *region,
                        const struct session *session)
{
    names->listener = name_of(region, NAME_LISTENER, session->listener_row);
    names->pool = name_of(region, NAME_POOL, session->pool_row);
    names->server = name_of(region, NAME_SERVER, session->server_row);
    (void)source_format(names->source, sizeof(names->source), session->source_family, session->source_port,
                        session->source_address);
}

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

void session_print_json(FILE *out, const struct session_walk *walk, const struct session *session,
                        uint64_t now_us)
{
    const struct conn *client = &session->conn[SIDE_CLIENT];
    const struct conn *server = &session->conn[SIDE_SERVER];
    struct session_names names;

    session_names_find(&names, walk->region, session);
    fprintf(out, "{\"worker\":%u,\"serial\":%" PRIu64 ",\"state\":\"%s\",\"listener\":", walk->slot,
            session->serial, session_phase_text(session->phase));
    json_string(out, names.listener);
    fprintf(out, ",\"pool\":");
    json_string(out, names.pool);
    fprintf(out, ",\"server\":");
    json_string(out, names.server);
    fprintf(out, ",\"source\":");
    json_string(out, names.source);
    fprintf(out,
            ",\"age_ms\":%" PRIu64 ",\"idle_ms\":%" PRIu64 ",\"client_bytes\":%" PRIu64
            ",\"server_bytes\":%" PRIu64
            ",\"client_queued_bytes\":%u,\"server_queued_bytes\":%u,\"tries\":%u}",
            since(session->accepted_us, now_us) / 1000, since(session->active_ms, now_us / 1000),
            client->received_bytes, server->received_bytes, client->queued_bytes, server->queued_bytes,
            session->tries);
}

/* What json_list_create() takes. */
struct items {
    struct session_filter filter;
    struct session_walk walk;
    uint64_t now_us;
};

static bool print_next(FILE *out, void *context)
{
    struct items *items = context;
    struct session session;

    if (!session_filter_next(&items->filter, &items->walk, items->now_us, &session)) {
        return false;
    }
    session_print_json(out, &items->walk, &session, items->now_us);
    return true;
}

struct json_list *session_json_list(const struct region *region, const struct session_filter *filter,
                                    uint64_t now_us)
{
    struct items *items = calloc(1, sizeof(*items));

    if (items != NULL) {
        items->filter = *filter;
        items->now_us = now_us;
        session_walk_begin(&items->walk, region);
    }
    return json_list_create(print_next, items);
}
