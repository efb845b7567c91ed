#include "cmd/exporter/metrics.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "cmd/command.h"
#include "cmd/exporter/health.h"
#include "shm/name_row.h"

enum metric_type { GAUGE, COUNTER, HISTOGRAM };

/* The bounds a family of histograms shows: of times as short as connecting, or as long as sessions. */
struct bounds {
    uint32_t first, last;
};

static const struct bounds short_times = {0, 17};             /* 100 us to 50 s */
static const struct bounds long_times = {3, TIME_BOUNDS - 1}; /* 1 ms to 5.8 days */

struct metrics {
    FILE *out;
    enum metrics_format format;
    const struct summary *summary;
    const struct region *region;
    const char *family; /* without the prefix, and of a counter without _total */
    enum metric_type type;
    bool labelled; /* the sample being written has a label */
};

const char *metrics_content_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                         : "text/plain; version=0.0.4; charset=utf-8";
}

enum metrics_format metrics_choose(const char *accept)
{
    /* Who names it at all, as Prometheus does, prefers it. */
    return accept != NULL && strstr(accept, "application/openmetrics-text") != NULL ? METRICS_OPENMETRICS
                                                                                    : METRICS_PROMETHEUS;
}

/* A counter's name ends with _total; OpenMetrics calls the family what is before it. */
static void print_name(const struct metrics *metrics, bool of_sample)
{
    bool total = metrics->type == COUNTER && (of_sample || metrics->format == METRICS_PROMETHEUS);

    fprintf(metrics->out, "penstock_%s%s", metrics->family, total ? "_total" : "");
}

/* Begins a family; its samples follow. */
static void begin(struct metrics *metrics, enum metric_type type, const char *family, const char *help)
{
    metrics->family = family;
    metrics->type = type;
    fprintf(metrics->out, "# HELP ");
    print_name(metrics, false);
    fprintf(metrics->out, " %s\n# TYPE ", help);
    print_name(metrics, false);
    static const char *const types[] = {[GAUGE] = "gauge", [COUNTER] = "counter", [HISTOGRAM] = "histogram"};
    fprintf(metrics->out, " %s\n", types[type]);
}

static void begin_sample(struct metrics *metrics)
{
    print_name(metrics, true);
    metrics->labelled = false;
}

static void add_label(struct metrics *metrics, const char *label, const char *value)
{
    fprintf(metrics->out, "%s%s=\"", metrics->labelled ? "," : "{", label);
    metrics->labelled = true;
    for (size_t plain; plain = strcspn(value, "\"\\\n"), value[plain] != '\0'; value += plain + 1) {
        fwrite(value, 1, plain, metrics->out);
        fprintf(metrics->out, "\\%c", value[plain] == '\n' ? 'n' : value[plain]);
    }
    fprintf(metrics->out, "%s\"", value);
}

static void end_sample(struct metrics *metrics, uint64_t value)
{
    fprintf(metrics->out, "%s %" PRIu64 "\n", metrics->labelled ? "}" : "", value);
}

static void end_sample_us(struct metrics *metrics, uint64_t microseconds)
{
    fprintf(metrics->out, "%s %" PRIu64 ".%06" PRIu64 "\n", metrics->labelled ? "}" : "",
            microseconds / 1000000, microseconds % 1000000);
}

static void end_labelled(struct metrics *metrics, const char *label, const char *text, uint64_t value)
{
    add_label(metrics, label, text);
    end_sample(metrics, value);
}

/* A family of one sample without labels. */
static void print_one(struct metrics *metrics, enum metric_type type, const char *family, const char *help,
                      uint64_t value)
{
    begin(metrics, type, family, help);
    begin_sample(metrics);
    end_sample(metrics, value);
}

static void print_one_us(struct metrics *metrics, enum metric_type type, const char *family, const char *help,
                         uint64_t microseconds)
{
    begin(metrics, type, family, help);
    begin_sample(metrics);
    end_sample_us(metrics, microseconds);
}

static void print_labelled(struct metrics *metrics, const char *label, const char *text, uint64_t value)
{
    begin_sample(metrics);
    end_labelled(metrics, label, text, value);
}

/* --- Columns ------------------------------------------------------------------------------------------------ */

