/* Three hundred reloads under load: nobody at either end notices. */
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_reloader.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(long_reloads, 300);

Test(long_reloads, three_hundred)
{
    struct origin origin = origin_start("auto");
    struct load_totals totals = {0};
    struct reloader reloader;

    reloader_begin(&reloader, origin.port);
    struct bed_process connects = load_start("connect --connections 16 --seconds 60");
    struct bed_process streams =
        load_start("streams --connections 100 --seconds 60 --max-bytes 64M --slow-readers 20 --late-fin 20");
    reloader_run(&reloader, 300);
    load_totals_add(&totals, load_finish(&connects));
    load_totals_add(&totals, load_finish(&streams));
    load_totals_expect(&totals);
    cr_assert_eq(penstock_number("generation"), 301);
    origin_expect_unharmed(&origin, totals.bytes_up);
    bed_end();
}
