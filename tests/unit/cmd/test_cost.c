/* What looking at many sessions costs. Printed, for the measure of a change; a machine's speed fails no test. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/exporter/json.h"
#include "cmd/exporter/metrics.h"
#include "io/clock.h"
#include "shm/flow_table.h"
#include "tests/unit/cmd/instance_make.h"

enum { SESSIONS = 100000, ROUNDS = 20 };

static void fill(void)
{
    struct flow_table table;
    uint32_t intent = FLOW_NONE;

    instance_make(SESSIONS);
    flow_table_open(&table, &made);
    for (uint32_t i = 0; i < SESSIONS; i++) {
        instance_add_session(i % 2, i % 2, (uint16_t)(i % 3), (uint8_t)i, 1000);
        for (uint32_t side = 0; side < SIDE_COUNT; side++) {
            struct flow_key key = {.local_port = (uint16_t)side, .remote_port = (uint16_t)i};
            memcpy(key.remote, &i, sizeof(i));
            (void)flow_table_claim(&table, &key, i % 2, i / 2, 0, &intent);
        }
    }
}

Test(cost, of_a_scrape_with_100000_sessions, .timeout = 120)
{
    uint64_t reading_us = 0;
    uint64_t scrape_us = 0;
    size_t size = 0;

    fill();
    for (int i = 0; i < ROUNDS; i++) {
        char *text = NULL;
        FILE *out = open_memstream(&text, &size);
        uint64_t begin_us = clock_now_us();
        const struct summary *summary = instance_summary();
        reading_us += clock_now_us() - begin_us;
        metrics_print(out, METRICS_PROMETHEUS, summary, &made);
        fclose(out);
        scrape_us += clock_now_us() - begin_us;
        cr_assert_eq(summary->phases[SESSION_CHOOSING], SESSIONS);
        cr_assert_gt(summary->flows[FLOW_ACTIVE], SESSIONS);
        free(text);
    }
    fprintf(stderr, "cost: %d sessions: reading %lu us, with the metrics %lu us, %lu bytes\n", SESSIONS,
            (unsigned long)(reading_us / ROUNDS), (unsigned long)(scrape_us / ROUNDS), (unsigned long)size);
}
