/* Who keeps TIME_WAIT, in one line. */
#include "cmd/time_wait_view.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/cmd/instance_make.h"

static const char *describe(void)
{
    static char text[TIME_WAIT_TEXT_MAX];
    struct time_wait_view view;

    time_wait_view_read(&view, &made);
    return time_wait_describe(text, &view);
}

static void setup(void)
{
    instance_make(10);
}

TestSuite(time_wait_view, .init = setup);

Test(time_wait_view, of_the_kernel_says_why)
{
    struct region_time_wait *state = &made.header->time_wait;

    cr_expect_str_eq(describe(), "the kernel keeps it");
    strcpy(state->why, "CAP_BPF is missing");
    cr_expect_str_eq(describe(), "the kernel keeps it: CAP_BPF is missing");
    memset(state->why, 'x', sizeof(state->why)); /* without its end */
    cr_expect_eq(strlen(describe()), strlen("the kernel keeps it: ") + REGION_WHY_MAX - 1);
}

Test(time_wait_view, of_ours_says_for_how_long_and_where)
{
    struct region_time_wait *state = &made.header->time_wait;

    *state = (struct region_time_wait){.owned = 1, .two_msl_ms = 60000, .interfaces = 1, .why = "no more"};
    cr_expect_str_eq(describe(), "owned, 2MSL 1m00s, 1 interface");
    state->two_msl_ms = 2000;
    state->interfaces = 16;
    cr_expect_str_eq(describe(), "owned, 2MSL 2s, 16 interfaces");
}
