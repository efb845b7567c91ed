/*
 * A million connections through Penstock that owns TIME_WAIT: each leaves one entry, which expires; nothing is
 * lost, nothing is left, and memory stays as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/session.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_crowd.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"
#include "tests/e2e/harness_waiting.h"

TestSuite(long_owned, .init = product_begin, .fini = product_fini, .timeout = 900);

enum {
    WORKERS = 2,
    MILLION = 1000000,
    ROUND = 202000, /* somewhat more than a fifth: a few entries are used again */
    TWO_ROUNDS = 400000,
    KILLED = 100000,
    KILLS_A_TAKEOVER = 4,
    MEMORY_SLACK_KIB = 1024,
};

/* --- Penstock --- */

static void begin(const char *time_wait)
{
    struct penstock_config config = {
        .before_exec = product_enter_cgroup,
        .workers = WORKERS,
        .limits = "sessions: 2000, buffers: 64MiB, flows: 250000",
        .log = "access: off",
    };

    crowd_begin();
    config.servers = crowd_servers();
    product_configure(&config, time_wait);
    penstock_start(&config);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    owned_open(product_pins());
}

static void end(void)
{
    crowd_end();
    product_stop(NULL);
    cr_expect_eq(product_lingerer(), 0);
    product_expect_gone();
    bed_end();
}

/* Slots of the table that something stands in. */
static uint32_t used_slots(void)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < owned.table.groups * FLOW_GROUP; i++) {
        uint8_t state = owned.table.entries[i].state;
        used += owned.table.tags[i] != 0 || (state != FLOW_FREE && state != FLOW_RELEASED);
    }
    return used;
}

static uint64_t counted(const char *name)
{
    return penstock_number(bed_format("time_wait.counters.%s", name));
}

/* All have ended, and the kernel was relieved of its own long before it would end them itself. */
static void await_nothing_left(uint64_t published)
{
    WAIT_UNTIL(penstock_number("sessions") == 0);
    WAIT_UNTIL(counted("published") >= published);
    WAIT_UNTIL(net_minisockets() == 0);
    WAIT_UNTIL(used_slots() == 0);
}

/* --- Memory --- */

struct footprint {
    uint64_t user_kib;
    uint64_t map_bytes;
    uint64_t sockets; /* the kernel's, of this namespace */
    unsigned descriptors[1 + 2 * WORKERS];
};

static uint64_t in_use(const char *path, const char *family)
{
    const char *line = strstr(bed_read_file(path), bed_format("%s: inuse ", family));

    cr_assert_not_null(line);
    return strtoull(line + strlen(family) + strlen(": inuse "), NULL, 10);
}

static struct footprint footprint_now(void)
{
    struct footprint now = {
        .user_kib = penstock_memory_kib(WORKERS),
        .map_bytes = owned_map_bytes(bed.penstock),
        .sockets = in_use("/proc/net/sockstat", "TCP") + in_use("/proc/net/sockstat6", "TCP6"),
        .descriptors = {bed_count_descriptors(bed.penstock)},
    };

    for (unsigned slot = 0; slot < WORKERS; slot++) {
        now.descriptors[1 + slot] = bed_count_descriptors(penstock_keeper(slot));
        now.descriptors[1 + WORKERS + slot] = bed_count_descriptors(penstock_worker(slot));
    }
    return now;
}

static void expect_as_before(const struct footprint *before)
{
    struct footprint now = footprint_now();

    printf("%lu KiB of user memory, %lu KiB of maps, %lu sockets\n", (unsigned long)now.user_kib,
           (unsigned long)now.map_bytes / 1024, (unsigned long)now.sockets);
    cr_expect_leq(now.user_kib, before->user_kib + MEMORY_SLACK_KIB, "grown from %lu KiB to %lu",
                  (unsigned long)before->user_kib, (unsigned long)now.user_kib);
    cr_expect_eq(now.map_bytes, before->map_bytes);
    cr_expect_eq(now.sockets, before->sockets);
    cr_expect_arr_eq(now.descriptors, before->descriptors, sizeof(now.descriptors));
}

