/* Reading from files: those that come with Penstock, and what cannot be read. */
#include "tests/unit/config/parse.h"

#include <unistd.h>

TestSuite(config_load);

static const struct config_options options = {.cpus = 4};
static struct config_report report;

/* The tests run at the top of the repository. */
static struct image *shipped_load(const char *path)
{
    struct image *image;

    cr_assert_eq(config_load(path, &options, &report, &image, NULL), 0, "%s", parse_report_text(&report));
    cr_expect(image_check(image, image->size));
    return image;
}

Test(config_load, the_demo)
{
    struct image *image = shipped_load("config/demo.yaml");

    cr_expect_str_eq(image->name, "demo");
    cr_expect_eq(image->workers, 2);
    cr_expect_eq(image->sessions_limit, 8000);
    cr_expect_str_eq(image->access_path, "off");
    cr_expect_eq(image->bind_count, 2);
    cr_expect_eq(image->server_count, 2);
    free(image);
}

Test(config_load, the_commented_example)
{
    free(shipped_load("config/penstock.yaml"));
}

Test(config_load, a_pipe)
{
    char path[32];
    int ends[2];
    struct image *image;

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], PARSE_REST, strlen(PARSE_REST)), (ssize_t)strlen(PARSE_REST));
    close(ends[1]);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    cr_expect_eq(config_load(path, &options, &report, &image, NULL), 0);
    free(image);
    close(ends[0]);
}

Test(config_load, what_cannot_be_read)
{
    static const struct {
        const char *path, *line;
    } cases[] = {
        {"/nonexistent/a.yaml", "/nonexistent/a.yaml: cannot be read: No such file or directory"},
        {"/proc", "/proc: cannot be read: Is a directory"},
        {"/dev/null",
         "/dev/null:1:1: the configuration is empty; it needs at least name, listeners and pools"},
        {"/dev/zero", "/dev/zero: is larger than 1 MiB; a configuration is far smaller"},
    };
    char line[CONFIG_LINE_MAX];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image *image;

        cr_expect_eq(config_load(cases[i].path, &options, &report, &image, NULL), -1);
        cr_expect_null(image);
        cr_assert_eq(report.count, 1);
        cr_expect_str_eq(config_report_line(&report, 0, line, sizeof(line)), cases[i].line);
    }
}
