/*
 * The exporter's HTTP server: libmicrohttpd in one thread, a bounded number of visitors, and a bounded time for each.
 *
 * Runs in the exporter process, which reads the region and can change nothing in it. Each connection is for
 * one request and is cut off after HTTP_VISIT_MAX_MS, however slowly it goes. Beyond HTTP_VISITORS_MAX the
 * others wait in the kernel.
 */
#ifndef PENSTOCK_CMD_EXPORTER_HTTP_H
#define PENSTOCK_CMD_EXPORTER_HTTP_H

#include "cmd/exporter/leaders.h"
#include "cmd/summary.h"

struct MHD_Daemon;

enum {
    HTTP_VISITORS_MAX = 64,
    HTTP_VISITOR_BYTES = 16 * 1024, /* of request and headers */
    HTTP_VISIT_MAX_MS = 10000,
};

struct http_visitor {
    int fd; /* -1: nobody */
    uint64_t until_us;
};

struct http {
    const struct region *region;
    struct MHD_Daemon *daemon;
    struct summary summaries[2]; /* the last two that were read */
    uint32_t newest;             /* of them */
    uint64_t cost_us;            /* what reading it took */
    struct leaders leaders;
    struct http_visitor visitors[HTTP_VISITORS_MAX];
};

/* Serves what connects to the listening socket `fd`, which from then on is the server's. 0 or -errno. */
int http_start(struct http *http, const struct region *region, int fd);

/* Waits for visitors, a second at most, and serves those who are ready. 0 or -EIO. */
int http_turn(struct http *http);

#endif
