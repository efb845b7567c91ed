/*
 * Request and response by count of bytes: pingpong for ever, connect-request once. Requests are checked by
 * position; one that is wrong ends the connection.
 */
#include "bench/origin_service.h"

#include "bench/pattern.h"

#include <errno.h>

#define EXCHANGE_BYTES 65536

static void next_request(struct origin_conn *conn)
{
    conn->request_left = conn->header.request_bytes;
    conn->response_left = 0;
}

static void exchange_watch(struct origin_conn *conn)
{
    (void)origin_conn_watch(conn, conn->response_left > 0 ? EPOLLOUT : EPOLLIN);
}

/* The response is complete. False if the connection ended. */
static bool complete(struct origin_conn *conn)
{
    conn->origin->totals.exchanges++;
    if (conn->header.kind == STREAM_KIND_REQUEST) {
        /* Either end may close first; until the peer's FIN any further byte is a mistake. */
        if (conn->header.flags & STREAM_ORIGIN_CLOSES)
            origin_conn_finish(conn);
        conn->request_left = 0;
        return true;
    }
    next_request(conn);
    return true;
}

/* False if the connection ended. */
static bool send_response(struct origin_conn *conn)
{
    while (conn->response_left > 0) {
        size_t length = conn->response_left < EXCHANGE_BYTES ? conn->response_left : EXCHANGE_BYTES;
        stream_fill_download(&conn->header, conn->sent, conn->origin->scratch, length);
        ssize_t sent = origin_conn_send(conn, conn->origin->scratch, length);
        if (sent == -1)
            return false;
        if (sent == -EAGAIN)
            return true;
        conn->sent += (uint64_t)sent;
        conn->response_left -= (uint32_t)sent;
    }
    return complete(conn);
}

static bool begin_response(struct origin_conn *conn)
{
    conn->response_left = conn->header.response_bytes;
    return send_response(conn);
}

/* The FIN is in its place between two exchanges, and after the only one. */
static void end_of_input(struct origin_conn *conn)
{
    bool between = conn->header.kind == STREAM_KIND_REQUEST
                       ? conn->request_left == 0
                       : conn->request_left == conn->header.request_bytes;
    origin_conn_end(conn, between ? ORIGIN_END_OK : ORIGIN_END_SHORT);
}

/* False if the connection ended. */
static bool receive_request(struct origin_conn *conn)
{
    size_t length = conn->request_left < EXCHANGE_BYTES ? conn->request_left : EXCHANGE_BYTES;
    uint8_t *data = conn->origin->scratch;
    ssize_t received = origin_conn_receive(conn, data, length > 0 ? length : 1);
    if (received == -1)
        return false;
    if (received == 0) {
        end_of_input(conn);
        return false;
    }
    if (received == -EAGAIN)
        return true;
    if (length == 0 ||
        pattern_check(data, (size_t)received, conn->header.seed, conn->received) < (size_t)received) {
        origin_conn_end(conn, ORIGIN_END_MISMATCH);
        return false;
    }
    conn->received += (uint64_t)received;
    conn->request_left -= (uint32_t)received;
    return conn->request_left > 0 || begin_response(conn);
}

static void exchange_ready(struct origin_conn *conn, uint32_t events)
{
    (void)events;
    if (conn->response_left > 0 ? send_response(conn) : receive_request(conn))
        exchange_watch(conn);
}

static void exchange_start(struct origin_conn *conn)
{
    next_request(conn);
    if (conn->request_left > 0 || begin_response(conn))
        exchange_watch(conn);
}

const struct origin_service origin_service_exchange = {"exchange", exchange_start, exchange_ready, NULL};