/* A family of which every row of a kind has a sample: the member `offset` of the row's struct, `bytes` wide. */
struct column {
    enum metric_type type;
    const char *family, *help;
    size_t offset;
    uint32_t bytes;
    uint32_t unit_us; /* of a time, which is shown in seconds; 0: a number */
};

#define MEMBER(row, member) .offset = offsetof(struct row, member), .bytes = sizeof(((struct row *)0)->member)

static void begin_column(struct metrics *metrics, const struct column *column)
{
    begin(metrics, column->type, column->family, column->help);
}

static void end_column(struct metrics *metrics, const struct column *column, const void *row)
{
    const void *at = (const char *)row + column->offset;
    uint64_t value = column->bytes == sizeof(uint32_t) ? *(const uint32_t *)at : *(const uint64_t *)at;

    if (column->unit_us > 0) {
        end_sample_us(metrics, value * column->unit_us);
    } else {
        end_sample(metrics, value);
    }
}

/* --- Histograms --------------------------------------------------------------------------------------------- */

/* Whose times they are: up to two labels, NULL where there are fewer. */
struct labels {
    const char *name[2];
    const char *value[2];
};

static void begin_part(struct metrics *metrics, const char *part, const struct labels *labels)
{
    print_name(metrics, true);
    fputs(part, metrics->out);
    metrics->labelled = false;
    for (int i = 0; i < 2 && labels->name[i] != NULL; i++) {
        add_label(metrics, labels->name[i], labels->value[i]);
    }
}

/* Bounds in seconds, with a point: OpenMetrics' canonical numbers. */
static void add_bound(struct metrics *metrics, uint64_t us)
{
    char text[32];

    snprintf(text, sizeof(text), us % 1000000 == 0 ? "%.1f" : "%.9g", (double)us / 1e6);
    add_label(metrics, "le", text);
}

/* The samples of one histogram: buckets that include those before them, as the formats want it. */
static void print_times(struct metrics *metrics, struct bounds bounds, const struct labels *labels,
                        const struct time_histogram *times)
{
    uint64_t count = 0;

    for (uint32_t i = 0; i < TIME_BUCKETS; i++) {
        count += times->buckets[i];
        if (i >= bounds.first && i <= bounds.last) {
            begin_part(metrics, "_bucket", labels);
            add_bound(metrics, time_histogram_bound_us(i));
            end_sample(metrics, count);
        }
    }
    begin_part(metrics, "_bucket", labels);
    add_label(metrics, "le", "+Inf");
    end_sample(metrics, count);
    begin_part(metrics, "_sum", labels);
    end_sample_us(metrics, times->sum_us);
    begin_part(metrics, "_count", labels);
    end_sample(metrics, count);
}

/* --- What there is ------------------------------------------------------------------------------------------ */

static void print_instance(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;
    struct health health;

    health_judge(&health, summary);
    begin(metrics, GAUGE, "build_info", "the version that runs");
    print_labelled(metrics, "version", penstock_version(), 1);
    print_one_us(metrics, GAUGE, "start_time_seconds", "when the instance started, since the epoch",
                 summary->start_time_us);
    print_one(metrics, GAUGE, "healthy", "whether every configured worker serves", health.live);
    print_one(metrics, GAUGE, "ready", "whether it also takes new connections", health.ready);
    print_one(metrics, GAUGE, "draining", "whether it drains or stops", summary->run_state != RUN_SERVE);
    print_one(metrics, GAUGE, "config_generation", "the configuration in use; the first is 1",
              summary->generation);
    print_one_us(metrics, GAUGE, "config_last_reload_success_timestamp_seconds",
                 "when the configuration in use was taken, since the epoch", summary->taken_time_us);
    begin(metrics, COUNTER, "reloads", "reloads by outcome");
    print_labelled(metrics, "result", "ok", summary->generation - 1);
    print_labelled(metrics, "result", "failed", summary->reloads_failed);
}

