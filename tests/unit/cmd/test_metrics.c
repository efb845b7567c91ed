/* Metrics: the two formats, and that they say what the region says. */
#include "cmd/exporter/metrics.h"

#include <criterion/criterion.h>
#include <string.h>

#include "io/clock.h"
#include "shm/flow_table.h"
#include "shm/order.h"
#include "tests/e2e/harness_metrics.h"
#include "tests/unit/cmd/instance_make.h"

/* Overwritten by the next. */
static const char *print_summary(enum metrics_format format, const struct summary *summary)
{
    static char text[256 * 1024];
    FILE *out = fmemopen(text, sizeof(text), "w");

    metrics_print(out, format, summary, &made);
    fclose(out);
    return text;
}

static const char *print(enum metrics_format format)
{
    return print_summary(format, instance_summary());
}

static void setup(void)
{
    instance_make(100);
}

TestSuite(metrics, .init = setup);

Test(metrics, both_formats_hold_to_their_grammar)
{
    unsigned plain = metrics_parse(print(METRICS_PROMETHEUS), false);

    cr_expect_gt(plain, 60);
    cr_expect_eq(metrics_parse(print(METRICS_OPENMETRICS), true), plain);
}

Test(metrics, an_accept_header_chooses)
{
    static const char *const prometheus =
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

    cr_expect_eq(metrics_choose(prometheus), METRICS_OPENMETRICS);
    cr_expect_eq(metrics_choose("text/plain"), METRICS_PROMETHEUS);
    cr_expect_eq(metrics_choose("*/*"), METRICS_PROMETHEUS);
    cr_expect_eq(metrics_choose(NULL), METRICS_PROMETHEUS);
}

Test(metrics, values_are_the_regions)
{
    struct slot_stats *first = &region_slot(&made, 0)->stats;
    struct slot_stats *second = &region_slot(&made, 1)->stats;

    first->accepted = 10;
    second->accepted = 5;
    first->client_bytes = 1000;
    first->closes[CLOSE_IDLE_TIMEOUT] = 4;
    second->closes[CLOSE_IDLE_TIMEOUT] = 3;
    region_server_counters(&made, 0, 1)->connects = 7;
    region_server_counters(&made, 1, 1)->connects = 1;
    region_server_counters(&made, 1, 0)->redispatches = 4;
    region_server_counters(&made, 1, 0)->ports_exhausted = 3;
    region_slot(&made, 1)->deaths = 2;
    region_slot(&made, 1)->adoption_us = 1500;
    region_slot(&made, 1)->busy_us = 2500000;
    region_slot(&made, 1)->completions = 12;
    instance_add_session(0, 0, 0, 1, 0)->conn[SIDE_CLIENT].received_bytes = 24;
    instance_add_session(1, 1, 2, 1, 0);
    made.header->reloads_failed = 6;
    const char *text = print(METRICS_PROMETHEUS);

    cr_expect_eq(metrics_value(text, "penstock_accepted_total"), 15);
    cr_expect_eq(metrics_value(text, "penstock_received_bytes_total{side=\"client\"}"), 1024,
                 "of ended and living sessions");
    cr_expect_eq(metrics_value(text, "penstock_sessions_closed_total{reason=\"idle_timeout\"}"), 7);
    cr_expect_eq(metrics_value(text, "penstock_sessions{phase=\"choosing\"}"), 2);
    cr_expect_eq(metrics_value(text, "penstock_sessions{phase=\"open\"}"), 0);
    cr_expect_eq(metrics_value(text, "penstock_listener_sessions{listener=\"web\"}"), 1);
    cr_expect_eq(metrics_value(text, "penstock_listener_sessions{listener=\"admin\"}"), 1);
    cr_expect_eq(metrics_value(text, "penstock_worker_deaths_total{worker=\"1\"}"), 2);
    cr_expect_float_eq(metrics_value(text, "penstock_worker_adoption_seconds{worker=\"1\"}"), 0.0015, 1e-9);
    cr_expect_float_eq(metrics_value(text, "penstock_worker_busy_seconds_total{worker=\"1\"}"), 2.5, 1e-9);
    cr_expect_eq(metrics_value(text, "penstock_worker_completions_total{worker=\"1\"}"), 12);
    cr_expect_eq(metrics_value(text, "penstock_reloads_total{result=\"ok\"}"), 2);
    cr_expect_eq(metrics_value(text, "penstock_reloads_total{result=\"failed\"}"), 6);
    cr_expect_eq(metrics_value(text, "penstock_start_time_seconds"), 1700000000);
    cr_expect_eq(metrics_value(text, "penstock_config_last_reload_success_timestamp_seconds"), 1700000000);
    cr_expect_eq(
        metrics_value(text, "penstock_server_redispatches_total{pool=\"app\",server=\"127.0.0.1:9001\"}"), 4);
    cr_expect_eq(
        metrics_value(text, "penstock_server_ports_exhausted_total{pool=\"app\",server=\"127.0.0.1:9001\"}"),
        3);
    cr_expect_eq(metrics_value(text, "penstock_healthy"), 1);
    cr_expect_eq(
        metrics_value(text, "penstock_server_connects_total{pool=\"app\",server=\"unix:/run/a\\\"b\\\\c\"}"),
        8);
}

