/* Lists of sessions: filters, JSON, pieces of any size. */
#include "cmd/exporter/sessions.h"

#include <criterion/criterion.h>
#include <string.h>

#include "io/clock.h"
#include "tests/e2e/harness_json.h"
#include "tests/unit/cmd/instance_make.h"

static void setup(void)
{
    instance_make(100);
    instance_add_session(0, 0, 0, 1, 10000000);
    instance_add_session(0, 0, 1, 2, 1000);
    instance_add_session(1, 1, 2, 2, 60000000);
    instance_add_session(1, 1, ROW_NONE, 3, 0);
}

TestSuite(sessions, .init = setup);

/* The serials' number and the workers' of those that pass. */
static unsigned count(const char *key, const char *value)
{
    struct session_filter filter = {0};
    struct session_walk walk;
    struct session session;
    const char *why = NULL;
    unsigned passed = 0;

    cr_assert_eq(session_filter_set(&filter, key, value, &why), 0, "%s", why);
    session_walk_begin(&walk, &made);
    while (session_filter_next(&filter, &walk, clock_now_us(), &session)) {
        passed++;
    }
    return passed;
}

Test(sessions, filters)
{
    cr_expect_eq(count("listener", "web"), 2);
    cr_expect_eq(count("listener", "we"), 0);
    cr_expect_eq(count("pool", "side"), 2);
    cr_expect_eq(count("state", "choosing"), 4);
    cr_expect_eq(count("state", "open"), 0);
    cr_expect_eq(count("older_than", "5s"), 2);
    cr_expect_eq(count("older_than", "30s"), 1);
    cr_expect_eq(count("older_than", "0"), 4);
    cr_expect_eq(count("source", "192.0.2.2"), 2);
    cr_expect_eq(count("source", "192.0.2.9"), 0);
    cr_expect_eq(count("source", "2001:db8::1"), 0);
    cr_expect_eq(count("source", "unix"), 0);
}

Test(sessions, wrong_filters_say_what_would_be_right)
{
    static const char *const wrong[][2] = {
        {"state", "free"},
        {"state", "damaged"},
        {"older_than", "5"},
        {"source", "example.com"},
        {"source", "192.0.2.1:1"},
        {"listeners", "web"},
        {"", ""},
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct session_filter filter = {0};
        const char *why = NULL;
        cr_expect_lt(session_filter_set(&filter, wrong[i][0], wrong[i][1], &why), 0, "%s", wrong[i][0]);
        cr_expect_not_null(why);
    }
}

static bool starts_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* The whole list in pieces of `size` bytes; overwritten by the next. */
static const char *stream_all(const struct session_filter *filter, size_t size)
{
    struct json_list *list = session_json_list(&made, filter, clock_now_us());
    static char text[100000];
    size_t used = 0;
    size_t got;

    while ((got = json_list_read(list, text + used, size)) > 0) {
        used += got;
        cr_assert_lt(used + size, sizeof(text));
    }
    cr_expect_eq(json_list_read(list, text + used, size), 0, "it stays at the end");
    json_list_destroy(list);
    text[used] = '\0';
    return text;
}

Test(sessions, a_list_in_pieces_of_any_size)
{
    static const size_t sizes[] = {1, 7, 300, 4096, 65536};
    struct session_filter all = {0};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const char *json = stream_all(&all, sizes[i]);
        cr_expect_eq(json_number(json, "0.serial"), 0);
        cr_expect_eq(json_number(json, "1.worker"), 0);
        cr_expect_eq(json_number(json, "3.worker"), 1);
        cr_expect(starts_with(json_find(json, "1.server"), "\"unix:/run/a\\\"b\\\\c\""));
        cr_expect(starts_with(json_find(json, "1.source"), "\"192.0.2.2:40000\""));
        cr_expect(starts_with(json_find(json, "3.server"), "\"-\""));
        cr_expect_null(json_find(json, "4"));
        cr_expect_str_eq(json + strlen(json) - 4, "}\n]\n");
    }
}

Test(sessions, an_empty_list)
{
    struct session_filter none = {.listener = "nobody"};

    cr_expect_str_eq(stream_all(&none, 100), "[]\n");
}

/* Rows that a worker made up name nothing. */
Test(sessions, a_damaged_record_is_printed_all_the_same)
{
    struct session *session = instance_add_session(0, UINT16_MAX, UINT16_MAX, 1, 0);
    struct session_filter all = {0};

    session->source_family = 77;
    session->accepted_us = UINT64_MAX / 2;
    cr_expect_not_null(
        strstr(stream_all(&all, 100), "\"listener\":\"-\",\"pool\":\"-\",\"server\":\"-\",\"source\":\"-\""));
}
