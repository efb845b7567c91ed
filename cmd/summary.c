#include "cmd/summary.h"

#include <string.h>

#include "core/chain.h"
#include "io/clock.h"
#include "shm/image_box.h"
#include "shm/session_slab.h"

static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value,
                           __ATOMIC_RELAXED); /* a counter by itself; no order with others is promised */
}

static void add_stats(struct slot_stats *sum, const struct slot_stats *stats)
{
#define SLOT_STAT(name, meaning) sum->name += load(&stats->name);
#include "shm/stats.def"
#undef SLOT_STAT
    for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
        sum->closes[i] += load(&stats->closes[i]);
    }
}

static bool drains(const struct image *image, uint32_t slot, const struct session *session)
{
    return slot >= image->workers || !image_has_rows(image, session->listener_row, session->server_row);
}

static void add_sessions(struct summary *summary, const struct region *region, uint32_t slot)
{
    uint32_t high =
        __atomic_load_n(&region_slot(region, slot)->session_high, __ATOMIC_ACQUIRE); /* session_slab.c */
    const struct image *image = image_box_current(region);
    struct session session;

    for (uint32_t i = 0; i < high; i++) {
        if (session_slab_read(region, slot, i, &session) && session.phase < SESSION_PHASE_COUNT) {
            summary->phases[session.phase]++;
            summary->sessions_draining += session.phase != SESSION_FREE && drains(image, slot, &session);
            summary->client_bytes += session.conn[SIDE_CLIENT].received_bytes;
            summary->server_bytes += session.conn[SIDE_SERVER].received_bytes;
        }
    }
}

static void add_slot(struct summary *summary, const struct region *region, uint32_t index)
{
    const struct worker_slot *slot = region_slot(region, index);

    summary->worker[index] = (struct summary_worker){
        .pid = slot->pid,
        .state = slot->state,
        .incarnation = slot->epoch,
        .deaths = slot->deaths,
        .sessions = slot->sessions_active,
        .adoption_us = slot->adoption_us,
        .heap_bytes = slot->heap_bytes,
    };
    summary->sessions += slot->sessions_active;
    summary->serving += slot->state == SLOT_SERVING;
    summary->accept_paused += slot->accept_paused;
    summary->receivers_waiting += slot->receivers_waiting;
    summary->buffer_lent_bytes += (uint64_t)slot->buffers_large_lent * BUFFER_LARGE_BYTES +
                                  (uint64_t)slot->buffers_small_lent * BUFFER_SMALL_BYTES;
    add_stats(&summary->stats, &slot->stats);
    add_sessions(summary, region, index);
}

void summary_read(struct summary *summary, const struct region *region)
{
    const struct region_header *header = region->header;
    const struct image *image = image_box_current(region);

    memset(summary, 0, sizeof(*summary));
    summary->generation = image->generation;
    summary->up_seconds = (clock_now_us() - header->created_monotonic_us) / 1000000;
    summary->sessions_limit = image->sessions_limit;
    summary->workers = image->workers;
    summary->slots = region_slots_used(region);
    summary->buffer_budget_bytes = image->buffer_bytes_limit;
    for (uint32_t i = 0; i < region_slots_used(region); i++) {
        add_slot(summary, region, i);
    }
    summary->client_bytes += summary->stats.client_bytes;
    summary->server_bytes += summary->stats.server_bytes;
}

void summary_server(struct server_counters *sum, const struct region *region, uint16_t row)
{
    memset(sum, 0, sizeof(*sum));
    for (uint32_t i = 0; i < region_slots_used(region); i++) {
        const struct server_counters *counters = region_server_counters(region, i, row);
        sum->sessions += __atomic_load_n(&counters->sessions, __ATOMIC_RELAXED);
        sum->connects += load(&counters->connects);
        sum->failures += load(&counters->failures);
        sum->bytes_to += load(&counters->bytes_to);
        sum->bytes_from += load(&counters->bytes_from);
    }
}
