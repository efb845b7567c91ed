/*
 * Text forms of addresses: reading, writing, comparing. Pure; used by every process.
 */
#include "core/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNIX_PREFIX "unix:"

static int refuse(const char **why, const char *text)
{
    if (why)
        *why = text;
    return -EINVAL;
}

/* Reads a decimal port of 1 to 65535 without sign or leading zero that takes up all of `text`. */
static int port_parse(uint16_t *port, const char *text, const char **why)
{
    size_t digits = strspn(text, "0123456789");
    unsigned value = 0;

    if (digits == 0 || text[digits] != '\0' || digits > 5)
        return refuse(why, "needs a port from 1 to 65535 at its end, as in 192.0.2.1:80");
    for (size_t i = 0; i < digits; i++)
        value = value * 10 + (unsigned)(text[i] - '0');
    if (value == 0)
        return refuse(why, "has port 0; ports go from 1 to 65535");
    if (text[0] == '0')
        return refuse(why, "has a port with a leading zero; write it without");
    if (value > UINT16_MAX)
        return refuse(why, "has a port beyond 65535; ports go from 1 to 65535");
    *port = (uint16_t)value;
    return 0;
}

/* Whether a path has one spelling only: no "//", "." or "..", no slash at its end. Two paths that differ in
 * their bytes then name one socket only through links. */
static bool path_is_normal(const char *path)
{
    for (const char *part = path; *part == '/';) {
        const char *name = part + 1;
        size_t length = strcspn(name, "/");

        if (length == 0 || (length == 1 && name[0] == '.') ||
            (length == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        part = name + length;
    }
    return true;
}

static int unix_parse(struct endpoint *endpoint, const char *path, const char **why)
{
    size_t length = strlen(path);

    if (path[0] != '/')
        return refuse(why, "needs an absolute path, as in unix:/run/x.sock");
    if (length > ENDPOINT_PATH_MAX)
        return refuse(why, "is too long; a unix socket's path has at most 107 bytes");
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
            return refuse(why, "has a control character in its path; write a plain path");
    if (!path_is_normal(path))
        return refuse(
            why, "needs a plain path without '//', '.', '..' or a slash at its end, as in unix:/run/x.sock");
    endpoint->family = ENDPOINT_UNIX;
    memcpy(endpoint->bytes, path, length + 1);
    return 0;
}

static int v6_parse(struct endpoint *endpoint, const char *text, const char **why)
{
    char host[INET6_ADDRSTRLEN];
    const char *end = strchr(text, ']');
    size_t length;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (!end)
        return refuse(why, "needs a closing bracket after the IPv6 address, as in [2001:db8::1]:80");
    length = (size_t)(end - text) - 1;
    if (memchr(text + 1, '%', length))
        return refuse(why, "has an IPv6 zone; zones are not supported by this version");
    if (length >= sizeof(host))
        return refuse(why, "needs an IPv6 address in the brackets, as in [2001:db8::1]:80");
    memcpy(host, text + 1, length);
    host[length] = '\0';
    if (inet_pton(AF_INET6, host, endpoint->bytes) != 1)
        return refuse(why, "needs an IPv6 address in the brackets, as in [2001:db8::1]:80");
    if (memcmp(endpoint->bytes, mapped, sizeof(mapped)) == 0)
        return refuse(why, "is an IPv4 address in IPv6 form; write the IPv4 address, as in 192.0.2.1:80");
    if (end[1] != ':')
        return refuse(why, "needs a port after the bracket, as in [2001:db8::1]:80");
    endpoint->family = ENDPOINT_V6;
    return port_parse(&endpoint->port, end + 2, why);
}

/* Says what is amiss with a text that has no single colon between an address and a port. */
static int v4_refuse_shape(const char *text, const char **why)
{
    uint8_t bytes[16];

    if (text[0] == '/')
        return refuse(why, "needs 'unix:' before the path, as in unix:/run/x.sock");
    if (inet_pton(AF_INET6, text, bytes) == 1)
        return refuse(why, "needs brackets around the IPv6 address and a port, as in [2001:db8::1]:80");
    if (strchr(text, ':'))
        return refuse(why, "needs brackets around an IPv6 address, as in [2001:db8::1]:80");
    if (text[0] != '\0' && text[strspn(text, "0123456789")] == '\0')
        return refuse(why, "needs an IP address before the port, as in 192.0.2.1:80");
    return refuse(why,
                  "needs an address and a port, as in 192.0.2.1:80, [2001:db8::1]:80 or unix:/run/x.sock");
}

static int v4_parse(struct endpoint *endpoint, const char *text, const char **why)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    size_t length;

    if (!colon || strchr(text, ':') != colon)
        return v4_refuse_shape(text, why);
    length = (size_t)(colon - text);
    if (length == 0 || (length == 1 && text[0] == '*'))
        return refuse(why, "needs an IP address before the port; 0.0.0.0 stands for all of this machine's");
    if (length < sizeof(host)) {
        memcpy(host, text, length);
        host[length] = '\0';
        if (inet_pton(AF_INET, host, endpoint->bytes) == 1) {
            endpoint->family = ENDPOINT_V4;
            return port_parse(&endpoint->port, colon + 1, why);
        }
    }
    if (strspn(text, "0123456789.") == length)
        return refuse(why, "needs an IPv4 address of four numbers from 0 to 255, as in 192.0.2.1:80");
    return refuse(why, "needs an IP address; names are not supported by this version");
}

int endpoint_parse(struct endpoint *endpoint, const char *text, const char **why)
{
    struct endpoint parsed = {.family = ENDPOINT_NONE};
    int error;

    memset(endpoint, 0, sizeof(*endpoint));
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        error = unix_parse(&parsed, text + strlen(UNIX_PREFIX), why);
    else if (text[0] == '[')
        error = v6_parse(&parsed, text, why);
    else
        error = v4_parse(&parsed, text, why);
    if (error == 0)
        *endpoint = parsed;
    return error;
}

const char *endpoint_format(const struct endpoint *endpoint, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN];

    switch (endpoint->family) {
    case ENDPOINT_UNIX:
        snprintf(text, size, UNIX_PREFIX "%.*s", ENDPOINT_PATH_MAX, (const char *)endpoint->bytes);
        break;
    case ENDPOINT_V4:
        inet_ntop(AF_INET, endpoint->bytes, host, sizeof(host));
        snprintf(text, size, "%s:%u", host, endpoint->port);
        break;
    case ENDPOINT_V6:
        inet_ntop(AF_INET6, endpoint->bytes, host, sizeof(host));
        snprintf(text, size, "[%s]:%u", host, endpoint->port);
        break;
    default:
        snprintf(text, size, "none");
        break;
    }
    return text;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    if (a->family != b->family)
        return false;
    switch (a->family) {
    case ENDPOINT_UNIX:
        return strncmp((const char *)a->bytes, (const char *)b->bytes, sizeof(a->bytes)) == 0;
    case ENDPOINT_V4:
        return a->port == b->port && memcmp(a->bytes, b->bytes, 4) == 0;
    case ENDPOINT_V6:
        return a->port == b->port && memcmp(a->bytes, b->bytes, 16) == 0;
    default:
        return true;
    }
}
