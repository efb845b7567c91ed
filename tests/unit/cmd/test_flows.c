/* Lists of flow entries: whose they are, how old, filters, JSON. */
#include "cmd/exporter/flows.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "core/session.h"
#include "io/clock.h"
#include "tests/e2e/harness_json.h"
#include "tests/unit/cmd/instance_make.h"

static struct flow_table table;
static uint32_t intent = FLOW_NONE;

static void setup(void)
{
    instance_make(100);
    flow_table_open(&table, &made);
}

TestSuite(flows, .init = setup);

static uint32_t claim(uint8_t host, uint32_t slot, uint32_t session)
{
    struct flow_key key = {.local_port = 443, .remote_port = 50000};

    key.remote[10] = key.remote[11] = key.local[10] = key.local[11] = 0xff;
    memcpy(key.remote + 12, (uint8_t[]){192, 0, 2, host}, 4);
    memcpy(key.local + 12, (uint8_t[]){192, 0, 2, 1}, 4);
    uint32_t index = flow_table_claim(&table, &key, slot, session, 0, &intent);
    cr_assert_neq(index, FLOW_NONE);
    return index;
}

static unsigned list(const struct flow_filter *filter, struct flow_view *views, unsigned max)
{
    struct flow_list list;
    unsigned count = 0;

    flow_list_begin(&list, &made, filter, clock_now_us());
    while (count < max && flow_list_next(&list, &views[count])) {
        count++;
    }
    return count;
}

Test(flows, of_a_session_name_it)
{
    struct session *session = instance_add_session(1, 0, 0, 9, 5000000);
    struct flow_view view;

    session->serial = 4711;
    session->conn[SIDE_SERVER].flow = claim(9, 1, 0);
    cr_assert_eq(list(&(struct flow_filter){0}, &view, 1), 1);
    cr_expect_eq(view.state, FLOW_ACTIVE);
    cr_expect_str_eq(view.local, "192.0.2.1:443");
    cr_expect_str_eq(view.remote, "192.0.2.9:50000");
    cr_expect(view.has_session && view.worker == 1 && view.serial == 4711 && view.side == SIDE_SERVER);
    cr_expect_geq(view.age_ms, 5000);
}

/* The session has ended just now, or a worker wrote nonsense. */
Test(flows, of_no_session_name_none)
{
    struct flow_view views[3];

    instance_add_session(1, 0, 0, 1, 0);
    claim(1, 1, 0);
    claim(2, 1, UINT32_MAX);
    claim(3, 200, 0);
    cr_assert_eq(list(&(struct flow_filter){0}, views, 3), 3);
    for (int i = 0; i < 3; i++) {
        cr_expect_not(views[i].has_session);
    }
}

Test(flows, in_time_wait_tell_when_they_end)
{
    struct flow_view view;

    flow_table_time_wait(&table, claim(1, 0, 0), 0, clock_now_us() / 1000 - 20000, &intent);
    cr_assert_eq(list(&(struct flow_filter){.state = FLOW_TIME_WAIT}, &view, 1), 1);
    cr_expect_geq(view.age_ms, 20000);
    cr_expect_leq(view.left_ms, 40000);
    cr_expect_eq(view.age_ms + view.left_ms, FLOW_TWO_MSL_MS);
    cr_expect(view.has_age);
    flow_table_time_wait(&table, claim(2, 0, 0), 0, clock_now_us() / 1000 - 90000,
                         &intent); /* not swept yet */
    struct flow_view views[2];
    cr_assert_eq(list(&(struct flow_filter){0}, views, 2), 2);
    cr_expect(views[0].left_ms == 0 || views[1].left_ms == 0);
}

/* 2MSL is the instance's. */
Test(flows, are_as_old_as_their_2msl_says)
{
    uint32_t index = claim(1, 0, 0);
    struct flow_view view;

    made.flow_maps[0] = table.tags; /* as where the table is shared with BPF programs */
    made.flow_maps[1] = (unsigned char *)table.entries;
    made.header->time_wait.owned = 1;
    made.header->time_wait.two_msl_ms = 90000;
    table.entries[index].expire_ms = (uint32_t)(clock_now_us() / 1000) + 80000;
    table.entries[index].state = FLOW_TIME_WAIT;
    cr_assert_eq(list(&(struct flow_filter){0}, &view, 1), 1);
    cr_expect_eq(view.age_ms + view.left_ms, 90000);
}

