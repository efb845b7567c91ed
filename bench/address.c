/*
 * Socket addresses: text to sockaddr and back. No name look-up: numbers only, so nothing here blocks.
 */
#include "bench/address.h"

#include "bench/number.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static int parse_unix(const char *path, struct address *address)
{
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof(address->un.sun_path))
        return -EINVAL;
    address->un.sun_family = AF_UNIX;
    memcpy(address->un.sun_path, path, length + 1);
    address->length = sizeof(address->un);
    return 0;
}

static int parse_in(const char *host, uint16_t port, int family, struct address *address)
{
    if (family == AF_INET6) {
        address->in6.sin6_family = AF_INET6;
        address->in6.sin6_port = htons(port);
        address->length = sizeof(address->in6);
        return inet_pton(AF_INET6, host, &address->in6.sin6_addr) == 1 ? 0 : -EINVAL;
    }
    address->in4.sin_family = AF_INET;
    address->in4.sin_port = htons(port);
    address->length = sizeof(address->in4);
    return inet_pton(AF_INET, host, &address->in4.sin_addr) == 1 ? 0 : -EINVAL;
}

int address_parse(const char *text, struct address *address)
{
    memset(address, 0, sizeof(*address));
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, address);

    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (colon == NULL || number_parse(colon + 1, UINT16_MAX, &port) != 0)
        return -EINVAL;
    size_t length = (size_t)(colon - text);
    char host[INET6_ADDRSTRLEN];
    int family = AF_INET;
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        family = AF_INET6;
        text++;
        length -= 2;
    }
    if (length >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    return parse_in(host, (uint16_t)port, family, address);
}

void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";

    switch (address->any.sa_family) {
    case AF_UNIX:
        snprintf(text, ADDRESS_TEXT_MAX, "unix:%s", address->un.sun_path);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->in6.sin6_addr, host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address->in6.sin6_port));
        break;
    default:
        inet_ntop(AF_INET, &address->in4.sin_addr, host, sizeof(host));
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address->in4.sin_port));
    }
}

int address_range_parse(const char *text, struct address_range *range)
{
    char first[INET_ADDRSTRLEN];
    const char *dash = strchr(text, '-');
    size_t length = dash != NULL ? (size_t)(dash - text) : strlen(text);
    struct in_addr from, to;

    if (length >= sizeof(first))
        return -EINVAL;
    memcpy(first, text, length);
    first[length] = '\0';
    if (inet_pton(AF_INET, first, &from) != 1)
        return -EINVAL;
    if (inet_pton(AF_INET, dash != NULL ? dash + 1 : first, &to) != 1 ||
        ntohl(to.s_addr) < ntohl(from.s_addr))
        return -EINVAL;
    range->first = ntohl(from.s_addr);
    range->count = ntohl(to.s_addr) - range->first + 1;
    range->next = 0;
    return range->count == 0 ? -EINVAL : 0;
}

void address_range_take(struct address_range *range, struct address *address)
{
    memset(address, 0, sizeof(*address));
    address->in4.sin_family = AF_INET;
    address->in4.sin_addr.s_addr = htonl(range->first + range->next);
    address->length = sizeof(address->in4);
    range->next = (range->next + 1) % range->count;
}