static const struct column worker_columns[] = {
    {COUNTER, "worker_incarnations", "lives of the worker in its slot", MEMBER(summary_worker, incarnation)},
    {COUNTER, "worker_deaths", "deaths of the worker that its sessions survived",
     MEMBER(summary_worker, deaths)},
    {GAUGE, "worker_sessions", "sessions of the worker", MEMBER(summary_worker, sessions)},
    {GAUGE, "worker_session_records", "session records ever used, of the worker's slab",
     MEMBER(summary_worker, records_used)},
    {GAUGE, "worker_buffer_share_bytes", "what one direction may hold of the buffers",
     MEMBER(summary_worker, share_bytes)},
    {GAUGE, "worker_heap_bytes", "private memory allocated by the worker",
     MEMBER(summary_worker, heap_bytes)},
    {COUNTER, "worker_completions", "completions the worker's ring brought",
     MEMBER(summary_worker, completions)},
    {COUNTER, "worker_busy_seconds",
     "CPU time the worker spent, the kernel's for it included, but not on spinning",
     MEMBER(summary_worker, busy_us), .unit_us = 1},
    {GAUGE, "worker_loop_age_seconds", "time since the worker's loop last turned",
     MEMBER(summary_worker, beat_age_ms), .unit_us = 1000},
    {GAUGE, "worker_adoption_seconds", "how long the last adoption of a dead worker's sessions took",
     MEMBER(summary_worker, adoption_us), .unit_us = 1},
};

static void begin_worker_sample(struct metrics *metrics, uint32_t slot)
{
    char number[16];

    snprintf(number, sizeof(number), "%u", slot);
    begin_sample(metrics);
    add_label(metrics, "worker", number);
}

static void print_worker_columns(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;

    for (size_t i = 0; i < sizeof(worker_columns) / sizeof(worker_columns[0]); i++) {
        begin_column(metrics, &worker_columns[i]);
        for (uint32_t slot = 0; slot < summary->slots; slot++) {
            begin_worker_sample(metrics, slot);
            end_column(metrics, &worker_columns[i], &summary->worker[slot]);
        }
    }
}

static void print_workers(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;

    print_one(metrics, GAUGE, "workers_configured", "worker slots the configuration asks for",
              summary->workers);
    print_one(metrics, GAUGE, "workers_serving", "workers that serve", summary->serving);
    begin(metrics, GAUGE, "worker_serving", "whether the worker serves");
    for (uint32_t slot = 0; slot < summary->slots; slot++) {
        begin_worker_sample(metrics, slot);
        end_sample(metrics, summary->worker[slot].state == SLOT_SERVING);
    }
    print_worker_columns(metrics);
    begin(metrics, HISTOGRAM, "adoption_seconds",
          "how long adoptions of dead workers' sessions took, of all workers");
    print_times(metrics, short_times, &(struct labels){0}, &summary->adoptions);
}

static void print_sessions(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;

    begin(metrics, GAUGE, "sessions", "sessions by phase");
    for (int i = SESSION_CHOOSING; i < SESSION_PHASE_COUNT; i++) {
        print_labelled(metrics, "phase", session_phase_text(i), summary->phases[i]);
    }
    print_one(metrics, GAUGE, "sessions_limit", "sessions allowed at once", summary->sessions_limit);
    print_one(metrics, GAUGE, "sessions_draining",
              "sessions whose listener, server or worker is no longer configured",
              summary->sessions_draining);
    print_one(metrics, GAUGE, "session_records_capacity", "session records reserved, of all workers in use",
              summary->records_capacity);
    begin(metrics, COUNTER, "sessions_closed", "sessions that ended, by reason");
    for (int i = 1; i < CLOSE_REASON_COUNT; i++) {
        print_labelled(metrics, "reason", close_reason_text(i), summary->stats.closes[i]);
    }
    begin(metrics, COUNTER, "received_bytes",
          "bytes received from either side, of ended and living sessions");
    print_labelled(metrics, "side", "client", summary->client_bytes);
    print_labelled(metrics, "side", "server", summary->server_bytes);
}

static const char *listener_name(const struct metrics *metrics, uint32_t row)
{
    return region_name(metrics->region, NAME_LISTENER, (uint16_t)row)->name;
}

static void print_listener_closes(struct metrics *metrics)
{
    begin(metrics, COUNTER, "listener_sessions_closed", "sessions that ended, by listener and reason");
    for (uint32_t row = 0; row < metrics->summary->listener_rows; row++) {
        for (int i = 1; i < CLOSE_REASON_COUNT; i++) {
            begin_sample(metrics);
            add_label(metrics, "listener", listener_name(metrics, row));
            end_labelled(metrics, "reason", close_reason_text(i), metrics->summary->listener[row].closes[i]);
        }
    }
}

