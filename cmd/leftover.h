/*
 * What owning TIME_WAIT puts into the system, and how it gets out again: pins in the BPF file system, and
 * net.ipv4.tcp_max_tw_buckets. Both outlive every process of an instance; what is to be put back is pinned, too.
 */
#ifndef PENSTOCK_CMD_LEFTOVER_H
#define PENSTOCK_CMD_LEFTOVER_H

#include "shm/region.h"

/* The directory for the pins of the instance of this name in this network namespace. */
void leftover_pins(char pins[REGION_PINS_MAX], const char *name);

/* Sets tcp_max_tw_buckets to 0; what it was is noted first. 0 or -errno. */
int leftover_take_buckets(const char *pins);

/* Puts it back where it was taken. */
void leftover_restore_buckets(const char *pins);

/* The same, then removes the pins. Whether there was anything. */
bool leftover_remove(const char *pins);

#endif
