/*
 * Mode idle: opens connections and holds them, with an exchange at the beginning (--touch) and at the end
 * (--verify) or without. A FIN, a reset or a byte while nothing is asked counts as closed early or mismatch.
 */
#include "bench/load_exchange.h"
#include "bench/load_mode.h"

struct idle_conn {
    struct load_conn conn;
    struct exchange exchange;
};

static struct idle_conn *of(struct load_conn *conn)
{
    return LOOP_OWNER(conn, struct idle_conn, conn);
}

static void begin_exchange(struct load_conn *conn)
{
    int error = exchange_begin(&of(conn)->exchange, conn);
    if (error != 0)
        load_conn_fail(conn, error);
}

static void end_or_verify(struct load_conn *conn)
{
    if (conn->load->options.verify) {
        begin_exchange(conn);
        return;
    }
    conn->load->counters.completed++;
    load_conn_close(conn);
}

static void opened(struct load_conn *conn)
{
    exchange_init(&of(conn)->exchange, conn->load, STREAM_KIND_PINGPONG, 0);
    if (conn->load->phase == LOAD_FINISHING)
        end_or_verify(conn);
    else if (conn->load->options.touch)
        begin_exchange(conn);
    else
        (void)load_conn_watch(conn, EPOLLIN);
}

static void ready(struct load_conn *conn, uint32_t events)
{
    struct load *load = conn->load;
    bool held = !of(conn)->exchange.busy;
    (void)events;

    int result = exchange_drive(&of(conn)->exchange, conn);
    if (result < 0 && held && result != LOAD_ERROR_MISMATCH) {
        load->counters.closed_early++;
        load_conn_close(conn);
    } else if (result < 0) {
        load_conn_fail(conn, result);
    } else if (result == 1 && load->phase == LOAD_FINISHING) {
        load->counters.completed++;
        load_conn_close(conn);
    }
}

static void finish(struct load_conn *conn)
{
    if (!of(conn)->exchange.busy) /* else it ends with the exchange under way, which is as good a check */
        end_or_verify(conn);
}

const struct load_mode load_mode_idle = {
    .name = "idle",
    .unit = "connections",
    .conn_size = sizeof(struct idle_conn),
    .fixed_set = true,
    .opened = opened,
    .ready = ready,
    .finish = finish,
};
