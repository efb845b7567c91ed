/*
 * The origin's end of a verified stream (bench/stream.h): checks the upload by position while it sends the
 * download, then tells the outcome in the trailer. Wrong or surplus bytes are reported once on stderr and
 * counted when the connection ends; the stream itself goes on, so that the client hears of it.
 */
#include "bench/origin_service.h"

#include "bench/pattern.h"

#include <errno.h>
#include <stdio.h>

#define STREAM_SEND_BYTES    65536
#define STREAM_RECEIVE_BYTES 131072
#define COMPLAINTS_MAX       20

static bool trailer_may_go(const struct origin_conn *conn)
{
    return conn->input_ended || (conn->header.flags & STREAM_ORIGIN_EARLY_FIN) != 0;
}

static bool wants_to_send(const struct origin_conn *conn)
{
    if (conn->output_ended)
        return false;
    return conn->sent < conn->header.download_bytes || trailer_may_go(conn);
}

static void end_stream(struct origin_conn *conn)
{
    enum origin_end end = ORIGIN_END_OK;
    if (conn->failed)
        end = conn->status == STREAM_STATUS_SHORT ? ORIGIN_END_SHORT : ORIGIN_END_MISMATCH;
    else
        conn->origin->totals.streams_verified++;
    origin_conn_end(conn, end);
}

static void stream_watch(struct origin_conn *conn)
{
    if (conn->input_ended && conn->output_ended) {
        end_stream(conn);
        return;
    }
    uint32_t events = wants_to_send(conn) ? EPOLLOUT : 0;
    if (!conn->input_ended && !conn->paused)
        events |= EPOLLIN;
    (void)origin_conn_watch(conn, events);
}

static void complain(struct origin_conn *conn, uint64_t status, uint64_t position)
{
    static unsigned complaints;
    conn->failed = true;
    conn->status = status;
    if (complaints++ < COMPLAINTS_MAX)
        fprintf(stderr, "origin: stream seed=%016llx upload=%llu %s at=%llu\n",
                (unsigned long long)conn->header.seed, (unsigned long long)conn->header.upload_bytes,
                status == STREAM_STATUS_SHORT  ? "ends-early"
                : status == STREAM_STATUS_LONG ? "has-surplus"
                                               : "wrong-byte",
                (unsigned long long)position);
}

static void check_upload(struct origin_conn *conn, const uint8_t *data, size_t length)
{
    uint64_t left =
        conn->header.upload_bytes > conn->received ? conn->header.upload_bytes - conn->received : 0;
    size_t part = length < left ? length : (size_t)left;

    if (!conn->failed) {
        size_t same = pattern_check(data, part, conn->header.seed, conn->received);
        if (same < part)
            complain(conn, STREAM_STATUS_MISMATCH, conn->received + same);
        else if (part < length)
            complain(conn, STREAM_STATUS_LONG, conn->received + part);
    }
    conn->received += length;
}

/* False if the connection ended. */
static bool receive_upload(struct origin_conn *conn)
{
    bool slow = (conn->header.flags & STREAM_ORIGIN_SLOW) != 0;
    size_t length = slow ? pacer_read_bytes(&conn->pacer, STREAM_RECEIVE_BYTES) : STREAM_RECEIVE_BYTES;
    ssize_t received = origin_conn_receive(conn, conn->origin->scratch, length);
    if (received == -1)
        return false;
    if (received == 0 && conn->received < conn->header.upload_bytes && !conn->failed)
        complain(conn, STREAM_STATUS_SHORT, conn->received);
    if (received > 0) {
        check_upload(conn, conn->origin->scratch, (size_t)received);
        uint32_t pause_ms = slow ? pacer_pause_ms(&conn->pacer) : 0;
        if (pause_ms > 0) {
            conn->paused = true;
            loop_timer_arm(conn->origin->loop, &conn->timer, pause_ms * LOOP_NS_PER_MS);
        }
    }
    return true;
}

/* Fills the scratch with what comes next: download bytes, then as much of the trailer as is due. */
static size_t fill_output(struct origin_conn *conn, uint8_t *out)
{
    uint64_t download = conn->header.download_bytes;
    size_t length = 0;

    if (conn->sent < download) {
        uint64_t left = download - conn->sent;
        length = left < STREAM_SEND_BYTES ? (size_t)left : STREAM_SEND_BYTES;
        stream_fill_download(&conn->header, conn->sent, out, length);
    }
    if (conn->sent + length < download || !trailer_may_go(conn))
        return length;

    struct stream_trailer trailer = {.status = conn->status, .received_bytes = conn->received};
    if ((conn->header.flags & STREAM_ORIGIN_EARLY_FIN) != 0) {
        /* Constant, since a partial send may be continued after more has been received. */
        trailer.status = STREAM_STATUS_EARLY;
        trailer.received_bytes = 0;
    }
    uint8_t encoded[STREAM_TRAILER_BYTES];
    stream_trailer_encode(&trailer, encoded);
    for (uint64_t at = conn->sent + length - download; at < STREAM_TRAILER_BYTES; at++)
        out[length++] = encoded[at];
    return length;
}

/* False if the connection ended. */
static bool send_download(struct origin_conn *conn)
{
    size_t length = fill_output(conn, conn->origin->scratch);
    if (length > 0) {
        ssize_t sent = origin_conn_send(conn, conn->origin->scratch, length);
        if (sent == -1)
            return false;
        if (sent > 0)
            conn->sent += (uint64_t)sent;
    }
    if (conn->sent == conn->header.download_bytes + STREAM_TRAILER_BYTES)
        origin_conn_finish(conn);
    return true;
}

static void stream_ready(struct origin_conn *conn, uint32_t events)
{
    uint32_t broken = events & (EPOLLERR | EPOLLHUP);
    if (!conn->input_ended && !conn->paused && (events & EPOLLIN || broken) && !receive_upload(conn))
        return;
    if (wants_to_send(conn) && (events & EPOLLOUT || broken) && !send_download(conn))
        return;
    stream_watch(conn);
}

static void stream_woken(struct origin_conn *conn)
{
    conn->paused = false;
    stream_watch(conn);
}

static void stream_start(struct origin_conn *conn)
{
    pacer_init(&conn->pacer, conn->header.seed);
    stream_watch(conn);
}

const struct origin_service origin_service_stream = {"stream", stream_start, stream_ready, stream_woken};
