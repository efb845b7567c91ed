/* The largest sessions from one look to the next. */
#include "cmd/top_rows.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "bench/rng.h"
#include "tests/unit/cmd/instance_make.h"

enum { SESSIONS = 50, WANTED = 7 };

static struct top_rows looks[2];

static void setup(void)
{
    instance_make(100);
}

TestSuite(top_rows, .init = setup);

Test(top_rows, rates_are_of_the_same_session)
{
    struct session *grows = instance_add_session(0, 0, 0, 1, 3000);
    struct session *rests = instance_add_session(0, 0, 0, 1, 2000);
    struct session *changes = instance_add_session(1, 0, 0, 1, 1000);

    grows->conn[SIDE_CLIENT].received_bytes = 100;
    rests->conn[SIDE_SERVER].received_bytes = 100;
    changes->conn[SIDE_SERVER].received_bytes = 100;
    cr_assert_eq(top_rows_read(&looks[0], &looks[1], &made), 0);
    cr_expect_eq(looks[0].count, 3);
    cr_expect_eq(looks[0].rows[0].rate, 0, "nothing to compare with");
    looks[0].read_us -= 1000000;
    grows->conn[SIDE_SERVER].received_bytes = 5000000;
    changes->generation++;
    changes->conn[SIDE_SERVER].received_bytes = 7000000;
    cr_assert_eq(top_rows_read(&looks[1], &looks[0], &made), 0);
    cr_expect_gt(looks[1].rows[0].rate, 0);
    cr_expect_leq(looks[1].rows[0].rate, 5000000);
    cr_expect_eq(looks[1].rows[1].rate, 0);
    cr_expect_eq(looks[1].rows[2].rate, 0, "another session in the same place");
    cr_expect_eq(looks[1].rows[0].bytes, 5000100);
}

Test(top_rows, the_first_are_those_of_a_full_sort)
{
    struct top_row first[WANTED];
    struct rng rng;

    rng_init(&rng, 5);
    for (int i = 0; i < SESSIONS; i++) {
        struct session *session = instance_add_session((uint32_t)i % 2, 0, 0, 1, rng_below(&rng, 1000000));
        session->conn[SIDE_CLIENT].received_bytes = rng_below(&rng, 20);
    }
    cr_assert_eq(top_rows_read(&looks[0], &looks[1], &made), 0);
    cr_assert_eq(top_rows_first(&looks[0], TOP_BY_BYTES, first, WANTED), WANTED);
    for (int i = 0; i < WANTED; i++) {
        size_t above = 0;
        for (size_t k = 0; k < looks[0].count; k++) {
            const struct top_row *row = &looks[0].rows[k];
            above += row->bytes > first[i].bytes ||
                     (row->bytes == first[i].bytes && row->accepted_us < first[i].accepted_us);
        }
        cr_expect_eq(above, i);
    }
    cr_assert_eq(top_rows_first(&looks[0], TOP_BY_AGE, first, WANTED), WANTED);
    for (int i = 1; i < WANTED; i++) {
        cr_expect_leq(first[i - 1].accepted_us, first[i].accepted_us);
    }
    cr_expect_eq(top_rows_first(&looks[1], TOP_BY_RATE, first, WANTED), 0, "none at all");
}
