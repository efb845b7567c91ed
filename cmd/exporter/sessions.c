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

enum { ITEM_BYTES = 4096 }; /* more than one session as JSON takes, every character of its names escaped */

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

/* --- Streams ------------------------------------------------------------------------------------------------ */

struct session_stream {
    struct session_filter filter;
    struct session_walk walk;
    uint64_t now_us;
    uint64_t items;
    bool ended;
    FILE *out; /* writes into `text` */
    size_t used, read;
    char text[ITEM_BYTES];
};

struct session_stream *session_stream_create(const struct region *region, const struct session_filter *filter,
                                             uint64_t now_us)
{
    struct session_stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL) {
        return NULL;
    }
    stream->filter = *filter;
    stream->now_us = now_us;
    session_walk_begin(&stream->walk, region);
    stream->out = fmemopen(stream->text, sizeof(stream->text), "w");
    if (stream->out == NULL) {
        free(stream);
        return NULL;
    }
    return stream;
}

void session_stream_destroy(struct session_stream *stream)
{
    fclose(stream->out);
    free(stream);
}

/* Writes the next piece of the list into `text`. */
static void print_next(struct session_stream *stream)
{
    struct session session;

    rewind(stream->out);
    if (session_filter_next(&stream->filter, &stream->walk, stream->now_us, &session)) {
        fputs(stream->items++ == 0 ? "[\n" : ",\n", stream->out);
        session_print_json(stream->out, &stream->walk, &session, stream->now_us);
    } else {
        fputs(stream->items == 0 ? "[]\n" : "\n]\n", stream->out);
        stream->ended = true;
    }
    stream->used = (size_t)ftell(stream->out);
    stream->read = 0;
    fflush(stream->out);
}

size_t session_stream_read(struct session_stream *stream, char *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        if (stream->read == stream->used) {
            if (stream->ended) {
                break;
            }
            print_next(stream);
        }
        size_t part = stream->used - stream->read;
        part = part < size - done ? part : size - done;
        memcpy(buffer + done, stream->text + stream->read, part);
        stream->read += part;
        done += part;
    }
    return done;
}
