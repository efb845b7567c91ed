/*
 * The logger: a process of its own that writes the access log, to a file, standard error or syslog.
 *
 * Workers put records into rings in shared memory and never wait; the logger turns them into lines (cmd/access_line.h).
 * It may block on a slow disk or terminal as long as it likes. What cannot be written waits, in the logger and in the
 * rings, and what then does not fit a ring is dropped and counted by the worker. It is forked by the supervisor and
 * restarted if it dies. SIGUSR1: open the file again; SIGTERM: write the rest and end.
 */
#ifndef PENSTOCK_CMD_LOGGER_H
#define PENSTOCK_CMD_LOGGER_H

#include "shm/region.h"

_Noreturn void logger_main(const struct region *region);

#endif
