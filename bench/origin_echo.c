/*
 * Echo: sends back what it receives, and a FIN for the FIN once all is sent. What the socket does not take at
 * once waits in a buffer of at most ECHO_BYTES, allocated only then; while it waits nothing is read, so the
 * peer feels the back-pressure of its own bytes.
 */
#include "bench/origin_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ECHO_BYTES 65536

struct echo_rest {
    size_t begin;
    size_t end;
    uint8_t bytes[ECHO_BYTES];
};

static void echo_watch(struct origin_conn *conn)
{
    if (conn->buffer == NULL && conn->input_ended) {
        origin_conn_end(conn, ORIGIN_END_OK); /* all is sent: the close sends the FIN */
        return;
    }
    (void)origin_conn_watch(conn, conn->buffer != NULL ? EPOLLOUT : EPOLLIN);
}

/* False if the connection ended. */
static bool keep_rest(struct origin_conn *conn, const uint8_t *data, size_t length)
{
    struct echo_rest *rest = malloc(sizeof(*rest));
    if (rest == NULL) {
        origin_conn_end(conn, ORIGIN_END_NO_MEMORY);
        return false;
    }
    memcpy(rest->bytes, data, length);
    rest->begin = 0;
    rest->end = length;
    conn->buffer = rest;
    return true;
}

static bool echo_data(struct origin_conn *conn, const uint8_t *data, size_t length)
{
    ssize_t sent = origin_conn_send(conn, data, length);
    if (sent == -1)
        return false;
    size_t done = sent > 0 ? (size_t)sent : 0;
    return done == length || keep_rest(conn, data + done, length - done);
}

static bool echo_rest(struct origin_conn *conn)
{
    struct echo_rest *rest = conn->buffer;
    ssize_t sent = origin_conn_send(conn, rest->bytes + rest->begin, rest->end - rest->begin);
    if (sent == -1)
        return false;
    if (sent > 0)
        rest->begin += (size_t)sent;
    if (rest->begin == rest->end) {
        free(rest);
        conn->buffer = NULL;
    }
    return true;
}

static void echo_ready(struct origin_conn *conn, uint32_t events)
{
    (void)events;
    if (conn->buffer != NULL) {
        if (!echo_rest(conn))
            return;
    } else {
        ssize_t received = origin_conn_receive(conn, conn->origin->scratch, ECHO_BYTES);
        if (received == -1)
            return;
        if (received > 0 && !echo_data(conn, conn->origin->scratch, (size_t)received))
            return;
    }
    echo_watch(conn);
}

static void echo_start(struct origin_conn *conn)
{
    if (conn->head_length == 0 || echo_data(conn, conn->head, conn->head_length))
        echo_watch(conn);
}

const struct origin_service origin_service_echo = {"echo", echo_start, echo_ready, NULL};
