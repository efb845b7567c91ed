/* Where the pins of an instance are. What is done with them is tests/e2e's. */
#include "cmd/leftover.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>

TestSuite(leftover);

Test(leftover, pins_have_the_name_and_the_network_namespace)
{
    char pins[REGION_PINS_MAX];
    char others[REGION_PINS_MAX];

    leftover_pins(pins, "edge");
    cr_expect_eq(strncmp(pins, "/sys/fs/bpf/penstock/edge:", 26), 0, "%s", pins);
    leftover_pins(others, "edge");
    cr_expect_str_eq(pins, others);
    if (unshare(CLONE_NEWNET) == 0) {
        leftover_pins(others, "edge");
        cr_expect_str_neq(pins, others);
    }
}

Test(leftover, pins_have_no_dots)
{
    char pins[REGION_PINS_MAX];

    leftover_pins(pins, "edge.1.b");
    cr_expect_eq(strncmp(pins, "/sys/fs/bpf/penstock/edge+1+b:", 30), 0, "%s", pins);
}

Test(leftover, pins_of_the_longest_name_are_whole)
{
    char name[IMAGE_NAME_MAX];
    char pins[REGION_PINS_MAX];

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    leftover_pins(pins, name);
    cr_expect_neq(pins[strlen(pins) - 1], ':', "%s", pins);
    cr_expect_not_null(strchr(pins, ':'), "%s", pins);
}

Test(leftover, nothing_is_removed_where_nothing_is)
{
    cr_expect_not(leftover_remove("/sys/fs/bpf/penstock/unit-test-none"));
    leftover_restore_buckets("/sys/fs/bpf/penstock/unit-test-none");
}
