/*
 * Socket addresses as the tools write them: "127.0.0.1:9001", "[::1]:9001", "unix:/path".
 */
#ifndef PENSTOCK_BENCH_ADDRESS_H
#define PENSTOCK_BENCH_ADDRESS_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_TEXT_MAX 128

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t length;
};

/* A range of IPv4 source addresses, handed out round robin. count 0 means none is set. */
struct address_range {
    uint32_t first; /* host byte order */
    uint32_t count;
    uint32_t next;
};

/* 0, or -EINVAL if the text is no address. */
int address_parse(const char *text, struct address *address);
void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]);

/* "127.0.0.1-127.0.0.20" or a single address. 0 or -EINVAL. */
int address_range_parse(const char *text, struct address_range *range);

/* The next source address, with port 0. range->count must not be 0. */
void address_range_take(struct address_range *range, struct address *address);

#endif
