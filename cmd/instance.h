/*
 * A running instance and its name: /run/penstock/NAME.pid, locked while the supervisor lives.
 *
 *     PID HEAD TABLES          the supervisor, and its descriptors of the region's head and tables: anybody who may can
 *                              map them through /proc
 *     memory DEVICE INODE      what the instance's processes hold: how they are found when the supervisor
 *     ...                      is dead; then the same of elder generations that have not ended
 *
 * The file is replaced as a whole, so nobody ever reads half of it; the lock goes over to the new one before
 * the old one is gone. Where /run/penstock cannot be made (not root), $XDG_RUNTIME_DIR/penstock.
 */
#ifndef PENSTOCK_CMD_INSTANCE_H
#define PENSTOCK_CMD_INSTANCE_H

#include <stdbool.h>
#include <sys/types.h>

#include "cmd/command.h"
#include "cmd/kin.h"
#include "shm/region.h"

enum { INSTANCE_MEMORIES_MAX = 8 };

struct instance {
    pid_t pid;           /* of the supervisor; 0: it is dead, the others serve on */
    char path[512];      /* of the file */
    int fd;              /* the claim's lock; -1 for others */
    bool handed;         /* the claim was this process's before it became another program */
    uint32_t left_count; /* what a predecessor left that did not end by itself */
    struct kin_memory left[INSTANCE_MEMORIES_MAX];
    pid_t left_pid;
};

/* Claims the name for this process. 0, -EBUSY where an instance of that name runs (its pid in `instance`), or
 * -errno. */
int instance_claim(struct instance *instance, const char *name);

/* Writes how the region and those who hold it are to be found, and the memories of `elders` besides. 0 or -errno. */
int instance_publish(struct instance *instance, const struct region *region, const struct kin_memory *elders,
                     uint32_t count);

/* Lets the claim survive execve(2), or not: the program that comes finds it by instance_claim(). */
int instance_hand_on(const struct instance *instance, bool on);

/* Gives the name up: the instance has ended, or (`ended` false) its other processes serve on. */
void instance_release(struct instance *instance, bool ended);

/* Finds the running instance the options name and maps its tables read-only, with or without a supervisor. 0,
 * or -1 with a message on standard error. */
int instance_open(struct instance *instance, struct region *region, const struct command_options *options);

/* The same with a head that can be written: shm/order.h. Only for the supervisor's user and root. */
int instance_open_for_orders(struct instance *instance, struct region *region,
                             const struct command_options *options);

#endif
