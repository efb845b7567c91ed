/*
 * Finds out what a new connection wants: the magic of the stream protocol, an HTTP method, or echo. It waits
 * while the bytes so far are the beginning of one of the first two, so a client of echo that sends just "G"
 * waits too: --mode echo is for those.
 */
#include "bench/origin_service.h"

#include <errno.h>
#include <string.h>

/* Is data[0, length) the beginning of word, or word the beginning of data? */
static bool agrees(const uint8_t *data, size_t length, const char *word)
{
    size_t word_length = strlen(word);
    return memcmp(data, word, length < word_length ? length : word_length) == 0;
}

static const struct origin_service *detect_text(const struct origin_conn *conn)
{
    static const char *const methods[] = {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH "};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (!agrees(conn->head, conn->head_length, methods[i]))
            continue;
        return conn->head_length >= strlen(methods[i]) ? &origin_service_http : NULL;
    }
    return &origin_service_echo;
}

static const struct origin_service *service_of_kind(uint32_t kind)
{
    switch (kind) {
    case STREAM_KIND_STREAM:
        return &origin_service_stream;
    case STREAM_KIND_PINGPONG:
    case STREAM_KIND_REQUEST:
        return &origin_service_exchange;
    case STREAM_KIND_ENDLESS:
        return &origin_service_endless;
    default:
        return &origin_service_sink;
    }
}

/* The peer's FIN came before a decision: nothing at all is a probe of the port, the rest is echoed. */
static void decide_at_end(struct origin_conn *conn)
{
    if (conn->head_length == 0)
        origin_conn_end(conn, ORIGIN_END_OK);
    else if (conn->service == &origin_service_header || conn->head_length >= STREAM_MAGIC_BYTES)
        origin_conn_end(conn, ORIGIN_END_SHORT);
    else
        origin_conn_serve(conn, &origin_service_echo);
}

static void detect_ready(struct origin_conn *conn, uint32_t events)
{
    (void)events;
    ssize_t received =
        origin_conn_receive(conn, conn->head + conn->head_length, STREAM_HEADER_BYTES - conn->head_length);
    if (received == 0)
        decide_at_end(conn);
    if (received <= 0)
        return;
    conn->head_length += (uint32_t)received;

    if (agrees(conn->head, conn->head_length, STREAM_MAGIC)) {
        if (conn->head_length < STREAM_HEADER_BYTES)
            return;
        if (stream_header_decode(conn->head, &conn->header) != 0)
            origin_conn_end(conn, ORIGIN_END_BAD_HEADER);
        else
            origin_conn_serve(conn, service_of_kind(conn->header.kind));
        return;
    }
    if (conn->service == &origin_service_header) {
        origin_conn_end(conn, ORIGIN_END_BAD_HEADER);
        return;
    }
    const struct origin_service *service = detect_text(conn);
    if (service != NULL)
        origin_conn_serve(conn, service);
}

static void detect_start(struct origin_conn *conn)
{
    (void)origin_conn_watch(conn, EPOLLIN);
}

const struct origin_service origin_service_auto = {"auto", detect_start, detect_ready, NULL};
const struct origin_service origin_service_header = {"header", detect_start, detect_ready, NULL};

const struct origin_service *origin_service_find(const char *name)
{
    static const struct origin_service *const plain[] = {
        &origin_service_auto,  &origin_service_echo,  &origin_service_http,   &origin_service_sink,
        &origin_service_close, &origin_service_reset, &origin_service_silent,
    };
    static const char *const header_modes[] = {"stream", "pingpong", "endless", "header"};

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (strcmp(name, plain[i]->name) == 0)
            return plain[i];
    for (size_t i = 0; i < sizeof(header_modes) / sizeof(header_modes[0]); i++)
        if (strcmp(name, header_modes[i]) == 0)
            return &origin_service_header;
    return NULL;
}
