#include "cmd/exporter/json.h"

#include <inttypes.h>

#include "cmd/command.h"
#include "cmd/exporter/health.h"
#include "shm/name_row.h"

void json_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            fprintf(out, "\\%c", *text);
        } else if ((unsigned char)*text < 0x20) {
            fprintf(out, "\\u%04x", *text);
        } else {
            fputc(*text, out);
        }
    }
    fputc('"', out);
}

static const char *bool_text(bool value)
{
    return value ? "true" : "false";
}

/* Without the empty buckets at the end; their bounds are in `time_bounds_us`. */
static void print_times(FILE *out, const char *key, const struct time_histogram *times)
{
    uint32_t used = TIME_BUCKETS;

    while (used > 0 && times->buckets[used - 1] == 0) {
        used--;
    }
    fprintf(out, ",\"%s\":{\"count\":%" PRIu64 ",\"p50_us\":%" PRIu64 ",\"p99_us\":%" PRIu64 ",\"buckets\":[",
            key, time_histogram_count(times), time_histogram_quantile_us(times, 500),
            time_histogram_quantile_us(times, 990));
    for (uint32_t i = 0; i < used; i++) {
        fprintf(out, "%s%" PRIu64, i > 0 ? "," : "", times->buckets[i]);
    }
    fprintf(out, "]}");
}

static void print_bounds(FILE *out)
{
    fprintf(out, "\"time_bounds_us\":[");
    for (uint32_t i = 0; i < TIME_BOUNDS; i++) {
        fprintf(out, "%s%" PRIu64, i > 0 ? "," : "", time_histogram_bound_us(i));
    }
    fprintf(out, "],");
}

/* null: unix sockets only, or nobody says. */
static void print_queue(FILE *out, const struct accept_queue *queue)
{
    if (queue->sockets == 0) {
        fprintf(out, ",\"accept_queue\":null");
        return;
    }
    fprintf(out, ",\"accept_queue\":{\"length\":%u,\"limit\":%u,\"drops\":%" PRIu64 "}", queue->length,
            queue->limit, queue->drops);
}

static void print_listeners(FILE *out, const struct summary *summary, const struct region *region)
{
    fprintf(out, "\"listeners\":[");
    for (uint32_t row = 0; row < summary->listener_rows; row++) {
        const struct name_row *name = region_name(region, NAME_LISTENER, (uint16_t)row);
        fprintf(out, "%s{\"listener\":", row > 0 ? "," : "");
        json_string(out, name->name);
        fprintf(out, ",\"current\":%s,\"sessions\":%" PRIu64 ",\"accepted\":%" PRIu64,
                bool_text(name->current), summary->listener_sessions[row], summary->listener[row].accepted);
        print_queue(out, &summary->queue[row]);
        print_times(out, "first_byte", &summary->listener[row].first_bytes);
        print_times(out, "duration", &summary->listener[row].durations);
        fprintf(out, "}");
    }
    fprintf(out, "],");
}

static void print_servers(FILE *out, const struct summary *summary, const struct region *region)
{
    fprintf(out, "[");
    for (uint32_t row = 0; row < summary->server_rows; row++) {
        const struct name_row *name = region_name(region, NAME_SERVER, (uint16_t)row);
        const struct server_counters *server = &summary->server[row];
        fprintf(out, "%s{\"pool\":", row > 0 ? "," : "");
        json_string(out, name->pool);
        fprintf(out, ",\"server\":");
        json_string(out, name->name);
        fprintf(out, ",\"state\":\"%s\",\"weight\":%u",
                admin_state_text(admin_state_of(summary->server_orders[row])), summary->server_weights[row]);
        fprintf(out,
                ",\"current\":%s,\"sessions\":%u,\"connects\":%" PRIu64 ",\"failures\":%" PRIu64
                ",\"redispatches\":%" PRIu64 ",\"ports\":%" PRIu64 ",\"ports_time_wait\":%" PRIu64
                ",\"ports_exhausted\":%" PRIu64 ",\"bytes_to\":%" PRIu64 ",\"bytes_from\":%" PRIu64,
                bool_text(name->current), server->sessions, server->connects, server->failures,
                server->redispatches, summary->ports[row].active, summary->ports[row].time_wait,
                server->ports_exhausted, server->bytes_to, server->bytes_from);
        print_times(out, "connect", &summary->connect_times[row]);
        fprintf(out, "}");
    }
    fprintf(out, "]");
}

static void print_workers(FILE *out, const struct summary *summary)
{
    fprintf(out, "\"workers\":[");
    for (uint32_t i = 0; i < summary->slots; i++) {
        const struct summary_worker *worker = &summary->worker[i];
        fprintf(out,
                "%s{\"worker\":%u,\"pid\":%u,\"state\":\"%s\",\"incarnation\":%u,\"deaths\":%u,"
                "\"sessions\":%u,\"beat_age_ms\":%" PRIu64 ",\"adopted_age_ms\":%" PRIu64
                ",\"adoption_us\":%" PRIu64 ",\"heap_bytes\":%" PRIu64 ",\"busy_us\":%" PRIu64
                ",\"busy_ratio\":%u.%03u,\"completions\":%" PRIu64 "}",
                i > 0 ? "," : "", i, worker->pid, summary_slot_state_text(worker->state), worker->incarnation,
                worker->deaths, worker->sessions, worker->beat_age_ms, worker->adopted_age_ms,
                worker->adoption_us, worker->heap_bytes, worker->busy_us, worker->busy_permille / 1000,
                worker->busy_permille % 1000, worker->completions);
    }
    fprintf(out, "]");
}