/* Between its session's end and the kernel's socket's: no worker's any more, and no age to tell. */
Test(flows, orphaned_tell_only_how_long_they_may_stay)
{
    uint32_t index = claim(1, 0, 0);
    struct flow_view view;

    table.entries[index].expire_ms = (uint32_t)(clock_now_us() / 1000) + 600000;
    table.entries[index].state = FLOW_ORPHANED;
    cr_assert_eq(list(&(struct flow_filter){.state = FLOW_ORPHANED}, &view, 1), 1);
    cr_expect_not(view.has_age);
    cr_expect_not(view.has_session);
    cr_expect_gt(view.left_ms, 60000);
}

static int set(struct flow_filter *filter, const char *key, const char *value)
{
    const char *why = NULL;
    int result = flow_filter_set(filter, key, value, &why);

    cr_expect_not_null(why);
    return result;
}

Test(flows, filters)
{
    struct flow_filter filter = {0};
    struct flow_view views[10];

    for (uint8_t i = 0; i < 8; i++) {
        uint32_t index = claim(i, 0, 0);
        if (i < 5) {
            flow_table_time_wait(&table, index, 0, clock_now_us() / 1000, &intent);
        }
    }
    cr_expect_eq(list(&filter, views, 10), 8);
    cr_assert_eq(set(&filter, "state", "active"), 0);
    cr_expect_eq(list(&filter, views, 10), 3);
    cr_assert_eq(set(&filter, "limit", "2"), 0);
    cr_expect_eq(list(&filter, views, 10), 2);
    cr_assert_eq(set(&filter, "state", "time_wait"), 0);
    cr_assert_eq(set(&filter, "limit", "18446744073709551615"), 0);
    cr_expect_eq(list(&filter, views, 10), 5);
    cr_expect_eq(set(&filter, "state", "orphaned"), 0);
    cr_expect_lt(set(&filter, "state", "busy"), 0);
    cr_expect_lt(set(&filter, "limit", "0"), 0);
    cr_expect_lt(set(&filter, "limit", "-1"), 0);
    cr_expect_lt(set(&filter, "limit", "1k"), 0);
    cr_expect_lt(set(&filter, "pool", "app"), 0);
}

/* The whole list in pieces of `size` bytes; overwritten by the next. */
static const char *read_all(const struct flow_filter *filter, size_t size)
{
    struct json_list *json = flow_json_list(&made, filter, clock_now_us());
    static char text[10000];
    size_t used = 0;
    size_t got;

    while ((got = json_list_read(json, text + used, size)) > 0) {
        used += got;
        cr_assert_lt(used + size, sizeof(text));
    }
    json_list_destroy(json);
    text[used] = '\0';
    return text;
}

Test(flows, a_list_in_pieces_of_any_size)
{
    static const size_t sizes[] = {1, 7, 300, 4096};
    struct flow_filter all = {0};
    struct flow_filter none = {.state = FLOW_FIN_WAIT2};

    cr_expect_str_eq(read_all(&all, 100), "[]\n");
    for (uint8_t i = 0; i < 3; i++) {
        claim(i, 1, 0);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const char *json = read_all(&all, sizes[i]);
        cr_expect_eq(json_number(json, "0.worker"), 1);
        cr_expect_not_null(json_find(json, "2"));
        cr_expect_null(json_find(json, "3"));
        cr_expect_str_eq(json + strlen(json) - 4, "}\n]\n");
    }
    cr_expect_str_eq(read_all(&none, 100), "[]\n");
}

Test(flows, as_json)
{
    struct flow_view view = {
        .state = FLOW_TIME_WAIT, .local = "a", .remote = "b", .has_age = true, .age_ms = 1, .left_ms = 2};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    flow_print_json(out, &view);
    fclose(out);
    cr_expect_str_eq(text, "{\"state\":\"time_wait\",\"local\":\"a\",\"remote\":\"b\",\"age_ms\":1,"
                           "\"left_ms\":2}");
    free(text);
}
