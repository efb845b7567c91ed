/*
 * The logger: a process of its own that writes the access log.
 *
 * Workers put records into rings in shared memory and never wait; the logger turns them into lines and may block on a
 * slow disk or terminal as long as it likes: what then does not fit a ring is dropped and counted by the worker. It is
 * forked by the supervisor and restarted if it dies. SIGUSR1: open the file again; SIGTERM: write the rest and end.
 */
#ifndef PENSTOCK_CMD_LOGGER_H
#define PENSTOCK_CMD_LOGGER_H

#include <stddef.h>

#include "shm/worker_slot.h"

_Noreturn void logger_main(const struct region *region);

/* One line of the access log with its newline; returns its length. The format is described in README.md. */
size_t logger_format(char *line, size_t size, const struct region *region, uint32_t slot,
                     const struct log_record *record);

#endif
