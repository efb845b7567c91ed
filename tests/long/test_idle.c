/*
 * Twenty thousand idle sessions: none is closed, each still works at the end, and none holds a buffer.
 *
 * 20,000 descriptors a process are assumed: two loads, two origins, four workers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { SESSIONS = 20000, WORKERS = 4, DESCRIPTORS = 11000, HELD_S = 30 };

BED_SUITE(long_idle, 600);

/* Proportional share of memory of all the instance's processes together, in KiB. */
static uint64_t memory_kib(void)
{
    uint64_t sum = 0;

    for (unsigned slot = 0; slot < WORKERS; slot++) {
        const char *rollup = bed_read_file(bed_format("/proc/%d/smaps_rollup", penstock_worker(slot)));
        const char *line = strstr(rollup, "\nPss:");
        cr_assert_not_null(line, "%s", rollup);
        sum += strtoull(line + 5, NULL, 10);
    }
    return sum;
}

static void hold(bool kills)
{
    struct origin origins[2] = {origin_start("auto"), origin_start("auto")};
    struct bed_process loads[2];
    struct killer killer;

    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u", origins[0].port, origins[1].port),
        .limits = "sessions: 22000, buffers: 64MiB",
        .workers = WORKERS});
    killer_begin(&killer, WORKERS);
    uint64_t before_kib = memory_kib();
    for (int i = 0; i < 2; i++) {
        loads[i] = load_start(bed_format("idle --connections %d --touch --verify --seconds %d "
                                         "--source-range 127.0.0.%d-127.0.0.%d",
                                         SESSIONS / 2, HELD_S, 10 + 10 * i, 13 + 10 * i));
    }
    WAIT_UNTIL(penstock_number("phases.open") == SESSIONS);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == killer.lent_bytes);
    uint64_t grown_kib = memory_kib() - before_kib;
    fprintf(stderr, "long_idle: %lu bytes of user memory a session\n",
            (unsigned long)(grown_kib * 1024 / SESSIONS));
    if (kills) {
        killer_run(&killer, 0, 500, 2000, loads[0].pid);
    }
    (void)loads_expect(loads, 2);
    killer_expect_all_back(&killer);
    bed_end();
}

static void require_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < DESCRIPTORS) {
        cr_skip("needs %d descriptors a process", DESCRIPTORS);
    }
}

Test(long_idle, twenty_thousand)
{
    require_descriptors();
    hold(false);
}

Test(long_idle, twenty_thousand_under_kills)
{
    require_descriptors();
    hold(true);
}

/* Four thousand idle sessions and three hundred busy streams outlive that all workers die at the same moment. */
Test(long_idle, all_workers_at_once)
{
    struct origin origin = origin_start("auto");
    struct bed_process loads[2];
    struct killer killer;

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port),
                                             .limits = "sessions: 5000, buffers: 64MiB"});
    killer_begin(&killer, 2);
    loads[0] = load_start("idle --connections 4000 --touch --verify --seconds 25");
    loads[1] =
        load_start("streams --connections 300 --max-bytes 16M --slow-readers 20 --late-fin 20 --seconds 25");
    WAIT_UNTIL(penstock_number("sessions") > 4200);
    for (int i = 0; i < 5; i++) {
        bed_pause_ms(3000);
        killer_kill_all(&killer);
    }
    (void)loads_expect(loads, 2);
    killer_expect_all_back(&killer);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
}
