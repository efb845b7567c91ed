/*
 * Mode streams: verified streams (bench/stream.h) of random length, write sizes, pace and order of
 * half-closes, opened anew as they end. A stream is complete when every byte of the download and the trailer
 * was right, the origin has confirmed every byte of the upload (unless its FIN was asked to come early: then
 * its own totals tell), and both FINs have passed.
 */
#include "bench/load_mode.h"
#include "bench/pacer.h"
#include "bench/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define WRITE_BYTES_MAX  65536
#define WRITES_PER_EVENT 4
#define COMPLAINTS_MAX   20

struct stream_conn {
    struct load_conn conn;
    struct stream_header header;
    uint64_t sent;       /* with the header */
    uint64_t received;   /* with the trailer */
    uint32_t write_left; /* of the write whose size was drawn last */
    uint8_t trailer[STREAM_TRAILER_BYTES];
    struct pacer pacer;
    bool slow;
    bool late_fin;
    bool paused;
    bool input_ended;
    bool output_ended;
};

static struct stream_conn *of(struct load_conn *conn)
{
    return LOOP_OWNER(conn, struct stream_conn, conn);
}

static uint64_t upload_goal(const struct stream_conn *stream)
{
    return STREAM_HEADER_BYTES + stream->header.upload_bytes;
}

static void draw_stream(struct stream_conn *stream, struct load *load)
{
    const struct load_options *options = &load->options;
    struct rng *rng = &load->rng;
    uint32_t flags = 0;

    if (rng_chance(rng, (unsigned)options->slow_origin))
        flags |= STREAM_ORIGIN_SLOW;
    if (rng_chance(rng, (unsigned)options->early_fin))
        flags |= STREAM_ORIGIN_EARLY_FIN;
    stream->header = (struct stream_header){
        .seed = rng_next(rng),
        .upload_bytes = rng_log_uniform(rng, options->max_bytes),
        .download_bytes = rng_log_uniform(rng, options->max_bytes),
        .kind = STREAM_KIND_STREAM,
        .flags = flags,
    };
    stream->slow = rng_chance(rng, (unsigned)options->slow_readers);
    stream->late_fin = rng_chance(rng, (unsigned)options->late_fin);
    pacer_init(&stream->pacer, rng_next(rng));
}

static uint32_t draw_write(struct rng *rng)
{
    if (rng_below(rng, 16) == 0)
        return 1;
    return 1 + (uint32_t)rng_below(rng, WRITE_BYTES_MAX);
}

/* Says what was wrong with which stream, then counts it. */
static void fail(struct stream_conn *stream, int error, const char *what)
{
    static unsigned complaints;
    if (complaints++ < COMPLAINTS_MAX)
        fprintf(stderr,
                "load: stream seed=%016llx flags=%u %s: up %llu of %llu, down %llu of %llu (with header, "
                "trailer)\n",
                (unsigned long long)stream->header.seed, stream->header.flags, what,
                (unsigned long long)stream->sent, (unsigned long long)upload_goal(stream),
                (unsigned long long)stream->received,
                (unsigned long long)stream->header.download_bytes + STREAM_TRAILER_BYTES);
    load_conn_fail(&stream->conn, error);
}

/* Sends up to a few writes. 0 or an error. */
static int send_upload(struct stream_conn *stream)
{
    struct load *load = stream->conn.load;
    uint64_t goal = upload_goal(stream);

    for (unsigned i = 0; i < WRITES_PER_EVENT && stream->sent < goal; i++) {
        if (stream->write_left == 0)
            stream->write_left = draw_write(&load->rng);
        uint64_t left = goal - stream->sent;
        size_t length = stream->write_left < left ? stream->write_left : (size_t)left;
        stream_fill_upload(&stream->header, stream->sent, load->scratch, length);
        ssize_t sent = load_conn_send(&stream->conn, load->scratch, length);
        if (sent == -EAGAIN)
            return 0;
        if (sent < 0)
            return (int)sent;
        stream->sent += (uint64_t)sent;
        stream->write_left -= (uint32_t)sent;
    }
    return 0;
}

/* Checks download bytes, collects the trailer. False if a byte is wrong or surplus. */
static bool take_input(struct stream_conn *stream, const uint8_t *data, size_t length)
{
    uint64_t download = stream->header.download_bytes;
    uint64_t left = stream->received < download ? download - stream->received : 0;
    size_t part = length < left ? length : (size_t)left;

    size_t same = stream_check_download(&stream->header, stream->received, data, part);
    stream->received += same;
    if (same < part)
        return false;
    for (size_t i = part; i < length; i++, stream->received++) {
        uint64_t at = stream->received - download;
        if (at >= STREAM_TRAILER_BYTES)
            return false;
        stream->trailer[at] = data[i];
    }
    return true;
}

