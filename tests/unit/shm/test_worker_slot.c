/* The check of a worker slot before a new incarnation relies on it, and its layout. */
#include "shm/worker_slot.h"

#include <criterion/criterion.h>
#include <stddef.h>

#include "tests/unit/shm/region_make.h"

TestSuite(worker_slot);

Test(worker_slot, cache_lines_are_split_by_who_writes)
{
    cr_expect_eq(offsetof(struct worker_slot, sessions_active) % 64, 0);
    cr_expect_eq(offsetof(struct worker_slot, log_head) % 64, 0);
    cr_expect_eq(offsetof(struct worker_slot, log_tail) - offsetof(struct worker_slot, log_head), 64);
    cr_expect_eq(offsetof(struct worker_slot, stats) % 64, 0);
    cr_expect_eq(offsetof(struct worker_slot, undo) % 4096, 0);
}

Test(worker_slot, a_fresh_one_is_sound)
{
    struct region region = region_make();

    for (uint32_t i = 0; i < MAKE_SLOTS; i++) {
        cr_expect(worker_slot_check(region_slot(&region, i), &region));
    }
}

#define DAMAGE(store)                                                                     \
    do {                                                                                  \
        struct region region = region_make();                                             \
        struct worker_slot *slot = region_slot(&region, 1);                               \
        uint32_t buffers = region.header->large_per_slot + region.header->small_per_slot; \
        slot->ring_buffers[0][0] = 0;                                                     \
        slot->ring_buffers[1][0] = buffers - 1;                                           \
        slot->session_high = MAKE_SESSIONS;                                               \
        slot->state = SLOT_DONE;                                                          \
        slot->undo.valid = 1;                                                             \
        slot->undo.used = UNDO_BYTES;                                                     \
        cr_assert(worker_slot_check(slot, &region));                                      \
        store;                                                                            \
        cr_expect_not(worker_slot_check(slot, &region), #store);                          \
        region_detach(&region);                                                           \
    } while (0)

Test(worker_slot, damage_is_refused)
{
    DAMAGE(slot->session_high = MAKE_SESSIONS + 1);
    DAMAGE(slot->state = SLOT_DONE + 1);
    DAMAGE(slot->undo.used = UNDO_BYTES + 1);
    DAMAGE(slot->undo.valid = 2);
    DAMAGE(slot->ring_buffers[0][SLOT_RING_BUFFERS - 1] = buffers);
    DAMAGE(slot->ring_buffers[1][7] = BUFFER_NONE - 1);
}

Test(worker_slot, log_records_wrap_within_the_slots_part)
{
    struct region region = region_make();
    struct log_record *first = region_log_record(&region, 1, 0);

    cr_expect_eq(region_log_record(&region, 1, LOG_RING_RECORDS), first);
    cr_expect_eq(region_log_record(&region, 1, 5 * LOG_RING_RECORDS + 3), first + 3);
    cr_expect_eq(region_log_record(&region, 0, 0) + LOG_RING_RECORDS, first);
}

Test(worker_slot, server_counters_are_one_per_slot_and_row)
{
    struct region region = region_make();

    cr_expect_eq(region_server_counters(&region, 0, 0) + IMAGE_SERVERS_MAX,
                 region_server_counters(&region, 1, 0));
    cr_expect_eq(region_server_counters(&region, 2, IMAGE_SERVERS_MAX - 1) + 1,
                 (struct server_counters *)region_row(&region, TABLE_SERVER_COUNTERS, 3 * IMAGE_SERVERS_MAX));
}
