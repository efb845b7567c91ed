#include "shm/worker_slot.h"

bool worker_slot_check(const struct worker_slot *slot, const struct region *region)
{
    const struct region_header *header = region->header;
    uint32_t buffers = header->large_per_slot + header->small_per_slot;

    if (slot->session_high > header->sessions_per_slot || slot->state > SLOT_DONE) {
        return false;
    }
    if (slot->undo.used > UNDO_BYTES || slot->undo.valid > 1) {
        return false;
    }
    for (int class = 0; class < SLOT_CLASSES; class ++) {
        for (int i = 0; i < SLOT_RING_BUFFERS; i++) {
            uint32_t id = slot->ring_buffers[class][i];
            if (id != BUFFER_NONE && id >= buffers) {
                return false;
            }
        }
    }
    return true;
}
