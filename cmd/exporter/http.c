#include "cmd/exporter/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "cmd/exporter/flows.h"
#include "cmd/exporter/health.h"
#include "cmd/exporter/json.h"
#include "cmd/exporter/metrics.h"
#include "cmd/exporter/page.h"
#include "cmd/exporter/sessions.h"
#include "io/clock.h"
#include "io/sock.h"
#include "shm/image_box.h"

enum {
    TURN_MS = 1000,
    READING_SHARE = 10, /* reading the region takes a tenth of the time at most, however many ask */
    PIECE_BYTES = 32 * 1024,
};

static const char type_json[] = "application/json";
static const char type_text[] = "text/plain; charset=utf-8";

/* --- Answers ------------------------------------------------------------------------------------------------ */

/* A text that is being written. */
struct body {
    FILE *out;
    char *text;
    size_t size;
};

static bool body_begin(struct body *body)
{
    *body = (struct body){0};
    body->out = open_memstream(&body->text, &body->size);
    return body->out != NULL;
}

/* Without memory the connection is closed, and so is it by MHD_NO. */
static struct MHD_Response *body_end(struct body *body)
{
    bool whole = fclose(body->out) == 0;
    struct MHD_Response *response =
        whole ? MHD_create_response_from_buffer(body->size, body->text, MHD_RESPMEM_MUST_FREE) : NULL;

    if (response == NULL) {
        free(body->text);
    }
    return response;
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value);
}

/* Gives the answer away. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct MHD_Response *response)
{
    if (response == NULL) {
        return MHD_NO;
    }
    add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    add_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        add_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_line(struct MHD_Connection *connection, unsigned status, const char *line)
{
    struct body body;

    if (!body_begin(&body)) {
        return MHD_NO;
    }
    fprintf(body.out, "%s\n", line);
    return answer(connection, status, type_text, body_end(&body));
}

/* --- What is answered --------------------------------------------------------------------------------------- */

/* A summary as fresh as its cost allows. */
static const struct summary *look(struct http *http)
{
    const struct summary *last = &http->summaries[http->newest];
    uint64_t now_us = clock_now_us();

    if (last->read_us != 0 && now_us - last->read_us < http->cost_us * READING_SHARE) {
        return last;
    }
    http->newest ^= 1;
    struct summary *next = &http->summaries[http->newest];
    summary_read(next, http->region);
    summary_keep_rising(next, last);
    http->cost_us = clock_now_us() - now_us;
    return next;
}

static enum MHD_Result answer_metrics(struct http *http, struct MHD_Connection *connection)
{
    enum metrics_format format =
        metrics_choose(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT));
    struct body body;

    if (!body_begin(&body)) {
        return MHD_NO;
    }
    metrics_print(body.out, format, look(http), http->region);
    return answer(connection, MHD_HTTP_OK, metrics_content_type(format), body_end(&body));
}

static enum MHD_Result answer_live(struct http *http, struct MHD_Connection *connection)
{
    struct health health;

    health_judge(&health, look(http));
    return health.live ? answer_line(connection, MHD_HTTP_OK, "ok")
                       : answer_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE, health.reason);
}

static enum MHD_Result answer_ready(struct http *http, struct MHD_Connection *connection)
{
    struct health health;

    health_judge(&health, look(http));
    return health.ready ? answer_line(connection, MHD_HTTP_OK, "ok")
                        : answer_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE, health.reason);
}

static enum MHD_Result answer_status(struct http *http, struct MHD_Connection *connection)
{
    struct body body;

    if (!body_begin(&body)) {
        return MHD_NO;
    }
    json_status(body.out, look(http), http->region);
    return answer(connection, MHD_HTTP_OK, type_json, body_end(&body));
}

static enum MHD_Result answer_servers(struct http *http, struct MHD_Connection *connection)
{
    struct body body;

    if (!body_begin(&body)) {
        return MHD_NO;
    }
    json_servers(body.out, look(http), http->region);
    return answer(connection, MHD_HTTP_OK, type_json, body_end(&body));
}

static enum MHD_Result answer_top(struct http *http, struct MHD_Connection *connection)
{
    struct body body;

    if (leaders_read(&http->leaders, http->region) < 0 || !body_begin(&body)) {
        return MHD_NO;
    }
    leaders_print(body.out, &http->leaders, http->region);
    return answer(connection, MHD_HTTP_OK, type_json, body_end(&body));
}

static ssize_t read_list(void *context, uint64_t position, char *buffer, size_t size)
{
    size_t got = json_list_read(context, buffer, size);

    (void)position;
    return got > 0 ? (ssize_t)got : MHD_CONTENT_READER_END_OF_STREAM;
}

static void end_list(void *context)
{
    json_list_destroy(context);
}

static enum MHD_Result answer_list(struct MHD_Connection *connection, struct json_list *list)
{
    if (list == NULL) {
        return MHD_NO;
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, read_list, list, end_list);
    if (response == NULL) {
        json_list_destroy(list);
    }
    return answer(connection, MHD_HTTP_OK, type_json, response);
}

/* What a query asks for, of sessions or of flow entries. */
struct query {
    bool flows;
    struct session_filter session;
    struct flow_filter flow;
    const char *why; /* NULL: understood so far */
};

