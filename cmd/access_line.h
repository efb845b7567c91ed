/*
 * The lines of the access log, out of the records that workers leave in their rings. Formats: README.md.
 *
 * A record is a worker's word: whatever it holds makes one line, of bounded length and well-formed. Names come from the
 * region's head, which workers cannot write.
 */
#ifndef PENSTOCK_CMD_ACCESS_LINE_H
#define PENSTOCK_CMD_ACCESS_LINE_H

#include <stddef.h>

#include "shm/worker_slot.h"

enum { ACCESS_LINE_MAX = 4096 }; /* longest line with its newline and a NUL */

/* Writes one line with its newline and a NUL into ACCESS_LINE_MAX bytes; returns its length. */
size_t access_line_format(char *line, enum access_format format, const struct region *region, uint32_t slot,
                          const struct log_record *record);

#endif
