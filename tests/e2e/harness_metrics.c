#include "tests/e2e/harness_metrics.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 2000, FAMILIES_MAX = 200, NAME_BYTES = 128 };

struct parser {
    const char *at;
    bool openmetrics;
    bool counter; /* the family being read */
    bool histogram;
    double bound; /* of the histogram's last bucket */
    double below; /* its value */
    char family[NAME_BYTES];
    char families[FAMILIES_MAX][NAME_BYTES];
    unsigned family_count;
    const char *series[SERIES_MAX];
    size_t lengths[SERIES_MAX];
    unsigned series_count;
};

static void expect_text(struct parser *parser, const char *text)
{
    cr_assert_eq(strncmp(parser->at, text, strlen(text)), 0, "'%s' expected at: %.80s", text, parser->at);
    parser->at += strlen(text);
}

/* [a-z_][a-z0-9_]*: narrower than the formats, as our names are. */
static void take_name(struct parser *parser, char name[NAME_BYTES])
{
    size_t length = strspn(parser->at, "abcdefghijklmnopqrstuvwxyz0123456789_");

    cr_assert(length > 0 && length < NAME_BYTES && !isdigit((unsigned char)*parser->at), "no name: %.80s",
              parser->at);
    memcpy(name, parser->at, length);
    name[length] = '\0';
    parser->at += length;
}

static bool ends_with_total(const char *name)
{
    size_t length = strlen(name);

    return length > 6 && strcmp(name + length - 6, "_total") == 0;
}

static void take_family(struct parser *parser)
{
    char again[NAME_BYTES];

    expect_text(parser, "# HELP ");
    take_name(parser, parser->family);
    cr_assert_eq(strncmp(parser->family, "penstock_", 9), 0, "%s", parser->family);
    for (unsigned i = 0; i < parser->family_count; i++) {
        cr_assert_str_neq(parser->families[i], parser->family, "twice");
    }
    cr_assert_lt(parser->family_count, FAMILIES_MAX);
    strcpy(parser->families[parser->family_count++], parser->family);
    expect_text(parser, " ");
    size_t help = strcspn(parser->at, "\n\\");
    cr_assert(help > 0 && parser->at[help] == '\n', "help of %s", parser->family);
    parser->at += help;
    expect_text(parser, "\n# TYPE ");
    take_name(parser, again);
    cr_assert_str_eq(again, parser->family);
    parser->counter = strncmp(parser->at, " counter", 8) == 0;
    parser->histogram = strncmp(parser->at, " histogram", 10) == 0;
    parser->bound = -1;
    expect_text(parser, parser->counter ? " counter\n" : parser->histogram ? " histogram\n" : " gauge\n");
    cr_assert_eq(ends_with_total(parser->family), parser->counter && !parser->openmetrics, "%s",
                 parser->family);
}

static void take_labels(struct parser *parser)
{
    char name[NAME_BYTES];

    do {
        parser->at++; /* { or , */
        take_name(parser, name);
        expect_text(parser, "=\"");
        while (*parser->at != '"') {
            cr_assert(*parser->at != '\0' && *parser->at != '\n', "%s", parser->family);
            if (*parser->at == '\\') {
                parser->at++;
                cr_assert(strchr("\\\"n", *parser->at) != NULL, "escape in %s", parser->family);
            }
            parser->at++;
        }
        parser->at++;
    } while (*parser->at == ',');
    expect_text(parser, "}");
}

/* Bounds rise, values do not fall, and the count is the last bucket's. */
static void check_histogram(struct parser *parser, const char *start, const char *part, double value)
{
    const char *le = memmem(start, (size_t)(parser->at - start), "le=\"", 4);

    cr_assert_eq(le != NULL, strcmp(part, "_bucket") == 0, "%.80s", start);
    if (le != NULL) {
        double bound = strtod(le + 4, NULL);
        cr_assert_gt(bound, parser->bound, "%.120s", start);
        cr_assert(parser->bound < 0 || value >= parser->below, "%.120s", start);
        parser->bound = bound;
        parser->below = value;
    } else if (strcmp(part, "_count") == 0) {
        cr_assert(isinf(parser->bound) && value == parser->below, "%.120s", start);
        parser->bound = -1;
    } else {
        cr_assert_str_eq(part, "_sum");
    }
}

static void expect_family(const struct parser *parser, const char *name)
{
    size_t length = strlen(parser->family);

    cr_assert_eq(strncmp(name, parser->family, length), 0, "%s in %s", name, parser->family);
    if (!parser->histogram) {
        cr_assert_str_eq(name + length, parser->counter && parser->openmetrics ? "_total" : "");
    }
}

static void take_sample(struct parser *parser)
{
    const char *start = parser->at;
    char name[NAME_BYTES];
    char *end = NULL;

    take_name(parser, name);
    expect_family(parser, name);
    if (*parser->at == '{') {
        take_labels(parser);
    }
    size_t length = (size_t)(parser->at - start);
    for (unsigned i = 0; i < parser->series_count; i++) {
        cr_assert(parser->lengths[i] != length || memcmp(parser->series[i], start, length) != 0,
                  "twice: %.*s", (int)length, start);
    }
    cr_assert_lt(parser->series_count, SERIES_MAX);
    parser->series[parser->series_count] = start;
    parser->lengths[parser->series_count++] = length;
    expect_text(parser, " ");
    cr_assert(isdigit((unsigned char)*parser->at), "value of %.*s", (int)length, start);
    double value = strtod(parser->at, &end);
    if (parser->histogram) {
        check_histogram(parser, start, name + strlen(parser->family), value);
    }
    parser->at = end;
    expect_text(parser, "\n");
}

unsigned metrics_parse(const char *text, bool openmetrics)
{
    static struct parser parser;

    parser = (struct parser){.at = text, .openmetrics = openmetrics};
    while (*parser.at != '\0' && strcmp(parser.at, "# EOF\n") != 0) {
        if (*parser.at == '#') {
            take_family(&parser);
        } else {
            take_sample(&parser);
        }
    }
    cr_assert_str_eq(parser.at, openmetrics ? "# EOF\n" : "");
    return parser.series_count;
}

double metrics_value(const char *text, const char *series)
{
    size_t length = strlen(series);

    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, series, length) == 0 && line[length] == ' ') {
            return strtod(line + length, NULL);
        }
        cr_assert_not_null(strchr(line, '\n'), "a line without end: %s", line);
    }
    cr_assert_fail("no %s in: %s", series, text);
    return 0;
}
