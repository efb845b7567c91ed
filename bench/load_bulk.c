/*
 * Mode bulk: bytes as fast as they go, up, down or both, over a fixed set of connections. The bytes mean
 * nothing unless --verify asks for the pattern; what is sent up is never checked.
 */
#include "bench/load_mode.h"
#include "bench/stream.h"

#include <errno.h>

#define BULK_WRITE_BYTES 65536

struct bulk_conn {
    struct load_conn conn;
    struct stream_header header;
    uint64_t sent; /* with the header */
    uint64_t received;
};

static struct bulk_conn *of(struct load_conn *conn)
{
    return LOOP_OWNER(conn, struct bulk_conn, conn);
}

static bool goes_up(const struct load *load)
{
    return (load->options.direction & LOAD_UP) != 0;
}

static void opened(struct load_conn *conn)
{
    struct load *load = conn->load;
    struct bulk_conn *bulk = of(conn);

    bulk->sent = 0;
    bulk->received = 0;
    bulk->header = (struct stream_header){
        .seed = rng_next(&load->rng),
        .kind = load->options.direction == LOAD_UP ? STREAM_KIND_SINK : STREAM_KIND_ENDLESS,
        .flags = load->options.verify ? 0 : STREAM_UNVERIFIED,
    };
    if (load->phase == LOAD_OPENING)
        (void)load_conn_watch(conn, EPOLLIN);
    else
        load_conn_close(conn);
}

static void begin(struct load_conn *conn)
{
    /* A connection that only sends expects nothing: no gap. */
    if (load_conn_watch(conn, EPOLLIN | EPOLLOUT) && conn->load->options.direction != LOAD_UP)
        load_conn_expect(conn);
}

/* 0 or an error. */
static int send_some(struct load_conn *conn)
{
    static uint8_t bytes[LOAD_SCRATCH_BYTES];
    struct bulk_conn *bulk = of(conn);
    const struct load_options *options = &conn->load->options;
    const uint8_t *data = bytes;
    size_t length = options->size_set ? (size_t)options->request_bytes : BULK_WRITE_BYTES;

    if (length > sizeof(bytes))
        length = sizeof(bytes);
    if (bulk->sent < STREAM_HEADER_BYTES) {
        length = STREAM_HEADER_BYTES - (size_t)bulk->sent;
        stream_fill_upload(&bulk->header, bulk->sent, conn->load->scratch, length);
        data = conn->load->scratch;
    }
    ssize_t sent = load_conn_send(conn, data, length);
    if (sent == -EAGAIN)
        return 0;
    if (sent < 0)
        return (int)sent;
    bulk->sent += (uint64_t)sent;
    if (bulk->sent >= STREAM_HEADER_BYTES && !goes_up(conn->load))
        return loop_source_watch(conn->load->loop, &conn->source, EPOLLIN);
    return 0;
}

static int receive_some(struct load_conn *conn)
{
    struct bulk_conn *bulk = of(conn);
    uint8_t *data = conn->load->scratch;
    ssize_t received = load_conn_receive(conn, data, LOAD_SCRATCH_BYTES);
    if (received == -EAGAIN)
        return 0;
    if (received <= 0)
        return received == 0 ? LOAD_ERROR_SHORT : (int)received;
    if (bulk->header.kind == STREAM_KIND_SINK)
        return LOAD_ERROR_MISMATCH;
    if (conn->load->options.verify &&
        stream_check_download(&bulk->header, bulk->received, data, (size_t)received) < (size_t)received)
        return LOAD_ERROR_MISMATCH;
    bulk->received += (uint64_t)received;
    load_conn_settle_gap(conn);
    load_conn_expect(conn);
    return 0;
}

static void ready(struct load_conn *conn, uint32_t events)
{
    int error = 0;
    if (events & ~(uint32_t)EPOLLOUT)
        error = receive_some(conn);
    if (error == 0 && events & EPOLLOUT)
        error = send_some(conn);
    if (error != 0)
        load_conn_fail(conn, error);
}

static void finish(struct load_conn *conn)
{
    conn->load->counters.completed++;
    load_conn_close(conn);
}

const struct load_mode load_mode_bulk = {
    .name = "bulk",
    .unit = "connections",
    .conn_size = sizeof(struct bulk_conn),
    .fixed_set = true,
    .opened = opened,
    .ready = ready,
    .begin = begin,
    .finish = finish,
};