Test(metrics, histograms_are_of_all_slots_and_cumulative)
{
    struct listener_counters *first = region_listener_counters(&made, 0, 1);

    first->durations.buckets[time_histogram_bucket(500)] = 1; /* below the first bound that is shown */
    first->durations.buckets[time_histogram_bucket(2000)] = 2;
    first->durations.buckets[TIME_BUCKETS - 1] = 3;
    region_listener_counters(&made, 1, 1)->durations.buckets[time_histogram_bucket(2000)] = 10;
    first->first_bytes.buckets[time_histogram_bucket(60000000)] = 4; /* above the last */
    first->durations.sum_us = 1000001;
    first->accepted = 16;
    first->closes[CLOSE_CLIENT_RESET] = 5;
    region_server_counters(&made, 1, 0)->connects = 7;
    region_connect_times(&made, 1, 0)->buckets[0] = 7;
    region_adoption_times(&made, 0)->buckets[5] = 1;
    const char *text = print(METRICS_PROMETHEUS);
#define DURATION "penstock_session_duration_seconds"
    cr_expect_eq(metrics_value(text, DURATION "_bucket{listener=\"admin\",le=\"0.001\"}"), 1);
    cr_expect_eq(metrics_value(text, DURATION "_bucket{listener=\"admin\",le=\"0.0025\"}"), 13);
    cr_expect_eq(metrics_value(text, DURATION "_bucket{listener=\"admin\",le=\"1.0\"}"), 13);
    cr_expect_eq(metrics_value(text, DURATION "_bucket{listener=\"admin\",le=\"500000.0\"}"), 13);
    cr_expect_eq(metrics_value(text, DURATION "_bucket{listener=\"admin\",le=\"+Inf\"}"), 16);
    cr_expect_eq(metrics_value(text, DURATION "_count{listener=\"admin\"}"), 16);
    cr_expect_float_eq(metrics_value(text, DURATION "_sum{listener=\"admin\"}"), 1.000001, 1e-9);
    cr_expect_eq(metrics_value(text, DURATION "_count{listener=\"web\"}"), 0);
    cr_expect_eq(metrics_value(text, "penstock_first_byte_seconds_bucket{listener=\"admin\",le=\"50.0\"}"),
                 0);
    cr_expect_eq(metrics_value(text, "penstock_first_byte_seconds_count{listener=\"admin\"}"), 4);
    cr_expect_eq(
        metrics_value(text, "penstock_server_connect_seconds_bucket{pool=\"app\",server=\"127.0.0.1:9001\","
                            "le=\"0.0001\"}"),
        7);
    cr_expect_eq(metrics_value(text, "penstock_adoption_seconds_count"), 1);
    cr_expect_eq(metrics_value(text, "penstock_listener_accepted_total{listener=\"admin\"}"), 16);
    cr_expect_eq(metrics_value(text, "penstock_listener_sessions_closed_total{listener=\"admin\","
                                     "reason=\"client_reset\"}"),
                 5);
}

Test(metrics, accept_queues_are_of_listeners_that_have_sockets)
{
    static struct summary summary; /* large */

    summary = *instance_summary();
    summary.queue[0] = (struct accept_queue){.sockets = 2, .length = 3, .limit = 8, .drops = 1};
    summary.queue[1].sockets = 0;
    const char *text = print_summary(METRICS_PROMETHEUS, &summary);

    cr_expect_eq(metrics_value(text, "penstock_listener_accept_queue{listener=\"web\"}"), 3);
    cr_expect_eq(metrics_value(text, "penstock_listener_accept_queue_limit{listener=\"web\"}"), 8);
    cr_expect_eq(metrics_value(text, "penstock_listener_accept_drops_total{listener=\"web\"}"), 1);
    cr_expect_null(strstr(text, "accept_queue{listener=\"admin\""));
}

