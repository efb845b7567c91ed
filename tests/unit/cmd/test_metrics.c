/* Metrics: the two formats, and that they say what the region says. */
#include "cmd/exporter/metrics.h"

#include <criterion/criterion.h>
#include <string.h>

#include "shm/order.h"
#include "tests/e2e/harness_metrics.h"
#include "tests/unit/cmd/instance_make.h"

/* Overwritten by the next. */
static const char *print(enum metrics_format format)
{
    static char text[256 * 1024];
    FILE *out = fmemopen(text, sizeof(text), "w");

    metrics_print(out, format, instance_summary(), &made);
    fclose(out);
    return text;
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
    region_slot(&made, 1)->deaths = 2;
    region_slot(&made, 1)->adoption_us = 1500;
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
    cr_expect_eq(metrics_value(text, "penstock_reloads_total{result=\"ok\"}"), 2);
    cr_expect_eq(metrics_value(text, "penstock_reloads_total{result=\"failed\"}"), 6);
    cr_expect_eq(metrics_value(text, "penstock_start_time_seconds"), 1700000000);
    cr_expect_eq(metrics_value(text, "penstock_healthy"), 1);
    cr_expect_eq(
        metrics_value(text, "penstock_server_connects_total{pool=\"app\",server=\"unix:/run/a\\\"b\\\\c\"}"),
        8);
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
    struct session *session = instance_add_session(0, 0, 0, 1, 0);
    session->conn[SIDE_SERVER].received_bytes = 500;
    before = *instance_summary();
    /* A death undid a transaction, and a session ended between two looks. */
    region_slot(&made, 0)->stats.accepted = 9;
    region_slot(&made, 0)->stats.closes[CLOSE_STOPPED] = 9;
    region_server_counters(&made, 0, 1)->bytes_to = 9;
    session->phase = SESSION_FREE;
    now = *instance_summary();
    summary_keep_rising(&now, &before);
    cr_expect_eq(now.stats.accepted, 10);
    cr_expect_eq(now.stats.closes[CLOSE_STOPPED], 10);
    cr_expect_eq(now.server[1].bytes_to, 10);
    cr_expect_eq(now.server_bytes, 500);
    cr_expect_eq(now.phases[SESSION_CHOOSING], 0, "what is no counter is as it is");
    /* A reload may have given the row to another server. */
    now.server[1].bytes_to = 0;
    now.generation++;
    summary_keep_rising(&now, &before);
    cr_expect_eq(now.server[1].bytes_to, 0);
}
