/*
 * Listeners, connections and totals of the origin. A lack of descriptors pauses accepting for a while; any
 * other failure costs the one connection it concerns and is counted.
 */
#include "bench/origin_server.h"

#include "bench/report.h"
#include "bench/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCEPT_BATCH    64
#define ACCEPT_PAUSE_NS (50 * LOOP_NS_PER_MS)
#define FILES_RESERVED  16

/* --- connections ------------------------------------------------------------------------------------- */

static void conn_ready(struct loop_source *source, uint32_t events)
{
    struct origin_conn *conn = LOOP_OWNER(source, struct origin_conn, source);
    conn->service->ready(conn, events);
}

static void conn_woken(struct loop_timer *timer)
{
    struct origin_conn *conn = LOOP_OWNER(timer, struct origin_conn, timer);
    if (conn->service->woken != NULL)
        conn->service->woken(conn);
}

static void conn_create(struct origin *origin, int fd)
{
    struct origin_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        close(fd);
        origin->totals.ends[ORIGIN_END_NO_MEMORY]++;
        return;
    }
    conn->origin = origin;
    conn->source.fd = fd;
    conn->source.ready = conn_ready;
    conn->timer.fire = conn_woken;
    conn->next = origin->conns;
    if (conn->next != NULL)
        conn->next->previous = conn;
    origin->conns = conn;
    origin->totals.connections++;
    origin->totals.active++;
    if (origin->totals.active > origin->totals.active_max)
        origin->totals.active_max = origin->totals.active;
    origin_conn_serve(conn, origin->service);
}

void origin_conn_serve(struct origin_conn *conn, const struct origin_service *service)
{
    conn->service = service;
    service->start(conn);
}

void origin_conn_end(struct origin_conn *conn, enum origin_end end)
{
    struct origin *origin = conn->origin;
    loop_timer_cancel(origin->loop, &conn->timer);
    loop_source_close(origin->loop, &conn->source);
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        origin->conns = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    origin->totals.active--;
    origin->totals.ends[end]++;
    free(conn->buffer);
    free(conn);
}

static void end_broken(struct origin_conn *conn)
{
    origin_conn_end(conn, conn->may_be_cut ? ORIGIN_END_OK : ORIGIN_END_RESET);
}

bool origin_conn_watch(struct origin_conn *conn, uint32_t events)
{
    if (loop_source_watch(conn->origin->loop, &conn->source, events) == 0)
        return true;
    origin_conn_end(conn, ORIGIN_END_NO_MEMORY);
    return false;
}

ssize_t origin_conn_receive(struct origin_conn *conn, void *data, size_t length)
{
    ssize_t received = socket_receive(conn->source.fd, data, length);
    if (received > 0) {
        conn->origin->totals.bytes_received += (uint64_t)received;
        return received;
    }
    if (received == 0)
        conn->input_ended = true;
    if (received == 0 || received == -EAGAIN)
        return received;
    end_broken(conn);
    return -1;
}

ssize_t origin_conn_send(struct origin_conn *conn, const void *data, size_t length)
{
    ssize_t sent = socket_send(conn->source.fd, data, length);
    if (sent > 0) {
        conn->origin->totals.bytes_sent += (uint64_t)sent;
        return sent;
    }
    if (sent == -EAGAIN)
        return sent;
    end_broken(conn);
    return -1;
}

void origin_conn_finish(struct origin_conn *conn)
{
    if (!conn->output_ended)
        shutdown(conn->source.fd, SHUT_WR);
    conn->output_ended = true;
}

/* --- listeners --------------------------------------------------------------------------------------- */

/* A pending connection keeps a level-triggered listener readable: without the pause a lack of descriptors
 * would make the loop spin. */
static void pause_accepting(struct origin *origin)
{
    origin->totals.accept_pauses++;
    for (unsigned i = 0; i < origin->listener_count; i++)
        (void)loop_source_watch(origin->loop, &origin->listeners[i].source, 0);
    loop_timer_arm(origin->loop, &origin->resume, ACCEPT_PAUSE_NS);
}

