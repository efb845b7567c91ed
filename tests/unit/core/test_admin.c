/* What is said of a server: a word that holds state and weight. */
#include "core/admin.h"

#include <criterion/criterion.h>

Test(admin, nothing_said_is_up_with_the_files_weight)
{
    cr_expect_eq(admin_state_of(0), ADMIN_UP);
    cr_expect_eq(admin_weight_of(0), 0);
    for (uint32_t weight = 1; weight <= IMAGE_WEIGHT_MAX; weight++) {
        cr_expect_eq(admin_weight(0, weight), weight);
    }
}

Test(admin, state_and_weight_do_not_meet)
{
    for (int state = 0; state < ADMIN_STATE_COUNT; state++) {
        for (uint32_t weight = 0; weight <= IMAGE_WEIGHT_MAX; weight++) {
            uint16_t word = admin_pack((enum admin_state)state, weight);
            cr_assert_eq(admin_state_of(word), (enum admin_state)state);
            cr_assert_eq(admin_weight_of(word), weight);
        }
    }
}

Test(admin, only_a_server_that_is_up_has_a_weight)
{
    cr_expect_eq(admin_weight(admin_pack(ADMIN_UP, 7), 3), 7);
    cr_expect_eq(admin_weight(admin_pack(ADMIN_UP, 0), 3), 3);
    cr_expect_eq(admin_weight(admin_pack(ADMIN_DRAIN, 7), 3), 0);
    cr_expect_eq(admin_weight(admin_pack(ADMIN_DOWN, 0), 3), 0);
    cr_expect_eq(admin_weight(3, 3), 0, "no state there is");
}

Test(admin, texts_are_read_as_they_are_written)
{
    enum admin_state read;

    for (int state = 0; state < ADMIN_STATE_COUNT; state++) {
        cr_assert(admin_state_read(admin_state_text((enum admin_state)state), &read));
        cr_expect_eq(read, (enum admin_state)state);
    }
    cr_expect_not(admin_state_read("", &read));
    cr_expect_not(admin_state_read("downs", &read));
    cr_expect_str_eq(admin_state_text(ADMIN_STATE_COUNT), "damaged");
}
