/*
 * penstock status: what an instance does, from its region, as text or JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/instance.h"
#include "cmd/summary.h"
#include "shm/name_row.h"

static const char *const slot_states[] = {"empty", "adopting", "serving", "done"};

static const char *slot_state_text(uint32_t state)
{
    return state <= SLOT_DONE ? slot_states[state] : "damaged";
}

static void print_bytes(const char *label, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    int unit = 0;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    printf("  %-22s %.*f %s\n", label, unit > 0 ? 1 : 0, value, units[unit]);
}

static void print_number(const char *label, uint64_t value)
{
    printf("  %-22s %" PRIu64 "\n", label, value);
}

static void print_servers(const struct region *region)
{
    printf("\n%-16s %-28s %9s %10s %9s\n", "POOL", "SERVER", "SESSIONS", "CONNECTS", "FAILURES");
    for (uint32_t row = 0; row < name_rows_max(NAME_SERVER); row++) {
        const struct name_row *name = region_name(region, NAME_SERVER, (uint16_t)row);
        struct server_counters sum;
        if (!name->used) {
            break;
        }
        summary_server(&sum, region, (uint16_t)row);
        printf("%-16s %-28s %9u %10" PRIu64 " %9" PRIu64 "%s\n", name->pool, name->name, sum.sessions,
               sum.connects, sum.failures, name->current ? "" : "  (no longer configured)");
    }
}

static void print_text(const struct summary *summary, const struct region *region)
{
    printf("%s: version %.*s, up %" PRIu64 " s, %u of %u workers serving, configuration %" PRIu64 "%s\n\n",
           region->header->name, REGION_VERSION_MAX - 1, region->header->version, summary->up_seconds,
           summary->serving, summary->workers, summary->generation,
           region->header->run_state == RUN_DRAIN ? ", draining" : "");
    printf("  %-22s %" PRIu64 " of %" PRIu64 "%s\n", "sessions", summary->sessions, summary->sessions_limit,
           summary->accept_paused ? "  (accepting is paused: a limit is reached)" : "");
    for (int i = SESSION_CHOOSING; i < SESSION_PHASE_COUNT; i++) {
        if (summary->phases[i] > 0) {
            printf("    %-20s %" PRIu64 "\n", session_phase_text(i), summary->phases[i]);
        }
    }
    if (summary->sessions_draining > 0) {
        print_number("sessions draining", summary->sessions_draining);
    }
    print_bytes("from clients", summary->client_bytes);
    print_bytes("from servers", summary->server_bytes);
    print_bytes("buffers lent", summary->buffer_lent_bytes);
    print_bytes("buffers in all", summary->buffer_budget_bytes);
    print_number("receivers waiting", summary->receivers_waiting);
#define SLOT_STAT(name, meaning)                                                  \
    if (summary->stats.name > 0) {                                                \
        printf("  %-22s %" PRIu64 "  %s\n", #name, summary->stats.name, meaning); \
    }
#include "shm/stats.def"
#undef SLOT_STAT
    printf("\n%-16s %10s\n", "CLOSED", "SESSIONS");
    for (int i = 1; i < CLOSE_REASON_COUNT; i++) {
        if (summary->stats.closes[i] > 0) {
            printf("%-20s %6" PRIu64 "\n", close_reason_text(i), summary->stats.closes[i]);
        }
    }
    print_servers(region);
    printf("\n%-6s %8s %-9s %11s %7s %9s %12s %10s\n", "WORKER", "PID", "STATE", "INCARNATION", "DEATHS",
           "SESSIONS", "ADOPTION us", "HEAP KiB");
    for (uint32_t i = 0; i < summary->slots; i++) {
        const struct summary_worker *worker = &summary->worker[i];
        printf("%-6u %8u %-9s %11u %7u %9u %12" PRIu64 " %10" PRIu64 "\n", i, worker->pid,
               slot_state_text(worker->state), worker->incarnation, worker->deaths, worker->sessions,
               worker->adoption_us, worker->heap_bytes / 1024);
    }
}

static void print_json_servers(const struct region *region)
{
    const char *comma = "";

    printf("\"servers\":[");
    for (uint32_t row = 0; row < name_rows_max(NAME_SERVER); row++) {
        const struct name_row *name = region_name(region, NAME_SERVER, (uint16_t)row);
        struct server_counters sum;
        if (!name->used) {
            break;
        }
        summary_server(&sum, region, (uint16_t)row);
        printf("%s{\"pool\":\"%s\",\"server\":\"%s\",\"current\":%s,\"sessions\":%u,\"connects\":%" PRIu64
               ",\"failures\":%" PRIu64 ",\"bytes_to\":%" PRIu64 ",\"bytes_from\":%" PRIu64 "}",
               comma, name->pool, name->name, name->current ? "true" : "false", sum.sessions, sum.connects,
               sum.failures, sum.bytes_to, sum.bytes_from);
        comma = ",";
    }
    printf("],");
}

static void print_json(const struct summary *summary, const struct region *region)
{
    printf("{\"name\":\"%s\",\"version\":\"%.*s\",\"upgrades\":%u,\"up_seconds\":%" PRIu64
           ",\"generation\":%" PRIu64 ",\"reloads_failed\":%u,",
           region->header->name, REGION_VERSION_MAX - 1, region->header->version, region->header->upgrades,
           summary->up_seconds, summary->generation, region->header->reloads_failed);
    printf("\"sessions\":%" PRIu64 ",\"sessions_draining\":%" PRIu64 ",\"sessions_limit\":%" PRIu64
           ",\"accept_paused\":%s,",
           summary->sessions, summary->sessions_draining, summary->sessions_limit,
           summary->accept_paused ? "true" : "false");
    printf("\"client_bytes\":%" PRIu64 ",\"server_bytes\":%" PRIu64 ",", summary->client_bytes,
           summary->server_bytes);
    printf("\"buffer_budget_bytes\":%" PRIu64 ",\"buffer_lent_bytes\":%" PRIu64
           ",\"receivers_waiting\":%" PRIu64 ",",
           summary->buffer_budget_bytes, summary->buffer_lent_bytes, summary->receivers_waiting);
    printf("\"phases\":{");
    for (int i = SESSION_CHOOSING; i < SESSION_PHASE_COUNT; i++) {
        printf("%s\"%s\":%" PRIu64, i > SESSION_CHOOSING ? "," : "", session_phase_text(i),
               summary->phases[i]);
    }
    printf("},\"stats\":{");
    const char *comma = "";
#define SLOT_STAT(name, meaning)                                    \
    printf("%s\"%s\":%" PRIu64, comma, #name, summary->stats.name); \
    comma = ",";
#include "shm/stats.def"
#undef SLOT_STAT
    printf("},\"closes\":{");
    for (int i = 1; i < CLOSE_REASON_COUNT; i++) {
        printf("%s\"%s\":%" PRIu64, i > 1 ? "," : "", close_reason_text(i), summary->stats.closes[i]);
    }
    printf("},");
    print_json_servers(region);
    printf("\"workers\":[");
    for (uint32_t i = 0; i < summary->slots; i++) {
        const struct summary_worker *worker = &summary->worker[i];
        printf(
            "%s{\"worker\":%u,\"pid\":%u,\"state\":\"%s\",\"incarnation\":%u,\"deaths\":%u,\"sessions\":%u,"
            "\"adoption_us\":%" PRIu64 ",\"heap_bytes\":%" PRIu64 "}",
            i > 0 ? "," : "", i, worker->pid, slot_state_text(worker->state), worker->incarnation,
            worker->deaths, worker->sessions, worker->adoption_us, worker->heap_bytes);
    }
    printf("]}\n");
}

int command_status(const struct command_options *options)
{
    static struct summary summary; /* large */
    struct instance instance;
    struct region region;

    if (instance_open(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    summary_read(&summary, &region);
    if (options->json) {
        print_json(&summary, &region);
    } else {
        print_text(&summary, &region);
    }
    region_detach(&region);
    return EXIT_SUCCESS;
}
