/* The list of mistakes: order, bound, what is safe to print. */
#include "config/report.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(config_report);

static struct config_report report;

static void add(uint32_t line, uint32_t column, const char *message)
{
    config_report_add(&report, (struct config_place){line, column}, "%s", message);
}

Test(config_report, keeps_the_order_of_the_file)
{
    char line[CONFIG_LINE_MAX];

    config_report_init(&report, "a.yaml");
    add(3, 1, "third");
    add(1, 9, "second");
    add(1, 2, "first");
    add(3, 1, "fourth, of the same place");
    add(0, 0, "the whole file");
    cr_assert_eq(report.count, 5);
    cr_expect_str_eq(config_report_line(&report, 0, line, sizeof(line)), "a.yaml: the whole file");
    cr_expect_str_eq(config_report_line(&report, 1, line, sizeof(line)), "a.yaml:1:2: first");
    cr_expect_str_eq(config_report_line(&report, 2, line, sizeof(line)), "a.yaml:1:9: second");
    cr_expect_str_eq(config_report_line(&report, 3, line, sizeof(line)), "a.yaml:3:1: third");
    cr_expect_str_eq(config_report_line(&report, 4, line, sizeof(line)),
                     "a.yaml:3:1: fourth, of the same place");
}

Test(config_report, keeps_the_first_of_the_file_and_counts_the_rest)
{
    char *printed = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&printed, &size);

    config_report_init(&report, "a.yaml");
    for (uint32_t line = CONFIG_REPORT_MAX + 10; line > 0; line--)
        add(line, 1, "x");
    cr_expect_eq(report.count, CONFIG_REPORT_MAX);
    cr_expect_eq(report.more, 10);
    cr_expect_eq(report.mistakes[0].place.line, 1);
    cr_expect_eq(report.mistakes[CONFIG_REPORT_MAX - 1].place.line, CONFIG_REPORT_MAX);
    config_report_print(&report, out);
    fclose(out);
    cr_expect(strstr(printed, "a.yaml:1:1: x\na.yaml:2:1: x\n") == printed);
    cr_expect_str_eq(printed + size - strlen("a.yaml: and 10 more\n"), "a.yaml: and 10 more\n");
    free(printed);
}

Test(config_report, prints_no_control_characters)
{
    config_report_init(&report, "a.yaml");
    add(1, 1,
        "a\x1b[2Jb\nc\x7f"
        "d\xc2\x9b"
        "e\xc3\xa9");
    cr_expect_str_eq(report.mistakes[0].message, "a?[2Jb?c?d??e\xc3\xa9");
}

Test(config_report, cuts_what_is_too_long)
{
    char message[2 * CONFIG_MESSAGE_MAX];

    memset(message, 'x', sizeof(message) - 1);
    message[sizeof(message) - 1] = '\0';
    config_report_init(&report, message);
    add(1, 1, message);
    cr_expect_eq(strlen(report.mistakes[0].message), CONFIG_MESSAGE_MAX - 1);
    cr_expect_eq(strlen(report.file), CONFIG_FILE_MAX - 1);
}

Test(config_report, quotes_end_at_a_character)
{
    char quote[CONFIG_QUOTE_MAX], text[200];

    cr_expect_str_eq(config_quote(quote, "short"), "short");
    memset(text, 'x', 63);
    text[63] = '\0';
    cr_expect_str_eq(config_quote(quote, text), text);
    memset(text, 'x', 59);
    memcpy(text + 59, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", 9);
    cr_expect_eq(strlen(config_quote(quote, text)), 59 + 3);
    cr_expect_str_eq(quote + 58, "x...");
}
