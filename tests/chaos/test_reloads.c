/* Reloads under load: nobody at either end notices. */
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_reloader.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(reloads, 120);

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
    load_totals_expect(&totals);
    cr_assert_eq(penstock_number("generation"), 1 + reloader.reloads);
    const char *figures = origin_stop(&origin);
    cr_assert_eq(json_number(figures, "mismatches") + json_number(figures, "short") +
                     json_number(figures, "resets"),
                 0, "%s", figures);
    bed_end();
}
