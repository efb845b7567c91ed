#include "core/share.h"

uint32_t share_bytes(uint64_t budget_bytes, uint64_t free_bytes, uint32_t active)
{
    uint64_t share = budget_bytes / (active > 0 ? active : 1);

    if (share > free_bytes / 2) {
        share = free_bytes / 2;
    }
    if (share < SHARE_MIN_BYTES) {
        return SHARE_MIN_BYTES;
    }
    return share > SHARE_MAX_BYTES ? SHARE_MAX_BYTES : (uint32_t)share;
}
