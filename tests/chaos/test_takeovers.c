/*
 * Keepers, workers and supervisors die at random moments under load, and programs are upgraded: nobody at either end
 * notices, and nothing is counted twice or lost. Only keeper and worker of one slot never die together.
 *
 * The seed is printed; CHAOS_SEED=N repeats the choices (not the moments).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "bench/rng.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { WORKERS = 2, LOADS = 3, UPGRADES = 20 };

BED_SUITE(takeovers, 120);

static struct origin origin;
static struct bed_process loads[LOADS];
static struct rng rng;

static void begin(unsigned seconds)
{
    const char *given = getenv("CHAOS_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 0;

    if (given == NULL) {
        cr_assert_eq(getrandom(&seed, sizeof(seed), 0), (ssize_t)sizeof(seed));
    }
    rng_init(&rng, seed);
    fprintf(stderr, "chaos: CHAOS_SEED=%#lx repeats the choices of this run\n", (unsigned long)seed);
    origin = origin_start("auto");
    penstock_start_to(origin.port);
    loads[0] = load_start(bed_format("streams --connections 40 --seconds %u --max-bytes 8M --slow-readers 20 "
                                     "--slow-origin 10 --early-fin 20 --late-fin 20",
                                     seconds));
    loads[1] = load_start(bed_format("connect --connections 4 --seconds %u", seconds));
    loads[2] = load_start(bed_format("idle --connections 200 --seconds %u --touch --verify", seconds));
}

/* The slot's worker serves, and is a keeper's. */
static bool is_kept(unsigned slot)
{
    pid_t worker = penstock_worker(slot);
    pid_t keeper = (pid_t)bed_proc_status(worker, "PPid");
    const char *comm = bed_read_file(bed_format("/proc/%d/comm", keeper));

    return worker > 0 && keeper > 0 && strcmp(comm, bed_format("keeper.%u\n", slot)) == 0;
}

static void settle(void)
{
    for (unsigned slot = 0; slot < WORKERS; slot++) {
        WAIT_UNTIL(is_kept(slot));
    }
}

/* One death, or several that a sound instance survives. */
static void strike(void)
{
    unsigned slot = (unsigned)rng_below(&rng, WORKERS);
    uint64_t choice = rng_below(&rng, 100);

    if (choice < 30) {
        (void)kill(penstock_worker(slot), SIGKILL);
    } else if (choice < 70) {
        (void)kill(penstock_keeper(slot), SIGKILL);
    } else if (choice < 80) {
        (void)kill(bed.penstock, SIGUSR2);
    }
    if (choice >= 50) { /* while something is being replaced, or by itself */
        bed_pause_ms((unsigned)rng_below(&rng, 30));
        penstock_kill();
        bed_pause_ms((unsigned)rng_below(&rng, 20));
        penstock_start_again();
    }
}

static void expect_unharmed(void)
{
    struct load_totals totals = loads_expect(loads, LOADS);

    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == totals.opened);
    origin_expect_unharmed(&origin, totals.bytes_up);
    cr_assert_eq(penstock_number("closes.lost"), 0);
    bed_end();
}

Test(takeovers, of_everybody)
{
    unsigned strikes = 0;

    begin(10);
    while (!bed_has_ended(loads[2].pid)) {
        settle();
        strike();
        strikes++;
        bed_pause_ms((unsigned)rng_below(&rng, 50));
    }
    settle();
    fprintf(stderr, "chaos: %u strikes\n", strikes);
    expect_unharmed();
}

/* Workers fail while keepers are replaced. */
Test(takeovers, by_upgrades_while_workers_fail)
{
    begin(8);
    for (unsigned i = 1; i <= UPGRADES; i++) {
        cr_assert_eq(kill(bed.penstock, SIGUSR2), 0);
        for (unsigned ms = 0; penstock_number("upgrades") < i; ms += 5) {
            cr_assert_lt(ms, 20000, "%s", penstock_log());
            (void)kill(penstock_worker((unsigned)rng_below(&rng, WORKERS)), SIGABRT);
            bed_pause_ms(5 + (unsigned)rng_below(&rng, 40));
        }
    }
    settle();
    expect_unharmed();
}

Test(takeovers, by_upgrades)
{
    begin(14);
    for (unsigned i = 1; i <= UPGRADES; i++) {
        cr_assert_eq(kill(bed.penstock, SIGUSR2), 0);
        WAIT_UNTIL(penstock_number("upgrades") == i);
    }
    cr_assert(!bed_has_ended(loads[2].pid), "the load was to last as long");
    expect_unharmed();
}
