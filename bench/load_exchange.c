/*
 * Request and response over one connection. Errors: -errno of the socket or of epoll, LOAD_ERROR_MISMATCH,
 * LOAD_ERROR_SHORT.
 */
#include "bench/load_exchange.h"

#include <errno.h>

#define EXCHANGE_BYTES 65536

void exchange_init(struct exchange *exchange, struct load *load, enum stream_kind kind, uint32_t flags)
{
    *exchange = (struct exchange){
        .header =
            {
                .seed = rng_next(&load->rng),
                .kind = kind,
                .request_bytes = (uint32_t)load->options.request_bytes,
                .response_bytes = (uint32_t)load->options.response_bytes,
                .flags = flags,
            },
        .up_goal = STREAM_HEADER_BYTES,
    };
}

static int send_request(struct exchange *exchange, struct load_conn *conn)
{
    uint8_t *out = conn->load->scratch;

    while (exchange->up < exchange->up_goal) {
        uint64_t left = exchange->up_goal - exchange->up;
        size_t length = left < EXCHANGE_BYTES ? (size_t)left : EXCHANGE_BYTES;
        stream_fill_upload(&exchange->header, exchange->up, out, length);
        ssize_t sent = load_conn_send(conn, out, length);
        if (sent == -EAGAIN)
            return loop_source_watch(conn->load->loop, &conn->source, EPOLLIN | EPOLLOUT);
        if (sent < 0)
            return (int)sent;
        exchange->up += (uint64_t)sent;
    }
    return loop_source_watch(conn->load->loop, &conn->source, EPOLLIN);
}

int exchange_begin(struct exchange *exchange, struct load_conn *conn)
{
    exchange->up_goal += exchange->header.request_bytes;
    exchange->down_goal += exchange->header.response_bytes;
    exchange->busy = true;
    exchange->begun_ns = loop_clock_ns();
    conn->progress_ns = exchange->begun_ns;
    return send_request(exchange, conn);
}

static void complete(struct exchange *exchange, struct load_conn *conn)
{
    struct load *load = conn->load;
    uint64_t latency_ns = loop_clock_ns() - exchange->begun_ns;

    exchange->busy = false;
    conn->progress_ns = 0;
    if (latency_ns > load->longest_gap_ns)
        load->longest_gap_ns = latency_ns;
    histogram_record(&load->latency_ns, latency_ns);
}

/* 1 when the answer is complete. */
static int receive_response(struct exchange *exchange, struct load_conn *conn)
{
    uint8_t *data = conn->load->scratch;
    uint64_t left = exchange->down_goal - exchange->down;
    size_t length = left < LOAD_SCRATCH_BYTES ? (size_t)left : LOAD_SCRATCH_BYTES;

    /* With nothing outstanding one byte is asked for, to notice surplus and the FIN. */
    ssize_t received = load_conn_receive(conn, data, length > 0 ? length : 1);
    if (received == -EAGAIN)
        return 0;
    if (received <= 0)
        return received == 0 ? LOAD_ERROR_SHORT : (int)received;
    if (length == 0 ||
        stream_check_download(&exchange->header, exchange->down, data, (size_t)received) < (size_t)received)
        return LOAD_ERROR_MISMATCH;
    exchange->down += (uint64_t)received;
    if (exchange->down < exchange->down_goal)
        return 0;
    if (exchange->up < exchange->up_goal)
        return LOAD_ERROR_MISMATCH; /* answered before it was asked */
    complete(exchange, conn);
    return 1;
}

int exchange_drive(struct exchange *exchange, struct load_conn *conn)
{
    if (exchange->busy && exchange->up < exchange->up_goal) {
        int error = send_request(exchange, conn);
        if (error != 0)
            return error;
    }
    return receive_response(exchange, conn);
}
