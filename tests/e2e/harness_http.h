/*
 * Asks an exporter, one request a connection.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_HTTP_H
#define PENSTOCK_TESTS_E2E_HARNESS_HTTP_H

#include <stdint.h>

struct http_answer {
    unsigned status;  /* 0: the connection was closed without an answer */
    const char *head; /* all lines up to the empty one */
    const char *body;
};

/* Sends `request` as it is and reads to the end. */
struct http_answer http_send(uint16_t port, const char *request);

/* GET, with HTTP/1.0 so that the body comes in one piece. `header`: whole lines, NULL for none. */
struct http_answer http_get(uint16_t port, const char *path, const char *header);

/* The body of a GET that must succeed. */
const char *http_body(uint16_t port, const char *path);

/* The status of a GET; 0 where nobody listens. */
unsigned http_status(uint16_t port, const char *path);

#endif
