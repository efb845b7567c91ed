/*
 * The one-sided services: endless sends for ever, sink only receives, silent does nothing, close and reset
 * end the connection at once. That the peer cuts an endless stream short is its normal end.
 */
#include "bench/origin_service.h"

#include "bench/socket.h"

#include <errno.h>

#define FLOW_SEND_BYTES 65536

/* False if the connection ended. */
static bool discard_input(struct origin_conn *conn)
{
    return origin_conn_receive(conn, conn->origin->scratch, ORIGIN_SCRATCH_BYTES) != -1;
}

/* --- endless ----------------------------------------------------------------------------------------- */

static void endless_watch(struct origin_conn *conn)
{
    (void)origin_conn_watch(conn, conn->input_ended ? EPOLLOUT : EPOLLIN | EPOLLOUT);
}

static void endless_start(struct origin_conn *conn)
{
    conn->may_be_cut = true;
    endless_watch(conn);
}

static void endless_ready(struct origin_conn *conn, uint32_t events)
{
    static uint8_t unverified[ORIGIN_SCRATCH_BYTES];
    const uint8_t *data = unverified;
    size_t length = sizeof(unverified);

    if (events & (EPOLLERR | EPOLLHUP)) {
        origin_conn_end(conn, ORIGIN_END_OK);
        return;
    }
    if (events & EPOLLIN && !discard_input(conn))
        return;
    if (events & EPOLLOUT) {
        if ((conn->header.flags & STREAM_UNVERIFIED) == 0) {
            data = conn->origin->scratch;
            length = FLOW_SEND_BYTES;
            stream_fill_download(&conn->header, conn->sent, conn->origin->scratch, length);
        }
        ssize_t sent = origin_conn_send(conn, data, length);
        if (sent == -1)
            return;
        if (sent > 0)
            conn->sent += (uint64_t)sent;
    }
    endless_watch(conn);
}

const struct origin_service origin_service_endless = {"endless", endless_start, endless_ready, NULL};

/* --- sink -------------------------------------------------------------------------------------------- */

static void sink_start(struct origin_conn *conn)
{
    (void)origin_conn_watch(conn, EPOLLIN);
}

static void sink_ready(struct origin_conn *conn, uint32_t events)
{
    (void)events;
    if (!discard_input(conn))
        return;
    if (conn->input_ended)
        origin_conn_end(conn, ORIGIN_END_OK);
}

const struct origin_service origin_service_sink = {"sink", sink_start, sink_ready, NULL};

/* --- silent, close, reset ---------------------------------------------------------------------------- */

static void silent_start(struct origin_conn *conn)
{
    (void)origin_conn_watch(conn, EPOLLERR);
}

static void silent_ready(struct origin_conn *conn, uint32_t events)
{
    (void)events; /* an error or a hang-up: nothing else is watched */
    origin_conn_end(conn, ORIGIN_END_RESET);
}

const struct origin_service origin_service_silent = {"silent", silent_start, silent_ready, NULL};

static void close_start(struct origin_conn *conn)
{
    origin_conn_end(conn, ORIGIN_END_OK);
}

const struct origin_service origin_service_close = {"close", close_start, NULL, NULL};

static void reset_start(struct origin_conn *conn)
{
    socket_reset_on_close(conn->source.fd);
    origin_conn_end(conn, ORIGIN_END_OK);
}

const struct origin_service origin_service_reset = {"reset", reset_start, NULL, NULL};
