/*
 * The load tools of bench/ in a test: origins behind Penstock, loads in front.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_TOOLS_H
#define PENSTOCK_TESTS_E2E_HARNESS_TOOLS_H

#include "tests/e2e/harness.h"

struct origin {
    struct bed_process process;
    uint16_t port;
};

/* Starts an origin on a port of its own; mode "auto" decides by the first bytes. */
struct origin origin_start(const char *mode);

/* The same on `address`, "unix:/path" or "[::1]:1234". */
struct origin origin_start_at(const char *mode, const char *address);

/* Ends it; its totals as JSON. */
const char *origin_stop(const struct origin *origin);

/* Ends it: no byte was wrong or missing, nobody was reset, and it received so many bytes. */
void origin_expect_unharmed(const struct origin *origin, uint64_t bytes);

/* Starts load with arguments separated by blanks; --connect (bed.port, unless given) and --json are added. */
struct bed_process load_start(const char *arguments);

/* Waits for its end, which must be without complaint; its figures as JSON. */
const char *load_finish(const struct bed_process *load);

/* Both. */
const char *load_run(const char *arguments);

/* What several loads did together. */
struct load_totals {
    uint64_t opened;
    uint64_t bytes_up;
    uint64_t bytes_down;
};

void load_totals_add(struct load_totals *totals, const char *figures);

/* Waits for the sessions' end; then status says the same as the loads, to the byte. */
void load_totals_expect(const struct load_totals *totals);

/* The same of loads that run, whose end it waits for first. */
struct load_totals loads_expect(const struct bed_process *loads, unsigned count);

#endif