static void pause_reading(struct stream_conn *stream)
{
    uint32_t pause_ms = pacer_pause_ms(&stream->pacer);
    if (pause_ms == 0)
        return;
    stream->paused = true;
    stream->conn.progress_ns = 0; /* the gap to come is ours */
    load_conn_sleep(&stream->conn, pause_ms * LOOP_NS_PER_MS);
}

/* Starts the clock of gaps while download bytes are missing, and only then: the trailer waits for our FIN. */
static void expect_more(struct stream_conn *stream)
{
    if (stream->received < stream->header.download_bytes && !stream->paused)
        load_conn_expect(&stream->conn);
}

/* One receive. 0 or an error. */
static int receive_download(struct stream_conn *stream)
{
    struct load *load = stream->conn.load;
    size_t length = stream->slow ? pacer_read_bytes(&stream->pacer, LOAD_SCRATCH_BYTES) : LOAD_SCRATCH_BYTES;
    ssize_t received = load_conn_receive(&stream->conn, load->scratch, length);
    if (received == -EAGAIN)
        return 0;
    if (received < 0)
        return (int)received;
    load_conn_settle_gap(&stream->conn);
    if (received == 0) {
        stream->input_ended = true;
        return stream->received < stream->header.download_bytes + STREAM_TRAILER_BYTES ? LOAD_ERROR_SHORT : 0;
    }
    if (!take_input(stream, load->scratch, (size_t)received))
        return LOAD_ERROR_MISMATCH;
    if (stream->slow)
        pause_reading(stream);
    expect_more(stream);
    return 0;
}

static void end_output_when_due(struct stream_conn *stream)
{
    if (stream->output_ended || stream->sent < upload_goal(stream))
        return;
    bool all_received = stream->input_ended || stream->received >= stream->header.download_bytes;
    if (stream->late_fin && !all_received)
        return;
    shutdown(stream->conn.source.fd, SHUT_WR);
    stream->output_ended = true;
}

static void complete(struct stream_conn *stream)
{
    struct stream_trailer trailer;
    bool early = (stream->header.flags & STREAM_ORIGIN_EARLY_FIN) != 0;

    stream_trailer_decode(stream->trailer, &trailer);
    bool well =
        early ? trailer.status == STREAM_STATUS_EARLY
              : trailer.status == STREAM_STATUS_OK && trailer.received_bytes == stream->header.upload_bytes;
    if (!well) {
        bool truncated = trailer.status == STREAM_STATUS_SHORT;
        fail(stream, truncated ? LOAD_ERROR_SHORT : LOAD_ERROR_MISMATCH, "the origin did not get the upload");
        return;
    }
    stream->conn.load->counters.completed++;
    histogram_record(&stream->conn.load->latency_ns, loop_clock_ns() - stream->conn.connect_ns);
    load_conn_recycle(&stream->conn, false);
}

static void go_on(struct stream_conn *stream)
{
    end_output_when_due(stream);
    if (stream->input_ended && stream->output_ended) {
        complete(stream);
        return;
    }
    uint32_t events = stream->sent < upload_goal(stream) ? EPOLLOUT : 0;
    if (!stream->input_ended && !stream->paused)
        events |= EPOLLIN;
    (void)load_conn_watch(&stream->conn, events);
}

static void opened(struct load_conn *conn)
{
    struct stream_conn *stream = of(conn);
    struct load_conn keep = *conn;

    memset(stream, 0, sizeof(*stream));
    *conn = keep;
    draw_stream(stream, conn->load);
    expect_more(stream);
    go_on(stream);
}

static void ready(struct load_conn *conn, uint32_t events)
{
    struct stream_conn *stream = of(conn);
    uint32_t broken = events & (EPOLLERR | EPOLLHUP);
    int error = 0;

    if (!stream->input_ended && !stream->paused && (events & EPOLLIN || broken))
        error = receive_download(stream);
    if (error == 0 && (events & EPOLLOUT || broken))
        error = send_upload(stream);
    if (error != 0)
        fail(stream, error,
             error == LOAD_ERROR_MISMATCH ? "wrong byte"
             : error == LOAD_ERROR_SHORT  ? "ended early"
                                          : strerror(-error));
    else
        go_on(stream);
}

static void woken(struct load_conn *conn)
{
    struct stream_conn *stream = of(conn);
    stream->paused = false;
    expect_more(stream);
    go_on(stream);
}

const struct load_mode load_mode_streams = {
    .name = "streams",
    .unit = "streams",
    .conn_size = sizeof(struct stream_conn),
    .opened = opened,
    .ready = ready,
    .woken = woken,
};
