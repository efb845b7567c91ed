/*
 * The heap: jemalloc, linked in place of malloc. Nothing on the data path allocates.
 */
#ifndef PENSTOCK_IO_HEAP_H
#define PENSTOCK_IO_HEAP_H

#include <stdint.h>

/* Bytes this process has allocated now; 0 in builds without jemalloc (sanitizers bring their own). */
uint64_t heap_allocated_bytes(void);

#endif
