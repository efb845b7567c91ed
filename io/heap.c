#include "io/heap.h"

#ifdef PENSTOCK_NO_JEMALLOC

uint64_t heap_allocated_bytes(void)
{
    return 0;
}

#else

#include <jemalloc/jemalloc.h>
#include <stddef.h>

uint64_t heap_allocated_bytes(void)
{
    uint64_t epoch = 1;
    size_t bytes = 0;
    size_t size = sizeof(epoch);

    /* jemalloc(3): statistics are a snapshot, taken when the epoch is written. */
    (void)mallctl("epoch", &epoch, &size, &epoch, size);
    size = sizeof(bytes);
    return mallctl("stats.allocated", &bytes, &size, NULL, 0) == 0 ? bytes : 0;
}

#endif
