#include "cmd/source.h"

#include <stdio.h>
#include <string.h>

const char *source_format(char *text, size_t size, uint8_t family, uint16_t port, const uint8_t *address)
{
    struct endpoint source = {.family = family, .port = port};

    if (family == ENDPOINT_V4 || family == ENDPOINT_V6) {
        memcpy(source.bytes, address, 16);
        return endpoint_format(&source, text, size);
    }
    snprintf(text, size, "%s", family == ENDPOINT_UNIX ? "unix:" : "-");
    return text;
}
