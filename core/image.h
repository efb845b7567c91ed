/*
 * The run-time configuration: one immutable, position-independent block of bytes.
 *
 * config/ builds it from YAML, the supervisor completes it (server rows, generation) and publishes it in the
 * region, workers read it between two batches. It holds offsets and indices, never pointers, so every process may
 * map it anywhere. Layout: struct image, then the arrays of listeners, binds, pools and servers, each 8-aligned.
 */
#ifndef PENSTOCK_CORE_IMAGE_H
#define PENSTOCK_CORE_IMAGE_H

#include "core/endpoint.h"

enum {
    IMAGE_NAME_MAX = 48, /* bytes of a name with its NUL; names are [A-Za-z0-9_.-]+ */
    IMAGE_PATH_MAX = 256,
    IMAGE_SOCKET_BUFFER_MIN = 4 << 10,
    IMAGE_SOCKET_BUFFER_MAX = 1 << 30, /* the kernel doubles it, in an int */
    IMAGE_CONGESTION_MAX = 16, /* of a congestion control with its NUL: the kernel's TCP_CA_NAME_MAX */
    IMAGE_SPIN_MAX_US = 1000,
    IMAGE_FLOW_LOAD_PERCENT = 60,      /* of the flow table; its buckets rarely overflow below that */
    IMAGE_WORKER_SESSIONS_MAX = 14336, /* what the completion queue of a worker's ring allows: io/worker.c */
    IMAGE_WATCHDOG_MIN_MS = 2000,      /* loops turn at least once a second */
    IMAGE_LISTENERS_MAX = 64,
    IMAGE_BINDS_MAX = 128, /* of all listeners together */
    IMAGE_POOLS_MAX = 256,
    IMAGE_SERVERS_MAX = 1024, /* of all pools together */
    IMAGE_SOURCES_MAX = 16,   /* addresses of a pool's `source` */
    IMAGE_WORKERS_MAX = 128,
    IMAGE_RETRIES_MAX = 7,
    IMAGE_WEIGHT_MAX = 256,
    IMAGE_INTERFACES_MAX = 16,
    IMAGE_INTERFACE_MAX = 16,     /* of an interface's name with its NUL: the kernel's IFNAMSIZ */
    IMAGE_TWO_MSL_MS = 60 * 1000, /* by default, and always where the kernel keeps TIME_WAIT */
    IMAGE_TWO_MSL_MIN_MS = 1000,
    IMAGE_TWO_MSL_MAX_MS = 600 * 1000,
    IMAGE_BYTES_MAX = 512 * 1024, /* whole image; the region keeps two of this size */
};

#define IMAGE_MAGIC   0x314547414d494e50ull /* "PNIMAGE1" */
#define IMAGE_INHERIT UINT32_MAX            /* a timeout that this level does not set */
#define IMAGE_SYSLOG  "syslog:"             /* begins an access path that is syslog's socket */
#define ROW_NONE      UINT16_MAX            /* of the region's names */

enum balance_kind {
    BALANCE_ROUND_ROBIN = 0,
    BALANCE_LEAST_SESSIONS = 1,
};

enum log_level {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARNING = 1,
    LOG_LEVEL_INFO = 2,
    LOG_LEVEL_DEBUG = 3,
};

/* Of the access log's lines: README.md. */
enum access_format {
    ACCESS_TEXT = 0,
    ACCESS_JSON = 1,
};

/* Milliseconds; 0 means "no limit", IMAGE_INHERIT "as one level up" (never so in struct image itself). */
struct image_timeouts {
    uint32_t connect_ms;
    uint32_t idle_ms;
    uint32_t half_closed_ms;
    uint32_t drain_ms;
};

struct image_bind {
    struct endpoint endpoint;
    uint32_t listener; /* index */
    uint32_t place;    /* in every worker's table of listening sockets; set when it is published */
};

/* What a connection's socket may hold, SO_RCVBUF and SO_SNDBUF of socket(7), in bytes of data; 0: as the kernel tunes
 * it. The kernel takes as much again for what it needs beside the data. */
struct image_socket_buffers {
    uint32_t receive, send;
};

struct image_listener {
    char name[IMAGE_NAME_MAX];
    struct image_timeouts timeouts;
    uint32_t bind_first, bind_count;
    uint32_t pool; /* index of the pool of its only route */
    uint32_t row;  /* of the region's names; set by the supervisor when it publishes */
    char congestion[IMAGE_CONGESTION_MAX]; /* TCP_CONGESTION: tcp(7); "" is the system's default */
    struct image_socket_buffers buffers;
    uint8_t zero_copy; /* large sends to its clients are zero-copy */
    uint8_t reserved[3];
};

struct image_server {
    struct endpoint address;
    uint32_t weight; /* 1..IMAGE_WEIGHT_MAX */
    uint8_t backup;
    uint8_t reserved;
    uint16_t row; /* as in struct image_listener */
};

struct image_address {
    uint8_t family;    /* ENDPOINT_V4 or ENDPOINT_V6 */
    uint8_t bytes[16]; /* in network order; IPv4 in the first 4 */
};

