/* When an instance is well. */
#include "cmd/exporter/health.h"

#include <criterion/criterion.h>

static struct summary summary;
static struct health health;

static void setup(void)
{
    summary = (struct summary){.workers = 2, .slots = 3};
    summary.worker[0].state = SLOT_SERVING;
    summary.worker[1].state = SLOT_SERVING;
    summary.worker[2].state = SLOT_DONE; /* no longer configured */
}

TestSuite(health, .init = setup);

static void expect(bool live, bool ready, const char *reason)
{
    health_judge(&health, &summary);
    cr_expect_eq(health.live, live);
    cr_expect_eq(health.ready, ready);
    cr_expect_str_eq(health.reason, reason);
}

Test(health, every_configured_worker_serves)
{
    expect(true, true, "");
}

Test(health, a_worker_that_does_not_serve)
{
    summary.worker[1].state = SLOT_ADOPTING;
    expect(false, false, "worker 1 does not serve: adopting");
    summary.worker[1].state = SLOT_DONE;
    expect(false, false, "worker 1 does not serve: done");
    summary.worker[1].state = 99;
    expect(false, false, "worker 1 does not serve: damaged");
}

Test(health, a_worker_that_hangs)
{
    summary.worker[0].beat_age_ms = 3000;
    expect(true, true, "");
    summary.worker[0].beat_age_ms = 4321;
    expect(false, false, "worker 0 hangs: its loop has not turned for 4 s");
}

/* Who restarts what is not live must not cut off the sessions of the slower worker. */
Test(health, draining_is_live_but_not_ready)
{
    summary.run_state = RUN_DRAIN;
    expect(true, false, "draining");
    summary.worker[0].state = SLOT_DONE;
    summary.worker[0].beat_age_ms = 100000;
    expect(true, false, "draining");
    summary.run_state = RUN_STOP;
    expect(true, false, "stopping");
}