/* --- Tests --- */

static uint64_t freed(void)
{
    return penstock_number("time_wait.sweep.freed");
}

/* Entries that ended before 2MSL had passed, for a new connection of their tuple. */
static uint64_t used_again(void)
{
    return counted("reopened") + counted("reconnected");
}

/* Of the kernel's own. */
static uint64_t destroyed(void)
{
    return penstock_number("time_wait.kernel_destroyed");
}

/* Of each session one end leaves an entry, and the other's is released at its last ACK. */
static void expect_counts(uint64_t sessions)
{
    cr_expect_eq(counted("published"), sessions);
    cr_expect_eq(counted("released"), sessions);
    cr_expect_eq(counted("insert_failures"), 0);
    cr_expect_eq(counted("publish_overruns"), 0);
    cr_expect_eq(counted("ended") + counted("refused"), 0);
    cr_expect_eq(penstock_number("stats.flow_failures"), 0);
    cr_expect_eq(penstock_number("stats.ports_exhausted"), 0);
    cr_expect_eq(penstock_number("closes.client_closed"), sessions / 2);
    cr_expect_eq(penstock_number("closes.server_closed"), sessions / 2);
    cr_expect_eq(net_counter("Tcp", "OutRsts"), counted("resets_held_back"));
}

/* In rounds until so many have expired. Between two of them nothing is left. */
static void come_and_go(uint64_t count)
{
    struct load_totals totals = {0};
    struct footprint first = {0};

    while (freed() < count) {
        size_t texts = bed_mark();
        uint64_t began_ms = bed_now_ms();
        crowd_start(ROUND);
        crowd_finish(&totals);
        printf("%lu connections, the last %u in %lu ms\n", (unsigned long)totals.opened, ROUND,
               (unsigned long)(bed_now_ms() - began_ms));
        await_nothing_left(totals.opened);
        first = totals.opened == ROUND ? footprint_now() : first;
        expect_as_before(&first);
        bed_release(texts);
    }
    load_totals_expect(&totals);
    expect_counts(totals.opened);
    cr_expect_eq(freed() + used_again(), totals.opened);
}

Test(long_owned, a_million_come_and_go)
{
    begin("two_msl: 2s");
    come_and_go(MILLION);
    uint64_t published = counted("published");
    cr_expect_leq(destroyed(), published);
    cr_expect_geq(destroyed() + used_again(), published);
    end();
}

Test(long_owned, come_and_go_where_the_kernel_keeps_none)
{
    begin("two_msl: 2s, " NO_BUCKETS);
    come_and_go(TWO_ROUNDS);
    cr_expect_eq(destroyed(), 0);
    end();
}

/* A new worker does not know which ports its predecessor used, and uses some again as soon as RFC 6191 lets
 * it. What is swept is counted a group at a time, so a death takes the count of one with it. */
Test(long_owned, a_hundred_thousand_while_everybody_dies)
{
    struct load_totals totals = {0};
    struct killer killer;
    unsigned takeovers = 0;

    begin("two_msl: 5s");
    killer_begin(&killer, WORKERS);
    crowd_start(KILLED);
    while (!crowd_is_done()) {
        size_t texts = bed_mark();
        killer_run(&killer, KILLS_A_TAKEOVER, 20, 150, 0);
        penstock_kill();
        bed_pause_ms((unsigned)rng_below(&killer.rng, 200));
        penstock_start_again();
        takeovers++;
        bed_release(texts);
    }
    crowd_finish(&totals);
    killer_expect_all_back(&killer);
    await_nothing_left(totals.opened);
    load_totals_expect(&totals);
    expect_counts(KILLED);
    uint64_t ended = freed() + used_again();
    printf("%u kills, %u takeovers, %lu swept, %lu used again\n", killer.kills, takeovers,
           (unsigned long)freed(), (unsigned long)used_again());
    cr_expect_leq(ended, KILLED);
    cr_expect_geq(ended + (uint64_t)killer.kills * FLOW_GROUP, KILLED);
    end();
}
