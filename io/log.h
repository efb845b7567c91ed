/*
 * The log of the processes: key=value lines on standard error, one write(2) each. Sessions go to the access log.
 */
#ifndef PENSTOCK_IO_LOG_H
#define PENSTOCK_IO_LOG_H

#include "core/image.h"

/* Lines above `level` are dropped; `process` ("supervisor", "worker.3") stands in every line and is kept, not
 * copied. */
void log_init(enum log_level level, const char *process);

/* A reload may change the level. */
void log_set_level(enum log_level level);

/* Writes one line: time, level and process, then `format`, which is a list of key=value pairs. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
