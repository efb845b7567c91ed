/*
 * A minimal HTTP/1.1 server with keep-alive, enough for curl and browsers: GET / is a small page, GET
 * /bytes/N is N pattern bytes of seed 0. Request heads are limited to HTTP_HEAD_BYTES, bodies (Content-Length
 * only) are discarded. RFC 9112.
 */
#include "bench/origin_service.h"

#include "bench/number.h"
#include "bench/pattern.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HTTP_HEAD_BYTES 8192
#define HTTP_SEND_BYTES 65536
#define HTTP_BYTES_MAX  (1ULL << 40)

static const char page[] =
    "<!doctype html>\n<title>origin</title>\n"
    "<p>This is the origin of Penstock's bench. <a href=\"/bytes/1048576\">1 MiB</a></p>\n";

struct http {
    size_t length; /* of what is in request */
    char request[HTTP_HEAD_BYTES + 1];
    char response[512]; /* head of the response being sent */
    size_t response_length;
    size_t response_sent;
    uint64_t body_length;
    uint64_t body_sent;
    bool body_is_page;
    uint64_t skip; /* bytes of the request's body still to discard */
    bool responding;
    bool close_after;
};

static void respond(struct http *http, const char *status, const char *type, uint64_t body_length,
                    bool head_only)
{
    int length =
        snprintf(http->response, sizeof(http->response),
                 "HTTP/1.1 %s\r\nServer: penstock-origin\r\nContent-Type: %s\r\n"
                 "Content-Length: %llu\r\nConnection: %s\r\n\r\n",
                 status, type, (unsigned long long)body_length, http->close_after ? "close" : "keep-alive");
    http->response_length = (size_t)length;
    http->response_sent = 0;
    http->body_length = head_only ? 0 : body_length;
    http->body_sent = 0;
    http->body_is_page = false;
    http->responding = true;
}

static void respond_error(struct http *http, const char *status)
{
    http->close_after = true;
    respond(http, status, "text/plain", 0, false);
}