static void print_listener_times(struct metrics *metrics, const char *family, const char *help,
                                 struct bounds bounds, size_t member)
{
    begin(metrics, HISTOGRAM, family, help);
    for (uint32_t row = 0; row < metrics->summary->listener_rows; row++) {
        const char *counters = (const char *)&metrics->summary->listener[row];
        print_times(metrics, bounds,
                    &(struct labels){.name = {"listener"}, .value = {listener_name(metrics, row)}},
                    (const struct time_histogram *)(counters + member));
    }
}

static const struct column queue_columns[] = {
    {GAUGE, "listener_accept_queue", "connections that wait in the kernel to be accepted",
     MEMBER(accept_queue, length)},
    {GAUGE, "listener_accept_queue_limit", "connections that may wait, on all sockets of the listener",
     MEMBER(accept_queue, limit)},
    {COUNTER, "listener_accept_drops",
     "connections the kernel dropped, as a rule because the accept queue was full",
     MEMBER(accept_queue, drops)},
};

/* Listeners of unix sockets only, or that are no longer configured, have none. */
static void print_queues(struct metrics *metrics)
{
    for (size_t i = 0; i < sizeof(queue_columns) / sizeof(queue_columns[0]); i++) {
        begin_column(metrics, &queue_columns[i]);
        for (uint32_t row = 0; row < metrics->summary->listener_rows; row++) {
            const struct accept_queue *queue = &metrics->summary->queue[row];
            if (queue->sockets > 0) {
                begin_sample(metrics);
                add_label(metrics, "listener", listener_name(metrics, row));
                end_column(metrics, &queue_columns[i], queue);
            }
        }
    }
}

static void print_listeners(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;

    begin(metrics, GAUGE, "listener_sessions", "sessions by the listener they came by");
    for (uint32_t row = 0; row < summary->listener_rows; row++) {
        print_labelled(metrics, "listener", listener_name(metrics, row), summary->listener_sessions[row]);
    }
    begin(metrics, COUNTER, "listener_accepted", "sessions accepted, by listener");
    for (uint32_t row = 0; row < summary->listener_rows; row++) {
        print_labelled(metrics, "listener", listener_name(metrics, row), summary->listener[row].accepted);
    }
    print_listener_closes(metrics);
    print_queues(metrics);
    print_listener_times(metrics, "first_byte_seconds", "from accepting a session to the server's first byte",
                         short_times, offsetof(struct listener_counters, first_bytes));
    print_listener_times(metrics, "session_duration_seconds", "how long ended sessions lasted", long_times,
                         offsetof(struct listener_counters, durations));
}

static void print_resources(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;

    print_one(metrics, GAUGE, "buffer_budget_bytes", "buffers there are to lend",
              summary->buffer_budget_bytes);
    print_one(metrics, GAUGE, "buffer_lent_bytes", "buffers lent", summary->buffer_lent_bytes);
    print_one(metrics, GAUGE, "receivers_waiting", "directions that wait for a buffer",
              summary->receivers_waiting);
    print_one(metrics, GAUGE, "accept_paused_workers",
              "workers that accept nothing because a limit is reached", summary->accept_paused);
}

/* What becomes of segments that belong to an entry; the other counters are no answers. */
static const char *const answers[] = {"acks", "acks_suppressed", "drops", "reopened", "refused"};

static bool is_answer(const char *counter)
{
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (strcmp(answers[i], counter) == 0) {
            return true;
        }
    }
    return false;
}

static void print_time_wait_counter(struct metrics *metrics, const char *name, const char *family,
                                    const char *what, uint64_t value)
{
    if (!is_answer(name)) {
        print_one(metrics, COUNTER, family, what, value);
    }
}

static void print_time_wait_answer(struct metrics *metrics, const char *name, uint64_t value)
{
    if (is_answer(name)) {
        print_labelled(metrics, "kind", name, value);
    }
}