static void resume_accepting(struct loop_timer *timer)
{
    struct origin *origin = LOOP_OWNER(timer, struct origin, resume);
    for (unsigned i = 0; i < origin->listener_count; i++)
        if (loop_source_watch(origin->loop, &origin->listeners[i].source, EPOLLIN) != 0)
            loop_timer_arm(origin->loop, &origin->resume, ACCEPT_PAUSE_NS);
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct origin_listener *listener = LOOP_OWNER(source, struct origin_listener, source);
    struct origin *origin = listener->origin;
    (void)events;

    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        if (origin->totals.active >= origin->conn_max) {
            pause_accepting(origin);
            return;
        }
        int fd = socket_accept(source->fd);
        if (fd >= 0) {
            conn_create(origin, fd);
            continue;
        }
        if (fd == -EAGAIN)
            return;
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            pause_accepting(origin);
            return;
        }
        origin->totals.accept_errors++; /* ECONNABORTED and its like: the next one may be well */
    }
}

int origin_listen(struct origin *origin, const struct address *address, int send_buffer)
{
    if (origin->listener_count == ORIGIN_LISTENERS_MAX)
        return -E2BIG;
    struct origin_listener *listener = &origin->listeners[origin->listener_count];
    listener->address = *address;
    int fd = socket_listen(&listener->address, send_buffer);
    if (fd < 0)
        return fd;
    listener->origin = origin;
    listener->source = (struct loop_source){.fd = fd, .ready = listener_ready};
    origin->listener_count++;
    return loop_source_watch(origin->loop, &listener->source, EPOLLIN);
}

/* --- life cycle -------------------------------------------------------------------------------------- */

int origin_init(struct origin *origin, const struct origin_service *service)
{
    memset(origin, 0, sizeof(*origin));
    size_t files = socket_raise_limit();
    if (files <= 2 * FILES_RESERVED)
        return -EMFILE;
    origin->conn_max = files - FILES_RESERVED;
    origin->service = service;
    origin->resume.fire = resume_accepting;
    origin->started_ns = loop_clock_ns();
    origin->loop = loop_create(files + FILES_RESERVED);
    origin->scratch = malloc(ORIGIN_SCRATCH_BYTES);
    if (origin->loop == NULL || origin->scratch == NULL)
        return -ENOMEM;
    return 0;
}

void origin_fini(struct origin *origin)
{
    for (struct origin_conn *conn = origin->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        origin_conn_end(conn, ORIGIN_END_OK);
    }
    for (unsigned i = 0; i < origin->listener_count; i++) {
        struct origin_listener *listener = &origin->listeners[i];
        loop_source_close(origin->loop, &listener->source);
        if (listener->address.any.sa_family == AF_UNIX)
            unlink(listener->address.un.sun_path);
    }
    loop_destroy(origin->loop);
    free(origin->scratch);
}

void origin_print(const struct origin *origin, FILE *out)
{
    const struct origin_totals *totals = &origin->totals;
    struct report report;

    report_init(&report);
    report_add_real(&report, "seconds", REPORT_S,
                    (double)(loop_clock_ns() - origin->started_ns) / (double)LOOP_NS_PER_S);
    report_add_count(&report, "connections", REPORT_COUNT, totals->connections);
    report_add_count(&report, "active", REPORT_COUNT, totals->active);
    report_add_count(&report, "active_max", REPORT_COUNT, totals->active_max);
    report_add_count(&report, "streams_verified", REPORT_COUNT, totals->streams_verified);
    report_add_count(&report, "exchanges", REPORT_COUNT, totals->exchanges);
    report_add_count(&report, "http_requests", REPORT_COUNT, totals->http_requests);
    report_add_count(&report, "bytes_received", REPORT_BYTES, totals->bytes_received);
    report_add_count(&report, "bytes_sent", REPORT_BYTES, totals->bytes_sent);
    report_add_count(&report, "ended_well", REPORT_COUNT, totals->ends[ORIGIN_END_OK]);
    report_add_count(&report, "mismatches", REPORT_COUNT, totals->ends[ORIGIN_END_MISMATCH]);
    report_add_count(&report, "short", REPORT_COUNT, totals->ends[ORIGIN_END_SHORT]);
    report_add_count(&report, "resets", REPORT_COUNT, totals->ends[ORIGIN_END_RESET]);
    report_add_count(&report, "bad_headers", REPORT_COUNT, totals->ends[ORIGIN_END_BAD_HEADER]);
    report_add_count(&report, "no_memory", REPORT_COUNT, totals->ends[ORIGIN_END_NO_MEMORY]);
    report_add_count(&report, "accept_pauses", REPORT_COUNT, totals->accept_pauses);
    report_add_count(&report, "accept_errors", REPORT_COUNT, totals->accept_errors);
    report_print_json(&report, out);
}
