/*
 * Mode connect: connect, one exchange, close; over and over. The latency runs from the connect to the last
 * byte of the answer, and to the origin's FIN where the origin closes first.
 */
#include "bench/load_exchange.h"
#include "bench/load_mode.h"

#include <errno.h>

struct connect_conn {
    struct load_conn conn;
    struct exchange exchange;
    bool answered; /* only the origin's FIN is missing */
};

static struct connect_conn *of(struct load_conn *conn)
{
    return LOOP_OWNER(conn, struct connect_conn, conn);
}

static void opened(struct load_conn *conn)
{
    bool origin_closes = conn->load->options.origin_closes;
    of(conn)->answered = false;
    exchange_init(&of(conn)->exchange, conn->load, STREAM_KIND_REQUEST,
                  origin_closes ? STREAM_ORIGIN_CLOSES : 0);
    int error = exchange_begin(&of(conn)->exchange, conn);
    of(conn)->exchange.begun_ns = conn->connect_ns;
    if (error != 0)
        load_conn_fail(conn, error);
}

static void complete(struct load_conn *conn)
{
    conn->load->counters.completed++;
    load_conn_recycle(conn, false);
}

static void await_fin(struct load_conn *conn)
{
    uint8_t surplus;
    ssize_t received = load_conn_receive(conn, &surplus, 1);
    if (received == 0)
        complete(conn);
    else if (received != -EAGAIN)
        load_conn_fail(conn, received > 0 ? LOAD_ERROR_MISMATCH : (int)received);
}

static void ready(struct load_conn *conn, uint32_t events)
{
    (void)events;
    if (of(conn)->answered) {
        await_fin(conn);
        return;
    }
    int result = exchange_drive(&of(conn)->exchange, conn);
    if (result < 0) {
        load_conn_fail(conn, result);
    } else if (result == 1) {
        if (conn->load->options.origin_closes)
            of(conn)->answered = true;
        else
            complete(conn);
    }
}

const struct load_mode load_mode_connect = {
    .name = "connect",
    .unit = "connections",
    .conn_size = sizeof(struct connect_conn),
    .opened = opened,
    .ready = ready,
};
