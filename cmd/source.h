/*
 * A client's address as people read it.
 */
#ifndef PENSTOCK_CMD_SOURCE_H
#define PENSTOCK_CMD_SOURCE_H

#include <stddef.h>

#include "core/endpoint.h"

/* "192.0.2.1:80", "unix:" for a unix socket, "-" where none is known. `address` is of 16 bytes; `size` at least
 * ENDPOINT_TEXT_MAX. Returns `text`. */
const char *source_format(char *text, size_t size, uint8_t family, uint16_t port, const uint8_t *address);

#endif