/* The value of a header field in the NUL-terminated head, or NULL. */
static const char *field_value(const char *head, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

/* Connection and body framing. False if the request cannot be framed; the error response is then set. */
static bool parse_fields(struct http *http, const char *head, bool version_1_0)
{
    const char *connection = field_value(head, "Connection");
    const char *content_length = field_value(head, "Content-Length");
    const char *expect = field_value(head, "Expect");

    http->close_after = version_1_0;
    if (connection != NULL && strncasecmp(connection, "close", 5) == 0)
        http->close_after = true;
    if (connection != NULL && strncasecmp(connection, "keep-alive", 10) == 0)
        http->close_after = false;
    if (field_value(head, "Transfer-Encoding") != NULL || expect != NULL) {
        respond_error(http, expect != NULL ? "417 Expectation Failed" : "411 Length Required");
        return false;
    }
    if (content_length != NULL) {
        char number[24];
        size_t digits = strspn(content_length, "0123456789");
        if (digits >= sizeof(number))
            digits = 0;
        memcpy(number, content_length, digits);
        number[digits] = '\0';
        if (number_parse(number, HTTP_BYTES_MAX, &http->skip) != 0) {
            respond_error(http, "400 Bad Request");
            return false;
        }
    }
    return true;
}

static void answer(struct http *http, char *head)
{
    char *method_end = strchr(head, ' ');
    char *path = method_end != NULL ? method_end + 1 : NULL;
    char *path_end = path != NULL ? strpbrk(path, " \r") : NULL;
    if (path_end == NULL || *path_end != ' ' || strncmp(path_end + 1, "HTTP/1.", 7) != 0) {
        respond_error(http, "400 Bad Request");
        return;
    }
    if (!parse_fields(http, head, path_end[8] == '0'))
        return;
    *path_end = '\0';
    bool head_only = strncmp(head, "HEAD ", 5) == 0;
    uint64_t length;
    if (strcmp(path, "/") == 0) {
        respond(http, "200 OK", "text/html; charset=utf-8", sizeof(page) - 1, head_only);
        http->body_is_page = true;
    } else if (strncmp(path, "/bytes/", 7) == 0 && number_parse(path + 7, HTTP_BYTES_MAX, &length) == 0) {
        respond(http, "200 OK", "application/octet-stream", length, head_only);
    } else {
        respond(http, "404 Not Found", "text/plain", 0, head_only);
    }
}

/* Takes what is buffered: first the rest of a body, then the next head. */
static void parse(struct origin_conn *conn, struct http *http)
{
    size_t skipped = http->skip < http->length ? (size_t)http->skip : http->length;
    http->skip -= skipped;
    http->length -= skipped;
    memmove(http->request, http->request + skipped, http->length);
    if (http->responding || http->skip > 0)
        return;

    char *end = memmem(http->request, http->length, "\r\n\r\n", 4);
    if (end == NULL) {
        if (http->length == HTTP_HEAD_BYTES)
            respond_error(http, "431 Request Header Fields Too Large");
        return;
    }
    size_t used = (size_t)(end - http->request) + 4;
    end[2] = '\0'; /* keeps the last line's CRLF, so that every line has one */
    conn->origin->totals.http_requests++;
    answer(http, http->request);
    http->length -= used;
    memmove(http->request, http->request + used, http->length);
}

static size_t fill_body(const struct http *http, uint8_t *out)
{
    uint64_t left = http->body_length - http->body_sent;
    size_t length = left < HTTP_SEND_BYTES ? (size_t)left : HTTP_SEND_BYTES;
    if (http->body_is_page)
        memcpy(out, page + http->body_sent, length);
    else
        pattern_fill(out, length, 0, http->body_sent);
    return length;
}

/* One send. False if the connection ended. */
static bool send_response(struct origin_conn *conn, struct http *http)
{
    uint8_t *out = conn->origin->scratch;
    size_t head_left = http->response_length - http->response_sent;

    memcpy(out, http->response + http->response_sent, head_left);
    size_t length = head_left + fill_body(http, out + head_left);
    ssize_t sent = origin_conn_send(conn, out, length);
    if (sent == -1)
        return false;
    if (sent == -EAGAIN)
        return true;
    size_t of_head = (size_t)sent < head_left ? (size_t)sent : head_left;
    http->response_sent += of_head;
    http->body_sent += (uint64_t)sent - of_head;
    if (http->response_sent < http->response_length || http->body_sent < http->body_length)
        return true;
    http->responding = false;
    if (http->close_after)
        origin_conn_finish(conn); /* then reads to the peer's FIN: closing with unread bytes would reset */
    return true;
}

static void http_watch(struct origin_conn *conn)
{
    struct http *http = conn->buffer;
    if (conn->input_ended && !http->responding) {
        origin_conn_end(conn, ORIGIN_END_OK);
        return;
    }
    (void)origin_conn_watch(conn, http->responding ? EPOLLOUT : EPOLLIN);
}

static void http_ready(struct origin_conn *conn, uint32_t events)
{
    struct http *http = conn->buffer;
    (void)events;

    if (conn->output_ended) {
        if (origin_conn_receive(conn, conn->origin->scratch, ORIGIN_SCRATCH_BYTES) == -1)
            return;
    } else if (http->responding) {
        if (!send_response(conn, http))
            return;
        if (!http->responding && !conn->output_ended)
            parse(conn, http);
    } else {
        size_t room = HTTP_HEAD_BYTES - http->length;
        ssize_t received = origin_conn_receive(conn, http->request + http->length, room);
        if (received == -1)
            return;
        if (received > 0) {
            http->length += (size_t)received;
            parse(conn, http);
        }
    }
    http_watch(conn);
}

static void http_start(struct origin_conn *conn)
{
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL) {
        origin_conn_end(conn, ORIGIN_END_NO_MEMORY);
        return;
    }
    conn->buffer = http;
    memcpy(http->request, conn->head, conn->head_length);
    http->length = conn->head_length;
    parse(conn, http);
    http_watch(conn);
}

const struct origin_service origin_service_http = {"http", http_start, http_ready, NULL};
