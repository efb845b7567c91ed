/* Lines of the access log, whatever the record holds. */
#include "cmd/access_line.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "shm/name_row.h"
#include "tests/unit/cmd/instance_make.h"

static char line[ACCESS_LINE_MAX];

static struct log_record record_make(void)
{
    return (struct log_record){
        .serial = 544,
        .accepted_us = made.header->created_monotonic_us + 261253,
        .connected_us = made.header->created_monotonic_us + 261298,
        .first_byte_us = made.header->created_monotonic_us + 263265,
        .closed_us = made.header->created_monotonic_us + 1264265,
        .bytes_from_client = 833,
        .bytes_from_server = UINT64_MAX,
        .source_port = 40112,
        .reason = CLOSE_CLIENT_CLOSED,
        .tries = 2,
        .source_family = ENDPOINT_V4,
        .source_address = {192, 0, 2, 1},
    };
}

static const char *format(enum access_format format, const struct log_record *record)
{
    memset(line, 'x', sizeof(line));
    size_t length = access_line_format(line, format, &made, 1, record);

    cr_assert_eq(length, strlen(line));
    cr_assert_eq(strchr(line, '\n'), line + length - 1);
    return line;
}

Test(access_line, text)
{
    instance_make(100);
    struct log_record record = record_make();
    cr_expect_str_eq(
        format(ACCESS_TEXT, &record),
        "2023-11-14T22:13:20.261253Z 192.0.2.1:40112 web app/127.0.0.1:9001 0.045/2.012/1003.012 833 "
        "18446744073709551615 client_closed 2 1 544\n");
}

Test(access_line, json)
{
    instance_make(100);
    struct log_record record = record_make();
    cr_expect_str_eq(
        format(ACCESS_JSON, &record),
        "{\"time\":\"2023-11-14T22:13:20.261253Z\",\"source\":\"192.0.2.1:40112\",\"listener\":\"web\","
        "\"pool\":\"app\",\"server\":\"127.0.0.1:9001\",\"connected_us\":45,\"first_byte_us\":2012,"
        "\"total_us\":1003012,\"bytes_up\":833,\"bytes_down\":18446744073709551615,"
        "\"reason\":\"client_closed\",\"failed_tries\":2,\"worker\":1,\"serial\":544}\n");
}

Test(access_line, says_what_never_came)
{
    instance_make(100);
    struct log_record record = record_make();
    record.connected_us = 0;
    record.first_byte_us = 0;
    record.server_row = ROW_NONE;
    record.source_family = ENDPOINT_NONE;
    cr_expect_not_null(strstr(format(ACCESS_TEXT, &record), "Z - web app/- -/-/1003.012 833 "), "%s", line);
    cr_expect_not_null(strstr(format(ACCESS_JSON, &record), "\"server\":null,\"connected_us\":null,"
                                                            "\"first_byte_us\":null,\"total_us\":1003012,"),
                       "%s", line);
}

Test(access_line, names_are_escaped)
{
    instance_make(100);
    struct log_record record = record_make();
    record.server_row = 1; /* MADE_STRANGE_SERVER */
    cr_expect_not_null(strstr(format(ACCESS_TEXT, &record), " app/unix:/run/a\\x22b\\x5cc 0.045/"), "%s",
                       line);
    cr_expect_not_null(strstr(format(ACCESS_JSON, &record), "\"server\":\"unix:/run/a\\u0022b\\u005cc\","),
                       "%s", line);
}

/* --- Whatever a worker writes ------------------------------------------------------------------------------- */

static const char *skip_string(const char *at)
{
    cr_assert_eq(*at, '"', "%s", line);
    for (at++; *at != '"'; at++) {
        cr_assert((unsigned char)*at >= ' ', "%s", line);
        if (*at == '\\') {
            cr_assert_eq(strncmp(at, "\\u00", 4), 0, "%s", line);
            cr_assert_eq(strspn(at + 4, "0123456789abcdef") >= 2, true, "%s", line);
            at += 5;
        }
    }
    return at + 1;
}

static const char *skip_value(const char *at)
{
    size_t digits = strspn(at, "0123456789");

    if (digits > 0) {
        cr_assert(digits == 1 || *at != '0', "%s", line);
        return at + digits;
    }
    return strncmp(at, "null", 4) == 0 ? at + 4 : skip_string(at);
}

/* One object of strings, whole numbers and null; every key that there is. */
static void expect_json(const char *at)
{
    unsigned keys = 0;

    cr_assert_eq(*at, '{');
    do {
        at = skip_string(at + 1);
        cr_assert_eq(*at, ':', "%s", line);
        at = skip_value(at + 1);
        keys++;
    } while (*at == ',');
    cr_assert_str_eq(at, "}\n", "%s", line);
    cr_assert_eq(keys, 14, "%s", line);
}

static void expect_words(const char *at)
{
    unsigned spaces = 0;

    for (; *at != '\n'; at++) {
        cr_assert(*at >= ' ' && *at <= '~', "%s", line);
        spaces += *at == ' ';
    }
    cr_assert_eq(spaces, 10, "%s", line);
}

Test(access_line, any_record_makes_a_line)
{
    instance_make(100);
    srandom(1);
    for (int i = 0; i < 100000; i++) {
        struct log_record record;
        for (size_t k = 0; k < sizeof(record); k++) {
            ((uint8_t *)&record)[k] = (uint8_t)random();
        }
        record.source_family = (uint8_t)(random() % 8);
        record.server_row = (uint16_t)(random() % 4);
        expect_json(format(ACCESS_JSON, &record));
        expect_words(format(ACCESS_TEXT, &record));
    }
}

/* Names cannot be so today; the room is there all the same. */
Test(access_line, the_longest_line_fits)
{
    instance_make(100);
    struct log_record record;
    memset(&record, 0xff, sizeof(record));
    record.listener_row = record.pool_row = record.server_row = 0;
    record.source_family = ENDPOINT_V6;
    for (enum name_kind kind = NAME_LISTENER; kind < NAME_KINDS; kind++) {
        struct name_row *row = region_name(&made, kind, 0);
        memset(row->name, 1, sizeof(row->name) - 1);
    }
    expect_json(format(ACCESS_JSON, &record));
    expect_words(format(ACCESS_TEXT, &record));
}