static enum MHD_Result read_argument(void *context, enum MHD_ValueKind kind, const char *key,
                                     const char *value)
{
    struct query *query = context;
    const char *text = value != NULL ? value : "";
    const char *why = NULL;

    (void)kind;
    if ((query->flows ? flow_filter_set(&query->flow, key, text, &why)
                      : session_filter_set(&query->session, key, text, &why)) < 0) {
        query->why = why;
        return MHD_NO;
    }
    return MHD_YES;
}

static enum MHD_Result answer_query(struct http *http, struct MHD_Connection *connection, bool flows)
{
    struct query query = {.flows = flows};
    uint64_t now_us = clock_now_us();

    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, read_argument, &query);
    if (query.why != NULL) {
        return answer_line(connection, MHD_HTTP_BAD_REQUEST, query.why);
    }
    return answer_list(connection, flows ? flow_json_list(http->region, &query.flow, now_us)
                                         : session_json_list(http->region, &query.session, now_us));
}

static enum MHD_Result answer_sessions(struct http *http, struct MHD_Connection *connection)
{
    return answer_query(http, connection, false);
}

static enum MHD_Result answer_flows(struct http *http, struct MHD_Connection *connection)
{
    return answer_query(http, connection, true);
}

/* The page's own style and script are told by a number nobody can guess; nothing else may run or be loaded. */
static enum MHD_Result answer_page(struct http *http, struct MHD_Connection *connection)
{
    char policy[256];
    uint64_t number;
    char nonce[17];
    struct body body;

    (void)http;
    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number) || !body_begin(&body)) {
        return MHD_NO;
    }
    snprintf(nonce, sizeof(nonce), "%016lx", (unsigned long)number);
    snprintf(policy, sizeof(policy),
             "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "
             "img-src data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             nonce, nonce);
    page_print(body.out, nonce);
    struct MHD_Response *response = body_end(&body);
    if (response != NULL) {
        add_header(response, "Content-Security-Policy", policy);
        add_header(response, "Referrer-Policy", "no-referrer");
    }
    return answer(connection, MHD_HTTP_OK, "text/html; charset=utf-8", response);
}

static const struct route {
    const char *path;
    enum MHD_Result (*answer)(struct http *http, struct MHD_Connection *connection);
} routes[] = {
    {"/", answer_page},
    {"/metrics", answer_metrics},
    {"/healthz", answer_live},
    {"/readyz", answer_ready},
    {"/api/status", answer_status},
    {"/api/servers", answer_servers},
    {"/api/sessions", answer_sessions},
    {"/api/flows", answer_flows},
    {"/api/top", answer_top},
};

/* Called when the headers are there. A body, which no request here needs, is not waited for. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct http *http = context;

    (void)version;
    (void)upload;
    (void)upload_size;
    (void)request;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(routes[i].path, path) != 0) {
            continue;
        }
        if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
            return answer_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this can only be read: GET or HEAD");
        }
        return routes[i].answer(http, connection);
    }
    return answer_line(
        connection, MHD_HTTP_NOT_FOUND,
        "there is: / /metrics /healthz /readyz /api/status /api/servers /api/sessions /api/flows /api/top");
}

/* --- Visitors ----------------------------------------------------------------------------------------------- */

static void on_visit(void *context, struct MHD_Connection *connection, void **place,
                     enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct http_visitor *visitor = *place;
        if (visitor != NULL) {
            visitor->fd = -1;
        }
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (int i = 0; i < HTTP_VISITORS_MAX && info != NULL; i++) {
        if (http->visitors[i].fd < 0) {
            http->visitors[i] = (struct http_visitor){
                .fd = info->connect_fd,
                .until_us = clock_now_us() + (uint64_t)HTTP_VISIT_MAX_MS * 1000,
            };
            *place = &http->visitors[i];
            return;
        }
    }
}

/* libmicrohttpd only knows how long a visitor has been silent; one byte now and then would keep a place for ever. */
static void show_out(struct http *http)
{
    uint64_t now_us = clock_now_us();

    for (int i = 0; i < HTTP_VISITORS_MAX; i++) {
        struct http_visitor *visitor = &http->visitors[i];
        if (visitor->fd >= 0 && now_us > visitor->until_us) {
            (void)shutdown(visitor->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes */
        }
    }
}

int http_start(struct http *http, const struct region *region, int fd)
{
    *http = (struct http){.region = region};
    for (int i = 0; i < HTTP_VISITORS_MAX; i++) {
        http->visitors[i].fd = -1;
    }
    sock_set_nonblocking(fd);
    http->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET,
                                    fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_VISITORS_MAX,
                                    MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(HTTP_VISIT_MAX_MS / 1000),
                                    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_VISITOR_BYTES,
                                    MHD_OPTION_NOTIFY_CONNECTION, on_visit, http, MHD_OPTION_END);
    return http->daemon != NULL ? 0 : -ENOMEM;
}

int http_turn(struct http *http)
{
    if (MHD_run_wait(http->daemon, TURN_MS) != MHD_YES) {
        return -EIO;
    }
    show_out(http);
    return 0;
}