Test(metrics, a_reload_tells_when_it_was)
{
    made.header->image_since_ms = made.header->created_monotonic_us / 1000 + 2500;
    const char *text = print(METRICS_PROMETHEUS);

    cr_expect_float_eq(metrics_value(text, "penstock_config_last_reload_success_timestamp_seconds"),
                       1700000002.5, 0.001);
}

/* A connection to a server's address takes a port of ours; one from there takes none. */
Test(metrics, source_ports_are_those_towards_the_server)
{
    struct flow_key key = {.local_port = 40000, .remote_port = 9001, .remote = {[10] = 0xff, [11] = 0xff}};
    struct flow_key v6 = {.local_port = 1, .remote_port = 9002, .remote = {[15] = 1}};
    uint32_t intent = FLOW_NONE;
    struct flow_table table;

    memcpy(key.remote + 12, (uint8_t[]){127, 0, 0, 1}, 4);
    memcpy(key.local, key.remote, 12);
    memcpy(key.local + 12, (uint8_t[]){10, 0, 0, 7}, 4);
    flow_table_open(&table, &made);
    for (uint32_t i = 0; i < 3; i++, key.local_port++) {
        uint32_t flow = flow_table_claim(&table, &key, 0, i, 0, &intent);
        if (i == 0) {
            flow_table_time_wait(&table, flow, 0, 0, &intent);
        }
    }
    (void)flow_table_claim(&table, &v6, 0, 3, 0, &intent);
    key.remote_port++;
    (void)flow_table_claim(&table, &key, 0, 4, 0, &intent);
    const char *text = print(METRICS_PROMETHEUS);
#define PORTS "penstock_server_source_ports"
    cr_expect_eq(metrics_value(text, PORTS "{pool=\"app\",server=\"127.0.0.1:9001\",state=\"active\"}"), 2);
    cr_expect_eq(metrics_value(text, PORTS "{pool=\"app\",server=\"127.0.0.1:9001\",state=\"time_wait\"}"),
                 1);
    cr_expect_eq(metrics_value(text, PORTS "{pool=\"side\",server=\"[::1]:9002\",state=\"active\"}"), 1);
#define SOURCES "penstock_source_ports"
    cr_expect_eq(
        metrics_value(text, SOURCES "{source=\"10.0.0.7\",server=\"127.0.0.1:9001\",state=\"active\"}"), 2);
    cr_expect_eq(
        metrics_value(text, SOURCES "{source=\"10.0.0.7\",server=\"127.0.0.1:9001\",state=\"time_wait\"}"),
        1);
    cr_expect_eq(metrics_value(text, SOURCES "{source=\"::\",server=\"[::1]:9002\",state=\"active\"}"), 1);
}

Test(metrics, tell_who_keeps_time_wait)
{
    struct region_time_wait *state = &made.header->time_wait;
    const char *text = print(METRICS_PROMETHEUS);

    cr_expect_eq(metrics_value(text, "penstock_time_wait_owned"), 0);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_two_msl_seconds"), 60, "before it is decided");
    snprintf(state->why, sizeof(state->why), "no \"CAP_BPF\"");
    text = print(METRICS_PROMETHEUS);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_info{mode=\"kernel\",why=\"no \\\"CAP_BPF\\\"\"}"),
                 1);
    *state = (struct region_time_wait){
        .owned = 1,
        .two_msl_ms = 30500,
        .interfaces = 3,
        .destroyed = 11,
        .counters = {.published = 9, .insert_failures = 2, .fins = 4, .acks = 5, .drops = 6, .ended = 1},
    };
    text = print(METRICS_PROMETHEUS);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_owned"), 1);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_info{mode=\"owned\",why=\"\"}"), 1);
    cr_expect_float_eq(metrics_value(text, "penstock_time_wait_two_msl_seconds"), 30.5, 1e-9);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_interfaces"), 3);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_kernel_destroyed_total"), 11);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_published_total"), 9);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_insert_failures_total"), 2);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_fins_total"), 4);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_ended_total"), 1,
                 "of the drops: no answer of its own");
    cr_expect_eq(metrics_value(text, "penstock_time_wait_answers_total{kind=\"acks\"}"), 5);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_answers_total{kind=\"drops\"}"), 6);
    cr_expect_eq(metrics_value(text, "penstock_time_wait_answers_total{kind=\"reopened\"}"), 0);
    cr_expect_null(strstr(text, "kind=\"published\""));
    cr_expect_null(strstr(text, "penstock_time_wait_acks_total"));
}

