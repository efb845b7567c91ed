/* The sessions that stand out. */
#include "cmd/exporter/leaders.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/harness_json.h"
#include "tests/unit/cmd/instance_make.h"

static struct leaders leaders;

static void setup(void)
{
    instance_make(100);
}

static void finish(void)
{
    free(leaders.rows.rows);
}

TestSuite(leaders, .init = setup, .fini = finish);

/* Overwritten by the next. */
static const char *print(void)
{
    static char text[16384];
    FILE *out = fmemopen(text, sizeof(text), "w");

    leaders_print(out, &leaders, &made);
    fclose(out);
    return text;
}

Test(leaders, are_the_largest_and_the_oldest)
{
    for (uint32_t i = 1; i <= 2 * LEADERS_MAX; i++) {
        struct session *session = instance_add_session(i % 2, 0, 0, (uint8_t)i, i * 1000000);
        session->conn[SIDE_SERVER].received_bytes = 1000 - i;
    }
    cr_assert_eq(leaders_read(&leaders, &made), 0);
    const char *text = print();
    for (unsigned i = 0; i < LEADERS_MAX; i++) {
        char path[64];
        snprintf(path, sizeof(path), "bytes.%u.server_bytes", i);
        cr_expect_eq(json_number(text, path), 999 - i);
        snprintf(path, sizeof(path), "age.%u.server_bytes", i);
        cr_expect_eq(json_number(text, path), 1000 - 2 * LEADERS_MAX + i);
    }
    cr_expect_null(json_find(text, "bytes.8"));
    cr_expect_null(json_find(text, "age.8"));
}

Test(leaders, are_those_with_most_that_waits)
{
    for (uint8_t i = 1; i <= 4; i++) {
        struct session *session = instance_add_session(i % 2, 0, 0, i, 1000);
        session->conn[SIDE_CLIENT].queued_bytes = i == 2 ? 5000 : 0;
        session->conn[SIDE_SERVER].queued_bytes = i == 3 ? 6000 : 0;
    }
    cr_assert_eq(leaders_read(&leaders, &made), 0);
    const char *text = print();
    cr_expect_eq(json_number(text, "queued.0.server_queued_bytes"), 6000);
    cr_expect_eq(json_number(text, "queued.1.client_queued_bytes"), 5000);
    cr_expect_null(json_find(text, "queued.2"), "nothing waits in the others");
}

Test(leaders, that_have_ended_are_left_out)
{
    struct session *ends = instance_add_session(0, 0, 0, 1, 2000000);
    (void)instance_add_session(0, 0, 0, 2, 1000000);

    cr_assert_eq(leaders_read(&leaders, &made), 0);
    ends->generation++;
    cr_expect_not_null(strstr(json_find(print(), "age.0.source"), "192.0.2.2"));
    cr_expect_null(json_find(print(), "age.1"));
}

Test(leaders, nobody_is_an_empty_list)
{
    cr_assert_eq(leaders_read(&leaders, &made), 0);
    cr_expect_str_eq(print(), "{\"bytes\":[],\"age\":[],\"queued\":[]}\n");
}

Test(leaders, are_not_read_again_before_nine_times_the_cost_has_passed)
{
    (void)instance_add_session(0, 0, 0, 1, 1000);
    cr_assert_eq(leaders_read(&leaders, &made), 0);
    leaders.cost_us = UINT64_MAX / 1000;
    (void)instance_add_session(0, 0, 0, 2, 1000);
    cr_assert_eq(leaders_read(&leaders, &made), 0);
    cr_expect_eq(leaders.rows.count, 1);
}
