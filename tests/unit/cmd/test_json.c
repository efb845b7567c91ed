/* Status as JSON, and the page. */
#include "cmd/exporter/json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/exporter/page.h"
#include "shm/order.h"
#include "tests/e2e/harness_json.h"
#include "tests/unit/cmd/instance_make.h"

static bool starts_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

Test(json, strings_are_escaped)
{
    char text[64];
    FILE *out = fmemopen(text, sizeof(text), "w");

    json_string(out, "a\"b\\c\n\x1f/\xc3\xa9");
    fclose(out);
    cr_expect_str_eq(text, "\"a\\\"b\\\\c\\u000a\\u001f/\xc3\xa9\"");
}

Test(json, status_has_every_part)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    instance_make(100);
    instance_add_session(1, 1, 2, 1, 0);
    region_slot(&made, 1)->stats.closes[CLOSE_CLIENT_RESET] = 9;
    region_slot(&made, 0)->busy_us = 7;
    region_slot(&made, 0)->busy_permille = 1000;
    region_slot(&made, 1)->busy_permille = 34;
    region_connect_times(&made, 1, 2)->buckets[0] = 100;
    region_server_counters(&made, 1, 2)->connects = 100;
    region_listener_counters(&made, 1, 1)->accepted = 5;
    region_listener_counters(&made, 1, 1)->durations.buckets[3] = 2;
    made.header->time_wait = (struct region_time_wait){
        .two_msl_ms = 60000, .interfaces = 2, .counters = {.acks = 8}, .why = "a \"b\""};
    ((struct flow_sweep *)region_row(&made, TABLE_FLOW_SWEEP, 0))->freed = 6;
    order_server_state(&made, 1, ADMIN_DOWN);
    order_server_weight(&made, 1, 5);
    json_status(out, instance_summary(), &made);
    fclose(out);
    cr_expect_eq(json_number(text, "live"), 1);
    cr_expect_eq(json_number(text, "generation"), 3);
    cr_expect_eq(json_number(text, "sessions"), 1);
    cr_expect_eq(json_number(text, "phases.choosing"), 1);
    cr_expect_eq(json_number(text, "closes.client_reset"), 9);
    cr_expect_eq(json_number(text, "listeners.1.sessions"), 1);
    cr_expect_eq(json_number(text, "listeners.1.accepted"), 5);
    cr_expect_eq(json_number(text, "listeners.1.duration.count"), 2);
    cr_expect_eq(json_number(text, "listeners.1.duration.buckets.3"), 2);
    cr_expect_null(json_find(text, "listeners.1.duration.buckets.4"));
    cr_expect_eq(json_number(text, "listeners.1.first_byte.count"), 0);
    cr_expect_eq(json_number(text, "servers.2.connect.p50_us"), 50);
    cr_expect_eq(json_number(text, "servers.2.connect.p99_us"), 99);
    cr_expect_eq(json_number(text, "time_bounds_us.29"), time_histogram_bound_us(TIME_BOUNDS - 1));
    cr_expect_eq(json_number(text, "workers.1.pid"), 101);
    cr_expect_eq(json_number(text, "workers.0.busy_us"), 7);
    cr_expect(starts_with(json_find(text, "workers.0.busy_ratio"), "1.000,"));
    cr_expect(starts_with(json_find(text, "workers.1.busy_ratio"), "0.034,"));
    cr_expect_eq(json_number(text, "workers_configured"), 2);
    cr_expect_eq(json_number(text, "flows.active"), 0);
    cr_expect_eq(json_number(text, "flows.orphaned"), 0);
    cr_expect(starts_with(json_find(text, "time_wait.mode"), "\"kernel\""));
    cr_expect(starts_with(json_find(text, "time_wait.why"), "\"a \\\"b\\\"\""));
    cr_expect_eq(json_number(text, "time_wait.two_msl_ms"), 60000);
    cr_expect_eq(json_number(text, "time_wait.interfaces"), 2);
    cr_expect_eq(json_number(text, "time_wait.counters.acks"), 8);
    cr_expect_eq(json_number(text, "time_wait.sweep.freed"), 6);
    cr_expect_eq(json_number(text, "time_wait.sweep.expired"), 0);
    cr_expect(starts_with(json_find(text, "servers.0.state"), "\"up\""));
    cr_expect_eq(json_number(text, "servers.0.weight"), 1);
    cr_expect(starts_with(json_find(text, "servers.1.state"), "\"down\""));
    cr_expect_eq(json_number(text, "servers.1.weight"), 5);
    cr_expect(starts_with(json_find(text, "servers.1.server"), "\"unix:/run/a\\\"b\\\\c\""));
    cr_expect_eq(text[size - 1], '\n');
    free(text);
}

Test(json, the_page_is_whole_and_calls_its_parts_by_the_nonce)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    page_print(out, "0123456789abcdef");
    fclose(out);
    cr_expect_not_null(strstr(text, "<style nonce=\"0123456789abcdef\">"));
    cr_expect_not_null(strstr(text, "<script nonce=\"0123456789abcdef\">"));
    cr_expect_not_null(strstr(text, "prefers-color-scheme"));
    cr_expect_not_null(strstr(text, "\"use strict\""));
    cr_expect_null(strstr(text, "@NONCE@"));
    cr_expect_null(strstr(text, "@STYLE@"));
    cr_expect_null(strstr(text, "@SCRIPT@"));
    cr_expect_str_eq(text + size - 8, "</html>\n");
    /* Nothing from elsewhere, and nothing the policy would refuse. */
    cr_expect_null(strstr(text, "src="));
    cr_expect_null(strstr(text, "style=\""));
    cr_expect_null(strstr(text, "onclick"));
    free(text);
}
