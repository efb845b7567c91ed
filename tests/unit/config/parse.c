#include "tests/unit/config/parse.h"

static const struct config_options options = {.cpus = 4};
static struct config_report report;

const char *parse_report_text(const struct config_report *from)
{
    static char text[CONFIG_REPORT_MAX * CONFIG_LINE_MAX];
    char line[CONFIG_LINE_MAX];
    size_t length = 0, prefix = strlen(from->file) + 1;

    text[0] = '\0';
    for (uint32_t i = 0; i < from->count; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%s\n",
                                   config_report_line(from, i, line, sizeof(line)) + prefix);
    return text;
}

struct image *parse_accept(const char *text)
{
    struct image *image;
    int result = config_parse_memory("t", text, strlen(text), &options, &report, &image, NULL);

    cr_assert_eq(result, 0, "%s%s", text, parse_report_text(&report));
    cr_assert_eq(report.count, 0);
    cr_assert(image_check(image, image->size));
    return image;
}

void parse_refuse_all(const struct parse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = cases[i].text;
        struct image *image;

        cr_expect_eq(config_parse_memory("t", text, strlen(text), &options, &report, &image, NULL), -1, "%s",
                     text);
        cr_expect_null(image);
        cr_expect_str_eq(parse_report_text(&report), cases[i].report, "%s\n-- is\n%s-- not\n%s", text,
                         parse_report_text(&report), cases[i].report);
    }
}
