/* Mistakes below the keys: characters, YAML itself, what of YAML is not for a configuration, bounds. */
#include "tests/unit/config/parse.h"

TestSuite(config_yaml);

#define HINT \
    "; check indentation, brackets and quotes, and put texts with special characters in quotes, as in \"[::]:80\"\n"
#define EMPTY "1:1: the configuration is empty; it needs at least name, listeners and pools\n"

Test(config_yaml, empty)
{
    static const struct parse_case cases[] = {
        {"", EMPTY}, {"\n\n", EMPTY}, {"# nothing\n", EMPTY}, {"---\n", EMPTY}, {"\xef\xbb\xbf", EMPTY},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_yaml, characters)
{
    static const struct parse_case cases[] = {
        {"name: test\nuser: n\xffx\n", "2:8: byte 0xff is not UTF-8; save the file as UTF-8\n"},
        {"a: \xc3\xa9\xc3\n", "1:5: byte 0xc3 is not UTF-8; save the file as UTF-8\n"},
        {"a: \xc0\x80\n", "1:4: byte 0xc0 is not UTF-8; save the file as UTF-8\n"},
        {"a: \xed\xa0\x80\n", "1:4: byte 0xed is not UTF-8; save the file as UTF-8\n"},
        {"a: \xf4\x90\x80\x80\n", "1:4: byte 0xf4 is not UTF-8; save the file as UTF-8\n"},
        {"a: \xe2\x82", "1:4: byte 0xe2 is not UTF-8; save the file as UTF-8\n"},
        {"a: \xf0\x9f\x98\x80\x80\n", "1:5: byte 0x80 is not UTF-8; save the file as UTF-8\n"},
        {"\r\n\r# \x1b\n", "3:3: character U+001B is not allowed; remove it\n"},
        {"a\x7f\n", "1:2: character U+007F is not allowed; remove it\n"},
        {"a\xc2\x85\n", "1:2: character U+0085 is not allowed; remove it\n"},
        {"a\xe2\x80\xa8\n", "1:2: character U+2028 is not allowed; remove it\n"},
        {"a\xef\xbb\xbf\n", "1:2: character U+FEFF is not allowed; remove it\n"},
        {"a\xef\xbf\xbf\n", "1:2: character U+FFFF is not allowed; remove it\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_yaml, nul_bytes)
{
    static struct config_report report;
    struct config_options options = {.cpus = 1};
    struct image *image;

    cr_expect_eq(config_parse_memory("t", "a: b\0c\n", 7, &options, &report, &image, NULL), -1);
    cr_expect_str_eq(parse_report_text(&report), "1:5: character U+0000 is not allowed; remove it\n");
    cr_expect_eq(config_parse_memory("t", "a: b\xe2\x82\xac", 6, &options, &report, &image, NULL), -1);
    cr_expect_str_eq(parse_report_text(&report), "1:5: byte 0xe2 is not UTF-8; save the file as UTF-8\n");
}

Test(config_yaml, syntax)
{
    static const struct parse_case cases[] = {
        {"a:\n\tb: 1\n", "2:1: a tab is not allowed here; indent with spaces\n"},
        {"\xc3\xa9:\n\tb: 1\n", "2:1: a tab is not allowed here; indent with spaces\n"},
        {"a: @x\n", "1:4: not YAML: found character that cannot start any token while scanning for the next "
                    "token (from line 1 on)" HINT},
        {"a: \"b\n",
         "2:1: not YAML: found unexpected end of stream while scanning a quoted scalar (from line 1 "
         "on)" HINT},
        {"a: b: c\n", "1:5: not YAML: mapping values are not allowed in this context" HINT},
        {"bind: [::]:80\n",
         "1:8: not YAML: did not find expected node content while parsing a flow node (from "
         "line 1 on)" HINT},
        {"a: [ b\n",
         "2:1: not YAML: did not find expected ',' or ']' while parsing a flow sequence (from line 1 "
         "on)" HINT},
        {"a: 1\n  b: 2\n", "2:4: not YAML: mapping values are not allowed in this context" HINT},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_yaml, what_is_not_for_a_configuration)
{
    static const struct parse_case cases[] = {
        {PARSE_REST "user: &x nobody\n",
         "4:7: anchor '&x' is not supported; write the value out at each place\n"},
        {PARSE_REST "user: *x\n", "4:7: alias '*x' is not supported; write the value out\n"},
        {PARSE_REST "*x : nobody\n", "4:1: alias '*x' is not supported; write the value out\n"},
        {PARSE_REST "limits: *x\n", "4:9: alias '*x' is not supported; write the value out\n"},
        {PARSE_REST "workers: *x\n", "4:10: alias '*x' is not supported; write the value out\n"},
        {PARSE_REST "workers: !!int 3\n", "4:10: tag 'tag:yaml.org,2002:int' is not supported; remove it\n"},
        {PARSE_REST "workers: ! 3\n", "4:10: tag '!' is not supported; remove it\n"},
        {PARSE_REST "limits: !x {}\n", "4:9: tag '!x' is not supported; remove it\n"},
        {"name: test\n" PARSE_POOLS "listeners: &x [ *x ]\n",
         "3:12: anchor '&x' is not supported; write the value out at each place\n"
         "3:17: alias '*x' is not supported; write the value out\n"},
        {PARSE_REST "---\n" PARSE_REST, "4:1: a second document begins; a configuration is one document\n"},
        {PARSE_REST "...\n---\n", "5:1: a second document begins; a configuration is one document\n"},
        {PARSE_REST "? [a]\n: b\n", "4:3: a key must be one word; write for example 'name: web'\n"},
        {PARSE_REST "? {a: b}\n: b\n", "4:3: a key must be one word; write for example 'name: web'\n"},
        {PARSE_REST "user: \"a\\0b\"\n", "4:7: a text must not contain a NUL character; remove it\n"},
        {PARSE_REST "\"user\\0\": b\n", "4:1: a text must not contain a NUL character; remove it\n"},
        {PARSE_REST "user: \"a\\nb\"\n",
         "4:7: user: 'a?b' is not a name; write letters, digits and any of '_.-' only\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

/* A text of `count` times `piece`. */
static char *text_repeat(const char *piece, size_t count)
{
    size_t length = strlen(piece);
    char *text = malloc(length * count + 1);

    for (size_t i = 0; i < count; i++)
        memcpy(text + i * length, piece, length);
    text[length * count] = '\0';
    return text;
}

Test(config_yaml, bounds)
{
    static const struct {
        const char *piece;
        size_t count;
        const char *report;
    } cases[] = {
        {"[", 10000, "1:17: nested deeper than 16 levels; a configuration needs five\n"},
        {"{a: ", 10000, "1:65: nested deeper than 16 levels; a configuration needs five\n"},
        {"- ", 500000, "1:33: nested deeper than 16 levels; a configuration needs five\n"},
        {"- a\n", 100000, "32768:3: more than 32768 values; a configuration has far fewer\n"},
        {"#", 1024 * 1024, EMPTY},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = text_repeat(cases[i].piece, cases[i].count);

        parse_refuse_all(&(struct parse_case){text, cases[i].report}, 1);
        free(text);
    }
}

Test(config_yaml, longer_than_a_mebibyte)
{
    char *text = text_repeat("#", 1024 * 1024 + 1);
    static struct config_report report;
    struct config_options options = {.cpus = 1};
    struct image *image;

    cr_expect_eq(config_parse_memory("t", text, strlen(text), &options, &report, &image, NULL), -1);
    cr_expect_str_eq(parse_report_text(&report), " is larger than 1 MiB; a configuration is far smaller\n");
    free(text);
}

Test(config_yaml, fifty_mistakes_then_a_count)
{
    char *text = text_repeat("x: 1\n", 60);
    static struct config_report report;
    struct config_options options = {.cpus = 1};
    struct image *image;

    cr_expect_eq(config_parse_memory("t", text, strlen(text), &options, &report, &image, NULL), -1);
    cr_expect_eq(report.count, 50);
    cr_expect_eq(report.more, 13, "the three missing keys stand at the first line");
    free(text);
}
