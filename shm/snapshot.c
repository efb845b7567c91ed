#include "shm/snapshot.h"

#include <stdint.h>
#include <string.h>

enum { LOOKS_MAX = 64 }; /* a look takes less than the time between two changes of one record */

bool snapshot_read(void *copy, const void *record, size_t bytes)
{
    const uint64_t *from = record;
    uint64_t words[SNAPSHOT_BYTES_MAX / sizeof(uint64_t)];
    size_t count = bytes / sizeof(uint64_t);

    for (size_t i = 0; i < count; i++) {
        words[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    }
    for (int look = 1; look < LOOKS_MAX; look++) {
        uint64_t differs = 0;
        __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the look before, then this one */
        for (size_t i = 0; i < count; i++) {
            uint64_t word = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
            differs |= word ^ words[i];
            words[i] = word;
        }
        if (differs == 0) {
            memcpy(copy, words, bytes);
            return true;
        }
    }
    return false;
}
