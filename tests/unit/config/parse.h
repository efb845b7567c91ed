/* What the configuration's tests share: parse a text, compare the whole report. */
#ifndef PENSTOCK_TESTS_UNIT_CONFIG_PARSE_H
#define PENSTOCK_TESTS_UNIT_CONFIG_PARSE_H

#include "config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The rest of a configuration whose first lines are the test's: without listeners and pools there are mistakes. */
#define PARSE_LISTENERS "listeners: [ { name: web, bind: 127.0.0.1:80, routes: [ { pool: app } ] } ]\n"
#define PARSE_POOLS     "pools: [ { name: app, servers: [ 127.0.0.1:9001 ] } ]\n"
#define PARSE_REST      "name: test\n" PARSE_LISTENERS PARSE_POOLS

struct parse_case {
    const char *text;
    const char *report; /* all lines without the file's name and colon, each with its end */
};

/* Parses and returns the image, for the caller to free; fails the test where there is none. */
struct image *parse_accept(const char *text);

/* Each case must be refused with exactly its report. */
void parse_refuse_all(const struct parse_case *cases, size_t count);

/* The report as parse_case has it. Overwritten by the next call. */
const char *parse_report_text(const struct config_report *from);

#define PARSE_REFUSE_ALL(cases) parse_refuse_all((cases), sizeof(cases) / sizeof((cases)[0]))

#endif
