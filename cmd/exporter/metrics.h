/*
 * What an instance does, as metrics: Prometheus' text format 0.0.4, or OpenMetrics 1.0.0.
 */
#ifndef PENSTOCK_CMD_EXPORTER_METRICS_H
#define PENSTOCK_CMD_EXPORTER_METRICS_H

#include <stdio.h>

#include "cmd/exporter/accept_queue.h"
#include "cmd/summary.h"

enum metrics_format { METRICS_PROMETHEUS, METRICS_OPENMETRICS };

/* The content type of a format, with its charset. */
const char *metrics_content_type(enum metrics_format format);

/* The format that an Accept header (RFC 9110, 12.5.1; NULL: none) asks for. */
enum metrics_format metrics_choose(const char *accept);

/* `queues` are IMAGE_LISTENERS_MAX, by listener row; NULL where they are not known. */
void metrics_print(FILE *out, enum metrics_format format, const struct summary *summary,
                   const struct accept_queue *queues, const struct region *region);

#endif
