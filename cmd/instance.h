/*
 * A running instance and its name: /run/penstock/NAME.pid, locked while the supervisor lives.
 *
 * The file holds the supervisor's process id and the numbers of its descriptors of the region's head and tables, so that
 * anybody who may can map the region through /proc. Where /run/penstock cannot be made (not root), $XDG_RUNTIME_DIR/penstock.
 */
#ifndef PENSTOCK_CMD_INSTANCE_H
#define PENSTOCK_CMD_INSTANCE_H

#include <sys/types.h>

#include "cmd/command.h"
#include "shm/region.h"

struct instance {
    pid_t pid;
    char path[512]; /* of the file */
    int fd;         /* the claim's lock; -1 for others */
};

/* Claims the name for this process. 0, -EBUSY where an instance of that name runs (its pid in `instance`), or
 * -errno. */
int instance_claim(struct instance *instance, const char *name);

/* Writes how the region is to be found. 0 or -errno. */
int instance_publish(const struct instance *instance, const struct region *region);

void instance_release(struct instance *instance);

/* Finds the running instance the options name and maps its tables read-only. 0, or -1 with a message on standard error. */
int instance_open(struct instance *instance, struct region *region, const struct command_options *options);

#endif