/* Where the connections to a pool's servers come from. */
struct image_source {
    uint16_t port_low, port_high; /* 0, 0: the host's ip_local_port_range */
    uint32_t address_count;       /* 0: the kernel chooses by the route */
    struct image_address addresses[IMAGE_SOURCES_MAX];
};

struct image_pool {
    char name[IMAGE_NAME_MAX];
    struct image_timeouts timeouts;
    uint32_t server_first, server_count;
    uint32_t balance; /* enum balance_kind */
    uint32_t retries; /* further servers tried after the first failed; 0..IMAGE_RETRIES_MAX */
    uint32_t row;     /* as in struct image_listener */
    char congestion[IMAGE_CONGESTION_MAX]; /* likewise, of the connections to its servers */
    struct image_socket_buffers buffers;   /* likewise */
    uint8_t zero_copy;                     /* likewise */
    uint8_t reserved[3];
    struct image_source source;
};

enum time_wait_mode {
    TIME_WAIT_AUTO = 0, /* owned where that can be, else the kernel's */
    TIME_WAIT_OWNED = 1,
    TIME_WAIT_KERNEL = 2,
};

/* Who keeps TIME_WAIT and how: io/bpf/README.md. */
struct image_time_wait {
    uint32_t mode; /* enum time_wait_mode */
    uint32_t two_msl_ms;
    uint8_t no_buckets; /* sets net.ipv4.tcp_max_tw_buckets of the network namespace to 0 meanwhile */
    uint8_t reserved[3];
    uint32_t interface_count; /* 0: all that connections may come through */
    char interfaces[IMAGE_INTERFACES_MAX][IMAGE_INTERFACE_MAX];
    char cgroup[IMAGE_PATH_MAX]; /* "": the one that Penstock is in */
};

struct image {
    uint64_t magic;
    uint32_t size;        /* bytes of the whole block */
    uint32_t watchdog_ms; /* a worker whose loop has not turned for so long is replaced; 0: never */
    uint64_t generation;  /* 1 for the configuration Penstock started with, +1 with each reload */
    char name[IMAGE_NAME_MAX];
    char user[IMAGE_NAME_MAX];   /* "" keeps the user that started Penstock */
    uint32_t workers;            /* slots; "auto" is resolved to the number of usable CPUs */
    uint32_t backlog;            /* of every listening socket */
    uint64_t sessions_limit;     /* all workers together */
    uint64_t flows_limit;        /* entries of the flow table; 0: by the sessions, see image_flows() */
    uint64_t buffer_bytes_limit; /* buffer bank, all workers together */
    struct image_timeouts timeouts;
    uint32_t log_level;     /* enum log_level */
    uint32_t spin_us;       /* looks for completions this long before it sleeps; 0: sleeps at once */
    uint32_t access_format; /* enum access_format */
    uint32_t reserved;
    char access_path[IMAGE_PATH_MAX]; /* "" is stderr; "off" writes no access log; IMAGE_SYSLOG and a path */
    struct endpoint exporter;         /* where metrics are served; ENDPOINT_NONE: nowhere */
    struct image_time_wait time_wait;
    uint32_t listener_count, bind_count, pool_count, server_count;
    uint32_t listener_offset, bind_offset, pool_offset, server_offset; /* bytes from the start of the image */
};

static inline const struct image_listener *image_listener(const struct image *image, uint32_t index)
{
    return (const struct image_listener *)((const char *)image + image->listener_offset) + index;
}

static inline const struct image_bind *image_bind(const struct image *image, uint32_t index)
{
    return (const struct image_bind *)((const char *)image + image->bind_offset) + index;
}

static inline const struct image_pool *image_pool(const struct image *image, uint32_t index)
{
    return (const struct image_pool *)((const char *)image + image->pool_offset) + index;
}

static inline const struct image_server *image_server(const struct image *image, uint32_t index)
{
    return (const struct image_server *)((const char *)image + image->server_offset) + index;
}

/* The bytes an image with these counts takes, and the offsets of its arrays, written into `image`. */
uint32_t image_layout(struct image *image, uint32_t listeners, uint32_t binds, uint32_t pools,
                      uint32_t servers);

/* The timeouts of a session that came by `listener` and goes to `pool`: the pool's own where it sets one, else the
 * listener's, else those of the top level. Never IMAGE_INHERIT. */
struct image_timeouts image_timeouts_of(const struct image *image, uint32_t listener, uint32_t pool);

/* Entries of the flow table that are wanted. By default the living sessions, two each, fill IMAGE_FLOW_LOAD_PERCENT. */
uint64_t image_flows(const struct image *image);

/* Whether the image has a listener of this row and a server of that; ROW_NONE is any. */
bool image_has_rows(const struct image *image, uint16_t listener_row, uint16_t server_row);

/* Does without zero-copy sends everywhere. Whether any listener or pool had asked for them. */
bool image_clear_zero_copy(struct image *image);

/* Whether every offset, count, index and string lies within the image's `size` bytes. */
bool image_check(const struct image *image, size_t size);

#endif