static void print_head(FILE *out, const struct summary *summary, const struct region *region)
{
    struct health health;

    health_judge(&health, summary);
    fprintf(out, "{\"name\":");
    json_string(out, region->header->name);
    fprintf(out, ",\"version\":");
    json_string(out, region->header->version);
    fprintf(out, ",\"upgrades\":%u", region->header->upgrades);
    fprintf(out, ",\"state\":\"%s\",\"live\":%s,\"ready\":%s,\"reason\":",
            summary_run_state_text(summary->run_state), bool_text(health.live), bool_text(health.ready));
    json_string(out, health.reason);
    fprintf(out,
            ",\"read_us\":%" PRIu64 ",\"up_seconds\":%" PRIu64 ",\"generation\":%" PRIu64
            ",\"generation_seconds\":%" PRIu64 ",\"reloads_failed\":%u,",
            summary->read_us, summary->up_seconds, summary->generation, summary->taken_seconds,
            summary->reloads_failed);
}

static void print_totals(FILE *out, const struct summary *summary)
{
    fprintf(out,
            "\"workers_configured\":%u,\"workers_serving\":%u,\"sessions\":%" PRIu64
            ",\"sessions_draining\":%" PRIu64 ",\"sessions_limit\":%" PRIu64 ",\"accept_paused\":%s,",
            summary->workers, summary->serving, summary->sessions, summary->sessions_draining,
            summary->sessions_limit, bool_text(summary->accept_paused));
    fprintf(out, "\"client_bytes\":%" PRIu64 ",\"server_bytes\":%" PRIu64 ",", summary->client_bytes,
            summary->server_bytes);
    fprintf(out,
            "\"buffer_budget_bytes\":%" PRIu64 ",\"buffer_lent_bytes\":%" PRIu64
            ",\"receivers_waiting\":%" PRIu64 ",",
            summary->buffer_budget_bytes, summary->buffer_lent_bytes, summary->receivers_waiting);
    fprintf(out, "\"phases\":{");
    for (int i = SESSION_CHOOSING; i < SESSION_PHASE_COUNT; i++) {
        fprintf(out, "%s\"%s\":%" PRIu64, i > SESSION_CHOOSING ? "," : "", session_phase_text(i),
                summary->phases[i]);
    }
    fprintf(out, "},\"flows\":{\"capacity\":%" PRIu64, summary->flow_capacity);
    for (int i = FLOW_ACTIVE; i <= FLOW_TIME_WAIT; i++) {
        fprintf(out, ",\"%s\":%" PRIu64, flow_state_text(i), summary->flows[i]);
    }
    fprintf(out, "},");
}

static void print_time_wait(FILE *out, const struct summary *summary)
{
    const struct time_wait_view *view = &summary->time_wait;
    const char *comma = "";

    fprintf(out, "\"time_wait\":{\"mode\":\"%s\",\"why\":", time_wait_mode_text(view));
    json_string(out, view->why);
    fprintf(out,
            ",\"two_msl_ms\":%u,\"interfaces\":%u,\"kernel_destroyed\":%" PRIu64
            ",\"sweep\":{\"rounds\":%" PRIu64 ",\"freed\":%" PRIu64 ",\"round_ms\":%u,\"expired\":%" PRIu64
            ",\"lag_ms\":%" PRIu64 "},\"counters\":{",
            view->two_msl_ms, view->interfaces, view->kernel_destroyed, view->sweep_rounds, view->sweep_freed,
            view->sweep_round_ms, summary->flows_expired, summary->sweep_lag_ms);
#define TIME_WAIT_COUNTER(name, what)                                     \
    fprintf(out, "%s\"%s\":%" PRIu64, comma, #name, view->counters.name); \
    comma = ",";
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
    fprintf(out, "}},");
}

static void print_stats(FILE *out, const struct slot_stats *stats)
{
    const char *comma = "";

    fprintf(out, "\"stats\":{");
#define SLOT_STAT(name, meaning)                                  \
    fprintf(out, "%s\"%s\":%" PRIu64, comma, #name, stats->name); \
    comma = ",";
#include "shm/stats.def"
#undef SLOT_STAT
    fprintf(out, "},\"closes\":{");
    for (int i = 1; i < CLOSE_REASON_COUNT; i++) {
        fprintf(out, "%s\"%s\":%" PRIu64, i > 1 ? "," : "", close_reason_text(i), stats->closes[i]);
    }
    fprintf(out, "},");
}

void json_status(FILE *out, const struct summary *summary, const struct region *region)
{
    print_head(out, summary, region);
    print_totals(out, summary);
    print_time_wait(out, summary);
    print_stats(out, &summary->stats);
    print_bounds(out);
    print_listeners(out, summary, region);
    fprintf(out, "\"servers\":");
    print_servers(out, summary, region);
    fprintf(out, ",");
    print_workers(out, summary);
    fprintf(out, "}\n");
}

void json_servers(FILE *out, const struct summary *summary, const struct region *region)
{
    print_servers(out, summary, region);
    fprintf(out, "\n");
}
