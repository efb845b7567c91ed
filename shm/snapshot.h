/*
 * Copies of records that another process may be changing.
 */
#ifndef PENSTOCK_SHM_SNAPSHOT_H
#define PENSTOCK_SHM_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>

/* Copies a record of `bytes` (a multiple of 8, at most SNAPSHOT_BYTES_MAX, 8-aligned) as it was at one
 * moment: two looks in a row have to agree, else it looks again, a bounded number of times. False where they
 * never did. Never makes the writer wait. */
bool snapshot_read(void *copy, const void *record, size_t bytes);

enum { SNAPSHOT_BYTES_MAX = 256 };

#endif
