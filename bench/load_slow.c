/*
 * Mode slow: each connection asks for an endless stream and reads it at --read-rate, in ticks, or never. What
 * is read is checked by position. A connection that is closed while it is held counts as closed early.
 */
#include "bench/load_mode.h"
#include "bench/stream.h"

#include <errno.h>

#define TICK_MS_MIN 100
#define TICK_MS_MAX 1000

struct slow_conn {
    struct load_conn conn;
    struct stream_header header;
    uint64_t sent; /* of the header */
    uint64_t received;
    uint64_t since_ns; /* when reading began */
};

static struct slow_conn *of(struct load_conn *conn)
{
    return LOOP_OWNER(conn, struct slow_conn, conn);
}

static void lose(struct load_conn *conn, int error)
{
    if (error == LOAD_ERROR_MISMATCH) {
        load_conn_fail(conn, error);
        return;
    }
    conn->load->counters.closed_early++;
    load_conn_close(conn);
}

static void send_header(struct load_conn *conn)
{
    struct slow_conn *slow = of(conn);
    size_t length = STREAM_HEADER_BYTES - (size_t)slow->sent;

    stream_fill_upload(&slow->header, slow->sent, conn->load->scratch, length);
    ssize_t sent = load_conn_send(conn, conn->load->scratch, length);
    if (sent < 0 && sent != -EAGAIN) {
        lose(conn, (int)sent);
        return;
    }
    if (sent > 0)
        slow->sent += (uint64_t)sent;
    /* Unread bytes are the point of this mode: only errors and hang-ups are events. */
    (void)load_conn_watch(conn, slow->sent < STREAM_HEADER_BYTES ? EPOLLOUT : EPOLLERR);
}

/* As long as the rate makes wait for about 1,000 bytes: thousands of readers would else keep a CPU by reading
 * little. */
static uint64_t tick_ms(uint64_t rate)
{
    uint64_t tick = 1000 * 1000 / rate;

    return tick < TICK_MS_MIN ? TICK_MS_MIN : tick > TICK_MS_MAX ? TICK_MS_MAX : tick;
}

static void opened(struct load_conn *conn)
{
    struct load *load = conn->load;
    struct slow_conn *slow = of(conn);

    slow->sent = 0;
    slow->received = 0;
    slow->header = (struct stream_header){.seed = rng_next(&load->rng), .kind = STREAM_KIND_ENDLESS};
    if (load->phase == LOAD_FINISHING) {
        load_conn_close(conn);
        return;
    }
    slow->since_ns = loop_clock_ns();
    if (load->options.read_rate > 0)
        load_conn_sleep(conn, (1 + rng_below(&load->rng, tick_ms(load->options.read_rate))) * LOOP_NS_PER_MS);
    send_header(conn);
}

static void ready(struct load_conn *conn, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP))
        lose(conn, -ECONNRESET);
    else
        send_header(conn);
}

/* What the rate allows by now and has not been read yet. */
static uint64_t due_bytes(const struct slow_conn *slow, uint64_t rate)
{
    uint64_t elapsed_ms = (loop_clock_ns() - slow->since_ns) / LOOP_NS_PER_MS;
    uint64_t allowed = (uint64_t)((double)rate * (double)elapsed_ms / 1000);
    return allowed > slow->received ? allowed - slow->received : 0;
}

/* One tick: reads what is due, at most one scratch buffer. */
static void woken(struct load_conn *conn)
{
    struct load *load = conn->load;
    struct slow_conn *slow = of(conn);
    uint64_t due = due_bytes(slow, load->options.read_rate);
    size_t length = due < LOAD_SCRATCH_BYTES ? (size_t)due : LOAD_SCRATCH_BYTES;

    load_conn_sleep(conn, tick_ms(load->options.read_rate) * LOOP_NS_PER_MS);
    if (length == 0)
        return;
    ssize_t received = load_conn_receive(conn, load->scratch, length);
    if (received == -EAGAIN)
        return;
    if (received <= 0)
        lose(conn, received == 0 ? LOAD_ERROR_SHORT : (int)received);
    else if (stream_check_download(&slow->header, slow->received, load->scratch, (size_t)received) <
             (size_t)received)
        lose(conn, LOAD_ERROR_MISMATCH);
    else
        slow->received += (uint64_t)received;
}

static void finish(struct load_conn *conn)
{
    conn->load->counters.completed++;
    load_conn_close(conn);
}

const struct load_mode load_mode_slow = {
    .name = "slow",
    .unit = "connections",
    .conn_size = sizeof(struct slow_conn),
    .fixed_set = true,
    .opened = opened,
    .ready = ready,
    .woken = woken,
    .finish = finish,
};
