/* Orders: words that several may write and one carries out. */
#include "shm/order.h"

#include <criterion/criterion.h>

#include "shm/worker_slot.h"
#include "tests/unit/shm/region_make.h"

static struct region region;
static uint32_t at, generation; /* as order_next() tells */

static void setup(void)
{
    region = region_make();
}

TestSuite(order, .init = setup);

Test(order, of_a_server_changes_one_half)
{
    cr_expect_eq(order_server(&region, 5), 0);
    order_server_state(&region, 5, ADMIN_DRAIN);
    order_server_weight(&region, 5, IMAGE_WEIGHT_MAX);
    cr_expect_eq(order_server(&region, 5), admin_pack(ADMIN_DRAIN, IMAGE_WEIGHT_MAX));
    order_server_state(&region, 5, ADMIN_UP);
    cr_expect_eq(order_server(&region, 5), admin_pack(ADMIN_UP, IMAGE_WEIGHT_MAX));
    order_server_weight(&region, 5, 0);
    cr_expect_eq(order_server(&region, 5), 0);
    order_server_state(&region, IMAGE_SERVERS_MAX - 1, ADMIN_DOWN);
    cr_expect_eq(order_server(&region, IMAGE_SERVERS_MAX - 2), 0);
    cr_expect(region_check(&region));
}

Test(order, to_kill_waits_for_its_answer)
{
    cr_expect_not(order_next(&region, 1, &at, &generation));
    cr_expect(order_kill(&region, 1, 7, 3));
    cr_expect_not(order_kill_is_done(&region, 1, 7, 3));
    cr_expect_not(order_kill(&region, 1, 8, 1), "another waits");
    cr_expect(order_kill(&region, 0, 8, 1), "of another slot");
    for (int i = 0; i < 2; i++) { /* a worker that dies before it answers finds it again */
        cr_expect(order_next(&region, 1, &at, &generation));
        cr_expect(at == 7 && generation == 3);
    }
    order_answer(&region, 1, at, generation);
    cr_expect_not(order_next(&region, 1, &at, &generation));
    cr_expect(order_kill_is_done(&region, 1, 7, 3));
    cr_expect_not(order_kill_is_done(&region, 0, 8, 1));
}

Test(order, to_kill_stays_done_when_another_follows)
{
    cr_assert(order_kill(&region, 1, 7, 3));
    order_answer(&region, 1, 7, 3);
    cr_assert(order_kill(&region, 1, 7, 4));
    cr_expect(order_kill_is_done(&region, 1, 7, 3));
    cr_expect_not(order_kill_is_done(&region, 1, 7, 4));
}
