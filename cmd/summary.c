#include "cmd/summary.h"

#include <string.h>

#include "core/chain.h"
#include "io/clock.h"
#include "shm/flow_table.h"
#include "shm/image_box.h"
#include "shm/name_row.h"
#include "shm/order.h"
#include "shm/session_slab.h"

/* What the current image names, by row. */
struct named {
    bool listeners[IMAGE_LISTENERS_MAX];
    bool servers[IMAGE_SERVERS_MAX];
};

/* A value by itself; no order with others is promised. */
static uint64_t load(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static uint32_t load32(const uint32_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void add_times(struct time_histogram *sum, const struct time_histogram *times)
{
    sum->sum_us += load(&times->sum_us);
    for (int i = 0; i < TIME_BUCKETS; i++) {
        sum->buckets[i] += load(&times->buckets[i]);
    }
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

static void add_slot(struct summary *summary, const struct region *region, uint32_t index)
{
    const struct worker_slot *slot = region_slot(region, index);
    uint64_t now_ms = summary->read_us / 1000;
    uint64_t beat_ms = load(&slot->beat_ms);
    uint64_t adopted_ms = load(&slot->adopted_us) / 1000;
    struct summary_worker *worker = &summary->worker[index];

    *worker = (struct summary_worker){
        .pid = load32(&slot->pid),
        .state = load32(&slot->state),
        .incarnation = load32(&slot->epoch),
        .deaths = load32(&slot->deaths),
        .sessions = load32(&slot->sessions_active),
        .records_used = load32(&slot->session_high),
        .share_bytes = load32(&slot->share_bytes),
        .beat_age_ms = now_ms > beat_ms ? now_ms - beat_ms : 0,
        .adopted_age_ms = now_ms > adopted_ms ? now_ms - adopted_ms : 0,
        .adoption_us = load(&slot->adoption_us),
        .heap_bytes = load(&slot->heap_bytes),
        .busy_us = load(&slot->busy_us),
        .busy_permille = load32(&slot->busy_permille),
        .completions = load(&slot->completions),
    };
    summary->sessions += worker->sessions;
    summary->serving += worker->state == SLOT_SERVING;
    summary->accept_paused += load32(&slot->accept_paused) != 0;
    summary->receivers_waiting += load32(&slot->receivers_waiting);
    summary->buffer_lent_bytes += (uint64_t)load32(&slot->buffers_large_lent) * BUFFER_LARGE_BYTES +
                                  (uint64_t)load32(&slot->buffers_small_lent) * BUFFER_SMALL_BYTES;
    add_stats(&summary->stats, &slot->stats);
    add_times(&summary->adoptions, region_adoption_times(region, index));
}

static void mark_named(struct named *named, const struct image *image)
{
    memset(named, 0, sizeof(*named));
    for (uint32_t i = 0; i < image->listener_count; i++) {
        named->listeners[image_listener(image, i)->row % IMAGE_LISTENERS_MAX] = true;
    }
    for (uint32_t i = 0; i < image->server_count; i++) {
        named->servers[image_server(image, i)->row % IMAGE_SERVERS_MAX] = true;
    }
}

static bool drains(const struct named *named, const struct session *session)
{
    bool listener = session->listener_row < IMAGE_LISTENERS_MAX && named->listeners[session->listener_row];
    bool server = session->server_row == ROW_NONE ||
                  (session->server_row < IMAGE_SERVERS_MAX && named->servers[session->server_row]);

    return !listener || !server;
}

/* After the counters of ended sessions have been read: a session that ends in between is missing for a moment, and none
 * counts twice. */
static void add_sessions(struct summary *summary, const struct region *region)
{
    const struct image *image = image_box_current(region);
    struct session_walk walk;
    struct session session;
    struct named named;

    mark_named(&named, image);
    session_walk_begin(&walk, region);
    while (session_walk_next(&walk, &session)) {
        summary->phases[session.phase]++;
        summary->sessions_draining += walk.slot >= image->workers || drains(&named, &session);
        summary->client_bytes += session.conn[SIDE_CLIENT].received_bytes;
        summary->server_bytes += session.conn[SIDE_SERVER].received_bytes;
        if (session.listener_row < IMAGE_LISTENERS_MAX) {
            summary->listener_sessions[session.listener_row]++;
        }
    }
}

static void add_expired(struct summary *summary, const struct flow_entry *entry)
{
    int32_t over_ms = (int32_t)((uint32_t)(summary->read_us / 1000) - entry->expire_ms);

    if (entry->state != FLOW_ACTIVE && over_ms > 0) {
        summary->flows_expired++;
        summary->sweep_lag_ms =
            (uint64_t)over_ms > summary->sweep_lag_ms ? (uint64_t)over_ms : summary->sweep_lag_ms;
    }
}

static void add_flows(struct summary *summary, const struct region *region)
{
    static struct source_ports_map map; /* large */
    struct flow_walk walk = {0};
    struct flow_table table;
    struct flow_entry entry;

    flow_table_open(&table, region);
    summary->flow_capacity = (uint64_t)table.groups * FLOW_GROUP;
    source_ports_begin(&map, image_box_current(region));
    while (flow_walk_next(&walk, &table, &entry)) {
        summary->flows[entry.state]++;
        add_expired(summary, &entry);
        source_ports_add(&map, &entry);
    }
    source_ports_end(&map, summary->ports, &summary->source_pairs);
}

static uint32_t rows_used(const struct region *region, enum name_kind kind)
{
    uint32_t row = 0;

    while (row < name_rows_max(kind) &&
           __atomic_load_n(&region_name(region, kind, (uint16_t)row)->used, __ATOMIC_ACQUIRE)) {
        row++;
    }
    return row;
}

static void add_listener(struct listener_counters *sum, const struct region *region, uint16_t row)
{
    for (uint32_t i = 0; i < region_slots_used(region); i++) {
        const struct listener_counters *counters = region_listener_counters(region, i, row);
        sum->accepted += load(&counters->accepted);
        for (int k = 0; k < CLOSE_REASON_COUNT; k++) {
            sum->closes[k] += load(&counters->closes[k]);
        }
        add_times(&sum->first_bytes, &counters->first_bytes);
        add_times(&sum->durations, &counters->durations);
    }
}

static void add_server(struct summary *summary, const struct region *region, uint16_t row)
{
    struct server_counters *sum = &summary->server[row];

    for (uint32_t i = 0; i < region_slots_used(region); i++) {
        const struct server_counters *counters = region_server_counters(region, i, row);
        sum->sessions += load32(&counters->sessions);
        sum->connects += load(&counters->connects);
        sum->failures += load(&counters->failures);
        sum->redispatches += load(&counters->redispatches);
        sum->ports_exhausted += load(&counters->ports_exhausted);
        sum->bytes_to += load(&counters->bytes_to);
        sum->bytes_from += load(&counters->bytes_from);
        if (load(&counters->connects) > 0) { /* else looking would make its page */
            add_times(&summary->connect_times[row], region_connect_times(region, i, row));
        }
    }
}

static void read_orders(struct summary *summary, const struct region *region)
{
    const struct image *image = image_box_current(region);

    for (uint32_t row = 0; row < summary->server_rows; row++) {
        summary->server_orders[row] = order_server(region, (uint16_t)row);
    }
    for (uint32_t i = 0; i < image->server_count; i++) {
        const struct image_server *server = image_server(image, i);
        uint32_t row = server->row % IMAGE_SERVERS_MAX;
        uint32_t ordered = admin_weight_of(summary->server_orders[row]);
        summary->server_weights[row] = ordered != 0 ? ordered : server->weight;
    }
}

/* Until the first reload there is no time of one: the configuration is as old as the instance. */
static void read_times(struct summary *summary, const struct region_header *header)
{
    uint64_t reloaded_us = load(&header->image_since_ms) * 1000;
    uint64_t begun_us = header->created_monotonic_us;
    uint64_t taken_us = reloaded_us > begun_us ? reloaded_us : begun_us;

    summary->start_time_us = header->created_realtime_us;
    summary->up_seconds = (summary->read_us - begun_us) / 1000000;
    summary->taken_time_us = header->created_realtime_us + (taken_us - begun_us);
    summary->taken_seconds = summary->read_us > taken_us ? (summary->read_us - taken_us) / 1000000 : 0;
}

void summary_read(struct summary *summary, const struct region *region)
{
    const struct region_header *header = region->header;
    const struct image *image = image_box_current(region);

    memset(summary, 0, sizeof(*summary));
    summary->read_us = clock_now_us();
    summary->run_state = load32(&header->run_state);
    summary->reloads_failed = load32(&header->reloads_failed);
    summary->generation = image->generation;
    read_times(summary, header);
    summary->sessions_limit = image->sessions_limit;
    summary->workers = image->workers;
    summary->slots = region_slots_used(region);
    summary->buffer_budget_bytes = image->buffer_bytes_limit;
    summary->records_capacity = (uint64_t)header->sessions_per_slot * summary->slots;
    summary->listener_rows = rows_used(region, NAME_LISTENER);
    summary->server_rows = rows_used(region, NAME_SERVER);
    for (uint32_t i = 0; i < summary->slots; i++) {
        add_slot(summary, region, i);
    }
    for (uint32_t i = 0; i < summary->listener_rows; i++) {
        add_listener(&summary->listener[i], region, (uint16_t)i);
    }
    for (uint32_t i = 0; i < summary->server_rows; i++) {
        add_server(summary, region, (uint16_t)i);
    }
    read_orders(summary, region);
    (void)accept_queue_read(summary->queue, image);
    summary->client_bytes = summary->stats.client_bytes;
    summary->server_bytes = summary->stats.server_bytes;
    add_sessions(summary, region);
    add_flows(summary, region);
    time_wait_view_read(&summary->time_wait, region);
}

static void lift(uint64_t *value, uint64_t least)
{
    *value = *value < least ? least : *value;
}

static void lift_times(struct time_histogram *times, const struct time_histogram *least)
{
    lift(&times->sum_us, least->sum_us);
    for (int i = 0; i < TIME_BUCKETS; i++) {
        lift(&times->buckets[i], least->buckets[i]);
    }
}

static void lift_listener(struct listener_counters *listener, const struct listener_counters *least)
{
    lift(&listener->accepted, least->accepted);
    for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
        lift(&listener->closes[i], least->closes[i]);
    }
    lift_times(&listener->first_bytes, &least->first_bytes);
    lift_times(&listener->durations, &least->durations);
}

static void lift_server(struct summary *summary, const struct summary *before, uint32_t row)
{
    lift(&summary->server[row].connects, before->server[row].connects);
    lift(&summary->server[row].failures, before->server[row].failures);
    lift(&summary->server[row].redispatches, before->server[row].redispatches);
    lift(&summary->server[row].ports_exhausted, before->server[row].ports_exhausted);
    lift(&summary->server[row].bytes_to, before->server[row].bytes_to);
    lift(&summary->server[row].bytes_from, before->server[row].bytes_from);
    lift_times(&summary->connect_times[row], &before->connect_times[row]);
}

void summary_keep_rising(struct summary *summary, const struct summary *before)
{
    lift(&summary->client_bytes, before->client_bytes);
    lift(&summary->server_bytes, before->server_bytes);
#define SLOT_STAT(name, meaning) lift(&summary->stats.name, before->stats.name);
#include "shm/stats.def"
#undef SLOT_STAT
    for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
        lift(&summary->stats.closes[i], before->stats.closes[i]);
    }
    lift_times(&summary->adoptions, &before->adoptions);
    for (uint32_t i = 0; i < before->listener_rows; i++) {
        lift_listener(&summary->listener[i], &before->listener[i]);
    }
    if (summary->generation != before->generation) {
        return; /* rows may have got other servers */
    }
    for (uint32_t i = 0; i < before->server_rows; i++) {
        lift_server(summary, before, i);
    }
}

const char *summary_run_state_text(uint32_t state)
{
    static const char *const texts[] = {"serving", "draining", "stopping"};

    return state <= RUN_STOP ? texts[state] : "damaged";
}

const char *summary_slot_state_text(uint32_t state)
{
    static const char *const texts[] = {"empty", "adopting", "serving", "done"};

    return state <= SLOT_DONE ? texts[state] : "damaged";
}
