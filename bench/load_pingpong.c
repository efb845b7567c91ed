/*
 * Mode pingpong: a fixed set of connections, one exchange outstanding on each, with or without a pause between
 * two. Each ends between two exchanges; an answer that does not come within --finish-seconds leaves its connection
 * unfinished.
 */
#include "bench/load_exchange.h"
#include "bench/load_mode.h"

struct pingpong_conn {
    struct load_conn conn;
    struct exchange exchange;
};

static struct pingpong_conn *of(struct load_conn *conn)
{
    return LOOP_OWNER(conn, struct pingpong_conn, conn);
}

static void next(struct load_conn *conn)
{
    if (!load_claim(conn->load)) {
        load_conn_close(conn);
        return;
    }
    int error = exchange_begin(&of(conn)->exchange, conn);
    if (error != 0)
        load_conn_fail(conn, error);
}

/* With pauses the connections begin spread over one, and so they stay. */
static void begin(struct load_conn *conn)
{
    uint64_t pause_ns = conn->load->options.pause_ms * LOOP_NS_PER_MS;

    if (pause_ns == 0)
        next(conn);
    else
        load_conn_sleep(conn, rng_next(&conn->load->rng) % pause_ns);
}

static void opened(struct load_conn *conn)
{
    exchange_init(&of(conn)->exchange, conn->load, STREAM_KIND_PINGPONG, 0);
    if (conn->load->phase == LOAD_OPENING)
        (void)load_conn_watch(conn, EPOLLIN);
    else
        load_conn_close(conn);
}

static void ready(struct load_conn *conn, uint32_t events)
{
    (void)events;
    int result = exchange_drive(&of(conn)->exchange, conn);
    if (result < 0) {
        load_conn_fail(conn, result);
    } else if (result == 1) {
        conn->load->counters.completed++;
        if (conn->load->options.pause_ms == 0 || conn->load->phase == LOAD_FINISHING)
            next(conn);
        else
            load_conn_sleep(conn, conn->load->options.pause_ms * LOOP_NS_PER_MS);
    }
}

static void finish(struct load_conn *conn)
{
    if (!of(conn)->exchange.busy)
        load_conn_close(conn);
}

const struct load_mode load_mode_pingpong = {
    .name = "pingpong",
    .unit = "exchanges",
    .conn_size = sizeof(struct pingpong_conn),
    .fixed_set = true,
    .opened = opened,
    .ready = ready,
    .woken = next,
    .begin = begin,
    .finish = finish,
};
