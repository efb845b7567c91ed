/*
 * The exporter: a process of its own that shows what the instance does, over HTTP.
 *
 * It is forked by the supervisor, gives up all rights, and can only read the region; it is restarted if it
 * dies and ends with its supervisor. Nothing waits for it.
 */
#ifndef PENSTOCK_CMD_EXPORTER_PROCESS_H
#define PENSTOCK_CMD_EXPORTER_PROCESS_H

#include "cmd/privileges.h"
#include "shm/region.h"

/* Serves the listening socket `fd`; closes every other descriptor. */
_Noreturn void exporter_main(struct region *region, int fd, const struct identity *identity);

#endif
