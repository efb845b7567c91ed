/* Whether TIME_WAIT can be owned here, and the reason where it cannot; what it does is tests/e2e's. */
#include "io/time_wait.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/capability.h>

TestSuite(time_wait_create);

/* A table for the moment, without pins. Whether there is one; why not. */
static bool can_own(char why[TIME_WAIT_WHY_MAX])
{
    struct time_wait *time_wait = time_wait_create(&(struct time_wait_shape){.groups = 1}, why);

    if (time_wait != NULL) {
        time_wait_destroy(time_wait);
    }
    return time_wait != NULL;
}

static void drop(cap_value_t capability)
{
    cap_value_t both[] = {capability, CAP_SYS_ADMIN};
    cap_t own = cap_get_proc();

    cr_assert_eq(cap_set_flag(own, CAP_EFFECTIVE, 2, both, CAP_CLEAR), 0);
    cr_assert_eq(cap_set_proc(own), 0);
    cap_free(own);
}

Test(time_wait_create, says_yes_or_why_not)
{
    char why[TIME_WAIT_WHY_MAX] = "";

    cr_expect_neq(can_own(why), why[0] != '\0', "%s", why);
}

Test(time_wait_create, names_the_capability_that_is_missing)
{
    static const struct {
        cap_value_t capability;
        const char *name;
    } cases[] = {{CAP_PERFMON, "CAP_PERFMON"}, {CAP_BPF, "CAP_BPF"}, {CAP_NET_ADMIN, "CAP_NET_ADMIN"}};
    char why[TIME_WAIT_WHY_MAX] = "";

    if (!can_own(why)) {
        cr_skip("%s", why);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        drop(cases[i].capability);
        cr_expect_not(can_own(why));
        cr_expect_not_null(strstr(why, cases[i].name), "%s", why);
    }
}