static void print_time_wait(struct metrics *metrics)
{
    const struct time_wait_view *view = &metrics->summary->time_wait;

    print_one(metrics, GAUGE, "time_wait_owned",
              "1 while the flow table answers for connections in TIME_WAIT, 0 while the kernel does",
              view->owned);
    begin(metrics, GAUGE, "time_wait_info", "who keeps TIME_WAIT, and why the kernel does where it does");
    begin_sample(metrics);
    add_label(metrics, "mode", time_wait_mode_text(view));
    end_labelled(metrics, "why", view->why, 1);
    print_one_us(metrics, GAUGE, "time_wait_two_msl_seconds", "how long an entry stays in TIME_WAIT",
                 (uint64_t)view->two_msl_ms * 1000);
    print_one(metrics, GAUGE, "time_wait_interfaces", "interfaces on which TIME_WAIT is answered for",
              view->interfaces);
    print_one(metrics, COUNTER, "time_wait_kernel_destroyed",
              "sockets in TIME_WAIT that the kernel was relieved of", view->kernel_destroyed);
    begin(metrics, COUNTER, "time_wait_answers",
          "segments to connections in TIME_WAIT or FIN_WAIT2: acks, acks_suppressed by the limit, drops "
          "without an answer, reopened by a SYN, refused because of new data");
#define TIME_WAIT_COUNTER(name, what) print_time_wait_answer(metrics, #name, view->counters.name);
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
#define TIME_WAIT_COUNTER(name, what) \
    print_time_wait_counter(metrics, #name, "time_wait_" #name, what, view->counters.name);
#include "core/time_wait_counter.def"
#undef TIME_WAIT_COUNTER
}

static void print_flows(struct metrics *metrics)
{
    const struct summary *summary = metrics->summary;

    begin(metrics, GAUGE, "flow_entries", "entries of the flow table by state");
    for (int i = FLOW_ACTIVE; i <= FLOW_TIME_WAIT; i++) {
        print_labelled(metrics, "state", flow_state_text(i), summary->flows[i]);
    }
    print_one(metrics, GAUGE, "flow_entries_capacity", "entries the flow table has room for",
              summary->flow_capacity);
    print_one(metrics, GAUGE, "flow_entries_expired", "entries whose time is over, for the sweeper to free",
              summary->flows_expired);
    print_one_us(metrics, GAUGE, "flow_sweep_lag_seconds",
                 "for how long the time of the first of them has been over", summary->sweep_lag_ms * 1000);
    print_one(metrics, COUNTER, "flow_sweep_rounds", "rounds of the sweeper through the flow table",
              summary->time_wait.sweep_rounds);
    print_one(metrics, COUNTER, "flow_sweep_freed", "entries that the sweeper freed",
              summary->time_wait.sweep_freed);
    print_one_us(metrics, GAUGE, "flow_sweep_round_seconds", "how long the sweeper's last round took",
                 (uint64_t)summary->time_wait.sweep_round_ms * 1000);
}

/* What workers count, but for the bytes of ended sessions: received_bytes has those and more. */
static void print_stat(struct metrics *metrics, const char *name, const char *meaning, uint64_t value)
{
    if (strcmp(name, "client_bytes") != 0 && strcmp(name, "server_bytes") != 0) {
        print_one(metrics, COUNTER, name, meaning, value);
    }
}

static void print_stats(struct metrics *metrics)
{
    const struct slot_stats *stats = &metrics->summary->stats;

#define SLOT_STAT(name, meaning) print_stat(metrics, #name, meaning, stats->name);
#include "shm/stats.def"
#undef SLOT_STAT
}

static const struct column server_columns[] = {
    {GAUGE, "server_sessions", "sessions of the server", MEMBER(server_counters, sessions)},
    {COUNTER, "server_connects", "connections to the server that were established",
     MEMBER(server_counters, connects)},
    {COUNTER, "server_connect_failures", "connections to the server that failed",
     MEMBER(server_counters, failures)},
    {COUNTER, "server_redispatches", "sessions another server took over since connecting to this one failed",
     MEMBER(server_counters, redispatches)},
    {COUNTER, "server_ports_exhausted",
     "times the server was passed over because no source port was free towards it",
     MEMBER(server_counters, ports_exhausted)},
    {COUNTER, "server_sent_bytes", "bytes sent to the server, of ended sessions",
     MEMBER(server_counters, bytes_to)},
    {COUNTER, "server_received_bytes", "bytes received from the server, of ended sessions",
     MEMBER(server_counters, bytes_from)},
};

static const struct name_row *server_name(const struct metrics *metrics, uint32_t row)
{
    return region_name(metrics->region, NAME_SERVER, (uint16_t)row);
}

static void begin_server_sample(struct metrics *metrics, uint32_t row)
{
    begin_sample(metrics);
    add_label(metrics, "pool", server_name(metrics, row)->pool);
    add_label(metrics, "server", server_name(metrics, row)->name);
}

static void print_server_columns(struct metrics *metrics)
{
    for (size_t i = 0; i < sizeof(server_columns) / sizeof(server_columns[0]); i++) {
        begin_column(metrics, &server_columns[i]);
        for (uint32_t row = 0; row < metrics->summary->server_rows; row++) {
            begin_server_sample(metrics, row);
            end_column(metrics, &server_columns[i], &metrics->summary->server[row]);
        }
    }
}

static void print_connect_times(struct metrics *metrics)
{
    begin(metrics, HISTOGRAM, "server_connect_seconds", "how long connecting to the server took");
    for (uint32_t row = 0; row < metrics->summary->server_rows; row++) {
        const struct name_row *name = server_name(metrics, row);
        print_times(metrics, short_times,
                    &(struct labels){.name = {"pool", "server"}, .value = {name->pool, name->name}},
                    &metrics->summary->connect_times[row]);
    }
}

static void print_source_ports(struct metrics *metrics)
{
    begin(metrics, GAUGE, "server_source_ports",
          "source ports in use towards the server's address, by the state of their connection");
    for (uint32_t row = 0; row < metrics->summary->server_rows; row++) {
        const struct ports_used *ports = &metrics->summary->ports[row];
        begin_server_sample(metrics, row);
        end_labelled(metrics, "state", flow_state_text(FLOW_ACTIVE), ports->active);
        begin_server_sample(metrics, row);
        end_labelled(metrics, "state", flow_state_text(FLOW_TIME_WAIT), ports->time_wait);
    }
}

/* An address as the flow table has it. */
static const char *address_text(const uint8_t address[16], char text[INET6_ADDRSTRLEN])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool v4 = memcmp(address, mapped, sizeof(mapped)) == 0;

    return inet_ntop(v4 ? AF_INET : AF_INET6, address + (v4 ? sizeof(mapped) : 0), text, INET6_ADDRSTRLEN);
}

