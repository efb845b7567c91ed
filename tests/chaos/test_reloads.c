/* Reloads under load: nobody at either end notices. */
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_reloader.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(reloads, 120);

static void expect_unharmed(struct load_totals *totals, const struct origin *origin)
{
    load_totals_expect(totals);
    origin_expect_unharmed(origin, totals->bytes_up);
    bed_end();
}

Test(reloads, of_all_kinds_under_load)
{
    struct origin origin = origin_start("auto");
    struct load_totals totals = {0};
    struct reloader reloader;

    reloader_begin(&reloader, origin.port);
    struct bed_process connects = load_start("connect --connections 16 --seconds 14");
    struct bed_process streams =
        load_start("streams --connections 60 --seconds 14 --max-bytes 4M --slow-readers 20 --late-fin 20");
    reloader_run(&reloader, 80);
    load_totals_add(&totals, load_finish(&connects));
    load_totals_add(&totals, load_finish(&streams));
    cr_assert_eq(penstock_number("generation"), 1 + reloader.reloads);
    expect_unharmed(&totals, &origin);
}

/* A worker dies just before each reload comes to it. */
Test(reloads, with_kills)
{
    struct origin origin = origin_start("auto");
    struct load_totals totals = {0};
    struct reloader reloader;
    struct killer killer;

    reloader_begin(&reloader, origin.port);
    killer_begin(&killer, 1);
    struct bed_process connects = load_start("connect --connections 8 --seconds 10");
    struct bed_process streams =
        load_start("streams --connections 60 --seconds 10 --max-bytes 4M --slow-readers 20 --late-fin 20");
    for (int i = 0; i < 50; i++) {
        killer_run(&killer, 1, 10, 60, 0);
        reloader_run(&reloader, 1);
    }
    load_totals_add(&totals, load_finish(&connects));
    load_totals_add(&totals, load_finish(&streams));
    expect_unharmed(&totals, &origin);
}
