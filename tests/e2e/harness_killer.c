#include "tests/e2e/harness_killer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tests/e2e/harness_json.h"

enum {
    AGAIN_PERCENT = 15,  /* kills followed by another one */
    AGAIN_MAX_US = 5000, /* within the adoption, more or less */
};

void killer_begin(struct killer *killer, unsigned workers)
{
    const char *given = getenv("CHAOS_SEED");

    *killer = (struct killer){.workers = workers};
    if (given != NULL) {
        killer->seed = strtoull(given, NULL, 0);
    } else {
        cr_assert_eq(getrandom(&killer->seed, sizeof(killer->seed), 0), (ssize_t)sizeof(killer->seed));
    }
    fprintf(stderr, "chaos: CHAOS_SEED=%#lx repeats the choices of this run\n", (unsigned long)killer->seed);
    rng_init(&killer->rng, killer->seed);
    killer->lent_bytes = penstock_number("buffer_lent_bytes");
    for (unsigned slot = 0; slot < workers; slot++) {
        killer->keepers[slot] = penstock_keeper(slot);
        killer->descriptors[slot] = bed_count_descriptors(killer->keepers[slot]);
    }
}

/* A keeper's only child. Its number stays taken until the keeper has reaped it. */
static pid_t worker_of(pid_t keeper)
{
    size_t texts = bed_mark();
    const char *children = bed_read_file(bed_format("/proc/%d/task/%d/children", keeper, keeper));

    bed_release(texts);
    return (pid_t)strtol(children, NULL, 10);
}

static void kill_one(struct killer *killer, unsigned slot)
{
    static const int signals[] = {SIGKILL, SIGSEGV, SIGABRT};
    pid_t worker = worker_of(killer->keepers[slot]);

    if (worker > 0 && kill(worker, signals[rng_below(&killer->rng, 3)]) == 0) {
        killer->kills++;
    }
}

static void pause_us(uint64_t us)
{
    struct timespec pause = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

    nanosleep(&pause, NULL);
}

void killer_run(struct killer *killer, unsigned count, unsigned min_ms, unsigned max_ms, pid_t until)
{
    unsigned before = killer->kills;

    while ((count == 0 || killer->kills - before < count) && (until == 0 || !bed_has_ended(until))) {
        unsigned slot = (unsigned)rng_below(&killer->rng, killer->workers);
        pause_us(min_ms * 1000 + rng_below(&killer->rng, (uint64_t)(max_ms - min_ms) * 1000));
        kill_one(killer, slot);
        if (rng_chance(&killer->rng, AGAIN_PERCENT)) {
            pause_us(rng_below(&killer->rng, AGAIN_MAX_US));
            kill_one(killer, rng_chance(&killer->rng, 50) ? slot : (slot + 1) % killer->workers);
        }
    }
}

void killer_kill_all(struct killer *killer)
{
    for (unsigned slot = 0; slot < killer->workers; slot++) {
        kill_one(killer, slot);
    }
}

void killer_stop_reading(const struct net_pair *pair, size_t bytes)
{
    const size_t step = 3 << 20;
    pid_t writer = net_write_behind(pair->server, 9, bytes);
    size_t done = 0;

    for (unsigned deaths = 1; done < bytes; deaths++) {
        size_t next = bytes - done < step ? bytes - done : step;
        net_read_pattern_from(pair->client, 9, done, next);
        done += next;
        bed_pause_ms(20); /* what is on its way stands still */
        cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);
        WAIT_UNTIL(penstock_number("workers.0.incarnation") == deaths + 1);
    }
    cr_assert_eq(bed_wait(writer), 0);
}

void killer_expect_all_back(const struct killer *killer)
{
    WAIT_UNTIL(penstock_number("sessions") == 0);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == killer->lent_bytes);
    for (unsigned slot = 0; slot < killer->workers; slot++) {
        WAIT_UNTIL(bed_count_descriptors(killer->keepers[slot]) == killer->descriptors[slot]);
    }
    const char *status = penstock_status();
    uint64_t deaths = 0;
    for (unsigned slot = 0; slot < killer->workers; slot++) {
        deaths += json_number(status, bed_format("workers.%u.deaths", slot));
    }
    cr_assert_leq(deaths, killer->kills, "workers died by themselves: %s", penstock_log());
    if (killer->kills > 0) {
        cr_assert_gt(2 * deaths, killer->kills, "most kills met nobody");
        fprintf(stderr, "chaos: %u kills, %lu deaths, %lu transactions cut short\n", killer->kills,
                (unsigned long)deaths, (unsigned long)json_number(status, "stats.undone"));
    }
}