/* How far the sweeper is: what it did, and what it has still to do. */
Test(metrics, sweeping)
{
    struct flow_sweep *sweep = region_row(&made, TABLE_FLOW_SWEEP, 0);
    uint64_t now_ms = clock_now_us() / 1000;
    struct flow_key key = {.local_port = 1};
    uint32_t intent = FLOW_NONE;
    struct flow_table table;

    *sweep = (struct flow_sweep){.rounds = 7, .freed = 5000, .round_ms = 120};
    flow_table_open(&table, &made);
    for (uint32_t i = 0; i < 4; i++, key.local_port++) {
        uint32_t flow = flow_table_claim(&table, &key, 0, i, now_ms, &intent);
        if (i > 0) { /* 2MSL ago, and as much before as their number says; the last only now */
            flow_table_time_wait(&table, flow, 0, i < 3 ? now_ms - IMAGE_TWO_MSL_MS - i * 100000 : now_ms,
                                 &intent);
        }
    }
    const char *text = print(METRICS_PROMETHEUS);
    cr_expect_eq(metrics_value(text, "penstock_flow_entries{state=\"active\"}"), 1);
    cr_expect_eq(metrics_value(text, "penstock_flow_entries{state=\"orphaned\"}"), 0);
    cr_expect_eq(metrics_value(text, "penstock_flow_entries{state=\"time_wait\"}"), 3);
    cr_expect_eq(metrics_value(text, "penstock_flow_entries_expired"), 2);
    cr_expect_geq(metrics_value(text, "penstock_flow_sweep_lag_seconds"), 200);
    cr_expect_lt(metrics_value(text, "penstock_flow_sweep_lag_seconds"), 300);
    cr_expect_eq(metrics_value(text, "penstock_flow_sweep_rounds_total"), 7);
    cr_expect_eq(metrics_value(text, "penstock_flow_sweep_freed_total"), 5000);
    cr_expect_float_eq(metrics_value(text, "penstock_flow_sweep_round_seconds"), 0.12, 1e-9);
}

#define SERVER_STATE(state) \
    "penstock_server_state{pool=\"app\",server=\"127.0.0.1:9001\",state=\"" state "\"}"

Test(metrics, a_server_has_one_state)
{
    order_server_state(&made, 0, ADMIN_DRAIN);
    const char *text = print(METRICS_PROMETHEUS);

    cr_expect_eq(metrics_value(text, SERVER_STATE("up")), 0);
    cr_expect_eq(metrics_value(text, SERVER_STATE("drain")), 1);
    cr_expect_eq(metrics_value(text, SERVER_STATE("down")), 0);
}

/* A scraper takes a counter that falls for one that began anew, and adds all of it. */
Test(metrics, counters_never_fall)
{
    static struct summary before; /* large */
    static struct summary now;

    region_slot(&made, 0)->stats.accepted = 10;
    region_slot(&made, 0)->stats.closes[CLOSE_STOPPED] = 10;
    region_server_counters(&made, 0, 1)->bytes_to = 10;
    region_server_counters(&made, 0, 1)->connects = 1;
    region_connect_times(&made, 0, 1)->buckets[4] = 10;
    region_listener_counters(&made, 0, 0)->durations.sum_us = 10;
    struct session *session = instance_add_session(0, 0, 0, 1, 0);
    session->conn[SIDE_SERVER].received_bytes = 500;
    before = *instance_summary();
    /* A death undid a transaction, and a session ended between two looks. */
    region_slot(&made, 0)->stats.accepted = 9;
    region_slot(&made, 0)->stats.closes[CLOSE_STOPPED] = 9;
    region_server_counters(&made, 0, 1)->bytes_to = 9;
    region_connect_times(&made, 0, 1)->buckets[4] = 9;
    region_listener_counters(&made, 0, 0)->durations.sum_us = 9;
    session->phase = SESSION_FREE;
    now = *instance_summary();
    summary_keep_rising(&now, &before);
    cr_expect_eq(now.stats.accepted, 10);
    cr_expect_eq(now.stats.closes[CLOSE_STOPPED], 10);
    cr_expect_eq(now.server[1].bytes_to, 10);
    cr_expect_eq(now.connect_times[1].buckets[4], 10);
    cr_expect_eq(now.listener[0].durations.sum_us, 10);
    cr_expect_eq(now.server_bytes, 500);
    cr_expect_eq(now.phases[SESSION_CHOOSING], 0, "what is no counter is as it is");
    /* A reload may have given the row to another server. */
    now.server[1].bytes_to = 0;
    now.generation++;
    summary_keep_rising(&now, &before);
    cr_expect_eq(now.server[1].bytes_to, 0);
}
