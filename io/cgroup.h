/* Control groups, version 2: cgroups(7). */
#ifndef PENSTOCK_IO_CGROUP_H
#define PENSTOCK_IO_CGROUP_H

#include <stddef.h>

/* Opens the directory of a cgroup that this process is in: `path`, or "" for its own. The descriptor; -errno:
 * -ENODEV where no cgroup2 file system is mounted, -EPROTO where `path` is none of its directories, -EXDEV
 * where this process is not in it. */
int cgroup_open(const char *path);

#endif