static void begin_pair_sample(struct metrics *metrics, const struct source_pair *pair)
{
    char text[INET6_ADDRSTRLEN];

    begin_sample(metrics);
    add_label(metrics, "source", address_text(pair->source, text));
    add_label(metrics, "server", server_name(metrics, pair->server)->name);
}

static void print_source_pairs(struct metrics *metrics)
{
    const struct source_pairs *pairs = &metrics->summary->source_pairs;

    begin(
        metrics, GAUGE, "source_ports",
        "ports of a source address in use towards a server's, by the state of their connection; where there "
        "are any");
    for (uint32_t i = 0; i < pairs->count; i++) {
        const struct source_pair *pair = &pairs->pairs[i];
        begin_pair_sample(metrics, pair);
        end_labelled(metrics, "state", flow_state_text(FLOW_ACTIVE), pair->used.active);
        begin_pair_sample(metrics, pair);
        end_labelled(metrics, "state", flow_state_text(FLOW_TIME_WAIT), pair->used.time_wait);
    }
}

/* One of the states is 1. */
static void print_server_states(struct metrics *metrics)
{
    begin(metrics, GAUGE, "server_state", "1 for the state that the operator has given the server, else 0");
    for (uint32_t row = 0; row < metrics->summary->server_rows; row++) {
        enum admin_state given = admin_state_of(metrics->summary->server_orders[row]);
        for (int state = 0; state < ADMIN_STATE_COUNT; state++) {
            begin_server_sample(metrics, row);
            end_labelled(metrics, "state", admin_state_text((enum admin_state)state), (int)given == state);
        }
    }
}

static void print_servers(struct metrics *metrics)
{
    print_server_states(metrics);
    print_server_columns(metrics);
    print_connect_times(metrics);
    print_source_ports(metrics);
    print_source_pairs(metrics);
}

void metrics_print(FILE *out, enum metrics_format format, const struct summary *summary,
                   const struct region *region)
{
    struct metrics metrics = {.out = out, .format = format, .summary = summary, .region = region};

    print_instance(&metrics);
    print_workers(&metrics);
    print_sessions(&metrics);
    print_listeners(&metrics);
    print_resources(&metrics);
    print_flows(&metrics);
    print_time_wait(&metrics);
    print_stats(&metrics);
    print_servers(&metrics);
    if (format == METRICS_OPENMETRICS) {
        fprintf(out, "# EOF\n");
    }
}
