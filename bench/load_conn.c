/*
 * Connections of load. Connecting is retried where the shortage may pass (a full unix backlog, ports in
 * TIME_WAIT), up to RETRIES_MAX times; everything else is a connect failure, counted and reported.
 */
#include "bench/load_run.h"

#include "bench/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RETRIES_MAX    2000
#define RETRY_NS       (5 * LOOP_NS_PER_MS)
#define REOPEN_NS      (20 * LOOP_NS_PER_MS)
#define COMPLAINTS_MAX 5

struct load_conn *load_conn_at(const struct load *load, size_t index)
{
    return (struct load_conn *)(void *)(load->conns + index * load->mode->conn_size);
}

static void set_state(struct load_conn *conn, enum load_conn_state state)
{
    struct load *load = conn->load;
    bool was_connecting = conn->state == LOAD_CONN_CONNECTING || conn->state == LOAD_CONN_WAITING;
    bool is_connecting = state == LOAD_CONN_CONNECTING || state == LOAD_CONN_WAITING;

    load->connecting = load->connecting + is_connecting - was_connecting;
    load->live = load->live + (state != LOAD_CONN_CLOSED) - (conn->state != LOAD_CONN_CLOSED);
    conn->state = state;
}

static bool may_pass(int error)
{
    return error == -EAGAIN || error == -EADDRNOTAVAIL || error == -ENOBUFS;
}

static void give_up(struct load_conn *conn, int error)
{
    static unsigned complaints;
    struct load *load = conn->load;

    load->counters.connect_failures++;
    if (complaints++ < COMPLAINTS_MAX)
        fprintf(stderr, "load: cannot connect: %s%s\n", strerror(-error),
                error == -EADDRNOTAVAIL ? " (out of source ports: use --source-range)" : "");
    load_conn_recycle(conn, true);
}

static void failed(struct load_conn *conn, int error)
{
    loop_source_close(conn->load->loop, &conn->source);
    if (may_pass(error) && conn->attempts < RETRIES_MAX && conn->load->phase < LOAD_FINISHING) {
        conn->attempts++;
        conn->load->counters.connect_retries++;
        set_state(conn, LOAD_CONN_WAITING);
        loop_timer_arm(conn->load->loop, &conn->timer, RETRY_NS);
        return;
    }
    give_up(conn, error);
}

static void established(struct load_conn *conn)
{
    struct load *load = conn->load;
    set_state(conn, LOAD_CONN_OPEN);
    load->counters.opened++;
    load->mode->opened(conn);
    load_advance(load);
}

static void conn_ready(struct loop_source *source, uint32_t events)
{
    struct load_conn *conn = LOOP_OWNER(source, struct load_conn, source);
    if (source->fd < 0)
        return; /* closed by the run's change of phase, earlier in the same batch */
    if (conn->state == LOAD_CONN_OPEN) {
        conn->load->mode->ready(conn, events);
        return;
    }
    int error = socket_error(source->fd);
    if (error != 0)
        failed(conn, error);
    else
        established(conn);
}

static void attempt(struct load_conn *conn)
{
    struct load *load = conn->load;
    int in_progress;
    int fd = socket_connect(&load->options.connect, &load->options.sources, (int)load->options.receive_buffer,
                            &in_progress);
    if (fd < 0) {
        failed(conn, fd);
        return;
    }
    conn->source.fd = fd;
    if (!in_progress) {
        established(conn);
        return;
    }
    int error = loop_source_watch(load->loop, &conn->source, EPOLLOUT);
    if (error != 0)
        failed(conn, error);
}

static void conn_woken(struct loop_timer *timer)
{
    struct load_conn *conn = LOOP_OWNER(timer, struct load_conn, timer);
    if (conn->state == LOAD_CONN_WAITING) {
        set_state(conn, LOAD_CONN_CONNECTING);
        attempt(conn);
    } else if (conn->load->mode->woken != NULL) {
        conn->load->mode->woken(conn);
    }
}

static void prepare(struct load_conn *conn)
{
    conn->source.fd = -1;
    conn->source.events = 0;
    conn->source.ready = conn_ready;
    conn->timer.fire = conn_woken;
    conn->attempts = 0;
    conn->connect_ns = loop_clock_ns();
    conn->progress_ns = 0;
}

void load_conn_open(struct load_conn *conn)
{
    prepare(conn);
    set_state(conn, LOAD_CONN_CONNECTING);
    attempt(conn);
}

static void reopen_later(struct load_conn *conn)
{
    prepare(conn);
    set_state(conn, LOAD_CONN_WAITING);
    loop_timer_arm(conn->load->loop, &conn->timer, REOPEN_NS);
}

void load_conn_recycle(struct load_conn *conn, bool after_failure)
{
    struct load *load = conn->load;
    if (load->mode->fixed_set || !load_claim(load)) {
        load_conn_close(conn);
        return;
    }
    load_conn_settle_gap(conn);
    loop_timer_cancel(load->loop, &conn->timer);
    loop_source_close(load->loop, &conn->source);
    if (after_failure)
        reopen_later(conn);
    else
        load_conn_open(conn);
}

void load_conn_fail(struct load_conn *conn, int error)
{
    load_count_error(conn->load, error);
    load_conn_recycle(conn, true);
}

void load_conn_close(struct load_conn *conn)
{
    struct load *load = conn->load;
    load_conn_settle_gap(conn);
    loop_timer_cancel(load->loop, &conn->timer);
    loop_source_close(load->loop, &conn->source);
    set_state(conn, LOAD_CONN_CLOSED);
    load_advance(load);
}

bool load_conn_watch(struct load_conn *conn, uint32_t events)
{
    int error = loop_source_watch(conn->load->loop, &conn->source, events);
    if (error == 0)
        return true;
    load_conn_fail(conn, error);
    return false;
}

void load_conn_sleep(struct load_conn *conn, uint64_t delay_ns)
{
    loop_timer_arm(conn->load->loop, &conn->timer, delay_ns);
}

ssize_t load_conn_send(struct load_conn *conn, const void *data, size_t length)
{
    ssize_t sent = socket_send(conn->source.fd, data, length);
    if (sent > 0)
        conn->load->counters.bytes_up += (uint64_t)sent;
    return sent;
}

ssize_t load_conn_receive(struct load_conn *conn, void *data, size_t length)
{
    ssize_t received = socket_receive(conn->source.fd, data, length);
    if (received > 0)
        conn->load->counters.bytes_down += (uint64_t)received;
    return received;
}

void load_conn_expect(struct load_conn *conn)
{
    conn->progress_ns = loop_clock_ns();
}

void load_conn_settle_gap(struct load_conn *conn)
{
    if (conn->progress_ns == 0)
        return;
    uint64_t gap_ns = loop_clock_ns() - conn->progress_ns;
    if (gap_ns > conn->load->longest_gap_ns)
        conn->load->longest_gap_ns = gap_ns;
    conn->progress_ns = 0;
}
