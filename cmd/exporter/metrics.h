/*
 * What an instance does, as metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0.0.
 */
#ifndef PENSTOCK_CMD_EXPORTER_METRICS_H
#define PENSTOCK_CMD_EXPORTER_METRICS_H

#include <stdio.h>

#include "cmd/summary.h"

enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };

/* The content type of a format, with its charset. */
const char *metrics_content_type(enum metrics_format format);

/* The format that an Accept header (RFC 9110, 12.5.1; NULL: none) asks for. */
enum metrics_format metrics_choose(const char *accept);

void metrics_print(FILE *out, enum metrics_format format, const struct summary *summary,
                   const struct region *region);

#endif
