/*
 * penstock status: what an instance does, from its region, as text or JSON.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd/exporter/json.h"
#include "cmd/show.h"
#include "cmd/text.h"
#include "shm/name_row.h"

static void print_bytes(const char *label, uint64_t bytes)
{
    char text[TEXT_NUMBER_MAX];

    printf("  %-22s %s\n", label, text_bytes(text, bytes));
}

static void print_number(const char *label, uint64_t value)
{
    printf("  %-22s %" PRIu64 "\n", label, value);
}

/* p50 and p99, "-" where nothing was timed. */
static void print_times(const struct time_histogram *times)
{
    static const uint32_t quantiles[] = {500, 990};
    bool any = time_histogram_count(times) > 0;
    char text[TEXT_NUMBER_MAX];

    for (int i = 0; i < 2; i++) {
        printf(" %9s", any ? text_time(text, time_histogram_quantile_us(times, quantiles[i])) : "-");
    }
}

static void print_servers(const struct summary *summary, const struct region *region)
{
    printf("\n%-16s %-28s %-5s %9s %10s %9s %9s %9s\n", "POOL", "SERVER", "STATE", "SESSIONS", "CONNECTS",
           "FAILURES", "IN p50", "p99");
    for (uint32_t row = 0; row < summary->server_rows; row++) {
        const struct name_row *name = region_name(region, NAME_SERVER, (uint16_t)row);
        const struct server_counters *server = &summary->server[row];
        printf("%-16s %-28s %-5s %9u %10" PRIu64 " %9" PRIu64, name->pool, name->name,
               admin_state_text(admin_state_of(summary->server_orders[row])), server->sessions,
               server->connects, server->failures);
        print_times(&summary->connect_times[row]);
        printf("%s\n", name->current ? "" : "  (no longer configured)");
    }
}

static void print_listeners(const struct summary *summary, const struct region *region)
{
    printf("\n%-16s %9s %10s %8s %8s %9s %9s %9s %9s\n", "LISTENER", "SESSIONS", "ACCEPTED", "WAITING",
           "DROPPED", "BYTE p50", "p99", "LIFE p50", "p99");
    for (uint32_t row = 0; row < summary->listener_rows; row++) {
        const struct name_row *name = region_name(region, NAME_LISTENER, (uint16_t)row);
        const struct listener_counters *listener = &summary->listener[row];
        const struct accept_queue *queue = &summary->queue[row];
        printf("%-16s %9" PRIu64 " %10" PRIu64 " ", name->name, summary->listener_sessions[row],
               listener->accepted);
        if (queue->sockets > 0) {
            printf("%8u %8" PRIu64, queue->length, queue->drops);
        } else {
            printf("%8s %8s", "-", "-");
        }
        print_times(&listener->first_bytes);
        print_times(&listener->durations);
        printf("%s\n", name->current ? "" : "  (no longer configured)");
    }
}

static void print_flows(const struct summary *summary)
{
    const struct time_wait_view *view = &summary->time_wait;
    uint64_t used = 0;
    char text[TIME_WAIT_TEXT_MAX];

    for (int i = FLOW_ACTIVE; i <= FLOW_TIME_WAIT; i++) {
        used += summary->flows[i];
    }
    printf("  %-22s %" PRIu64 " of %" PRIu64 "\n", "flow entries", used, summary->flow_capacity);
    for (int i = FLOW_ACTIVE; i <= FLOW_TIME_WAIT; i++) {
        if (summary->flows[i] > 0) {
            printf("    %-20s %" PRIu64 "\n", flow_state_text(i), summary->flows[i]);
        }
    }
    printf("  %-22s %" PRIu64 " entries, %" PRIu64 " to do", "swept", view->sweep_freed,
           summary->flows_expired);
    if (view->sweep_rounds > 0) {
        printf("; the last round took %s", text_duration(text, view->sweep_round_ms));
    }
    printf("\n");
    printf("  %-22s %s\n", "TIME_WAIT", time_wait_describe(text, view));
#define TIME_WAIT_COUNTER(name, what)                                            \
    if (view->counters.name > 0) {                                               \
        printf("    %-20s %" PRIu64 "  %s\n", #name, view->counters.name, what); \
    }
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
    if (view->kernel_destroyed > 0) {
        printf("    %-20s %" PRIu64 "  sockets in TIME_WAIT that the kernel was relieved of\n", "destroyed",
               view->kernel_destroyed);
    }
}

static void print_text(const struct summary *summary, const struct region *region)
{
    char up[TEXT_NUMBER_MAX];
    char taken[TEXT_NUMBER_MAX];

    printf("%s: version %.*s, up %s, %u of %u workers serving, configuration %" PRIu64
           " taken %s ago, %u reloads refused%s\n\n",
           region->header->name, REGION_VERSION_MAX - 1, region->header->version,
           text_duration(up, summary->up_seconds * 1000), summary->serving, summary->workers,
           summary->generation, text_duration(taken, summary->taken_seconds * 1000), summary->reloads_failed,
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
    print_flows(summary);
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
    print_listeners(summary, region);
    print_servers(summary, region);
    printf("\n%-6s %8s %-9s %6s %9s %11s %7s %12s %10s\n", "WORKER", "PID", "STATE", "BUSY", "SESSIONS",
           "INCARNATION", "DEATHS", "ADOPTION us", "HEAP KiB");
    for (uint32_t i = 0; i < summary->slots; i++) {
        const struct summary_worker *worker = &summary->worker[i];
        printf("%-6u %8u %-9s %3u.%u%% %9u %11u %7u %12" PRIu64 " %10" PRIu64 "\n", i, worker->pid,
               summary_slot_state_text(worker->state), worker->busy_permille / 10, worker->busy_permille % 10,
               worker->sessions, worker->incarnation, worker->deaths, worker->adoption_us,
               worker->heap_bytes / 1024);
    }
}

int command_status(const struct command_options *options)
{
    return show_summary(options, print_text, json_status);
}
