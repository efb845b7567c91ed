/*
 * What an instance does, as JSON: `penstock status|servers --json` and the exporter's API are the same text.
 */
#ifndef PENSTOCK_CMD_EXPORTER_JSON_H
#define PENSTOCK_CMD_EXPORTER_JSON_H

#include <stdio.h>

#include "cmd/summary.h"

/* A string in quotes (RFC 8259, 7). `text` is UTF-8. */
void json_string(FILE *out, const char *text);

/* One object and a newline. */
void json_status(FILE *out, const struct summary *summary, const struct region *region);

/* An array of all servers, and a newline. */
void json_servers(FILE *out, const struct summary *summary, const struct region *region);

#endif
