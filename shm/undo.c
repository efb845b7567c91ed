#include "shm/undo.h"

#include <stdatomic.h>
#include <string.h>

#include "core/check.h"
#include "shm/fault_point.h"

/* bench/price.sh measures a build without transactions, whose workers must not die. */
#ifdef PENSTOCK_WITHOUT_ADOPTION
enum { RECORDING = 0 };
#else
enum { RECORDING = 1 };
#endif

struct record {
    uint64_t offset;
    uint32_t length;
    uint32_t previous; /* where the record before this one begins */
};

/* Keeps the compiler from moving stores across; see the head of undo.h for why that is enough. */
static void order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static void begin(struct undo_log *log, uint32_t by_head, uint32_t head)
{
    if (!RECORDING) {
        return;
    }
    log->valid = 0;
    order();
    log->by_head = by_head;
    log->head = head;
    log->used = 0;
    FAULT_POINT(UNDO_CLEARED);
    order();
    log->valid = 1;
    order();
    FAULT_POINT(UNDO_VALID);
}

void undo_begin_completion(struct undo_log *log, uint32_t head)
{
    begin(log, 1, head);
}

void undo_begin(struct undo_log *log)
{
    begin(log, 0, 0);
}

/* Records end with the offset of the last one, so that rollback can walk backwards: the oldest copy wins. */
void undo_save(struct undo_log *log, const void *base, const void *address, uint32_t length)
{
    struct record record = {
        .offset = (uint64_t)((const uint8_t *)address - (const uint8_t *)base),
        .length = length,
        .previous = log->used,
    };
    uint32_t padded = (length + 7u) & ~7u;
    uint32_t size = padded + (uint32_t)sizeof(record);

    if (!RECORDING) {
        return;
    }
    CHECK(log->valid && log->used + size <= UNDO_BYTES);
    /* The data first, then its record: read backwards from `used`. */
    memcpy(log->records + log->used, address, length);
    memcpy(log->records + log->used + padded, &record, sizeof(record));
    FAULT_POINT(UNDO_COPIED);
    order();
    log->used += size;
    order();
    FAULT_POINT(UNDO_SAVED);
}

void undo_commit(struct undo_log *log)
{
    FAULT_POINT(UNDO_COMMITTING);
    order();
    log->valid = 0;
    order();
    FAULT_POINT(UNDO_COMMITTED);
}

bool undo_rollback(struct undo_log *log, void *base, uint32_t head)
{
    if (!log->valid || (log->by_head && log->head != head)) {
        log->valid = 0;
        return false;
    }
    uint32_t end = log->used;
    CHECK(end <= UNDO_BYTES);
    FAULT_POINT(ROLLBACK_BEGUN);
    while (end > 0) {
        struct record record;
        memcpy(&record, log->records + end - sizeof(record), sizeof(record));
        CHECK(record.previous < end);
        memcpy((uint8_t *)base + record.offset, log->records + record.previous, record.length);
        end = record.previous;
        FAULT_POINT(ROLLBACK_RECORD);
    }
    FAULT_POINT(ROLLBACK_DONE);
    order();
    log->valid = 0;
    return true;
}
