/*
 * An address a connection comes from or goes to: IPv4, IPv6 or a unix socket path.
 *
 * A plain value without pointers, so that it may lie in shared memory. Text forms:
 * "192.0.2.1:80", "[2001:db8::1]:80", "unix:/run/x.sock".
 */
#ifndef PENSTOCK_CORE_ENDPOINT_H
#define PENSTOCK_CORE_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum endpoint_family {
    ENDPOINT_NONE = 0,
    ENDPOINT_UNIX = 1,
    ENDPOINT_V4 = 4,
    ENDPOINT_V6 = 6,
};

enum {
    ENDPOINT_PATH_MAX = 107, /* sun_path less its NUL: unix(7) */
    ENDPOINT_TEXT_MAX = 128, /* longest text form with its NUL */
};

struct endpoint {
    uint8_t family; /* enum endpoint_family */
    uint8_t reserved;
    uint16_t port;                        /* host order; 0 for unix */
    uint8_t bytes[ENDPOINT_PATH_MAX + 1]; /* 4 or 16, in network order, or a NUL-terminated path */
};

_Static_assert(sizeof(struct endpoint) == 112, "endpoint lies in shared memory");

/* Reads the text form. Returns 0, or -EINVAL where `text` is no address with a port or absolute path; then *why,
 * if not NULL, is a sentence without a full stop that says what is expected. */
int endpoint_parse(struct endpoint *endpoint, const char *text, const char **why);

/* Writes the text form, at most `size` bytes with NUL. Returns `text`. */
const char *endpoint_format(const struct endpoint *endpoint, char *text, size_t size);

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);

#endif
