/* Limits against machines of all sizes. */
#include "tests/unit/config/parse.h"

TestSuite(config_machine);

#define CONFIGURATION             \
    "workers: 4\n"                \
    "limits: { sessions: 8000,\n" \
    "  buffers: 64MiB }\n" PARSE_REST

static struct config_report report;
static struct config_positions positions;

static struct image *image_make(const char *text)
{
    struct config_options options = {.cpus = 4};
    struct image *image;

    cr_assert_eq(config_parse_memory("t", text, strlen(text), &options, &report, &image, &positions), 0);
    return image;
}

/* What suffices exactly: 8000 * 2 / 4 + 256 descriptors, 4 * 2 * 1.4 MiB of rings, 64 MiB and 8000 * 448 bytes. */
static const struct machine_facts enough = {
    .nofile_limit = 4256,
    .memlock_bytes = 4 * 2 * 1468006,
    .memory_bytes = (64 << 20) + 8000 * 448,
    .cpus = 4,
};

Test(config_machine, what_suffices_exactly)
{
    struct image *image = image_make(CONFIGURATION);
    struct machine_facts facts = enough;

    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), 0, "%s",
                 parse_report_text(&report));
    facts.free_memory_bytes = facts.memory_bytes;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), 0);
    cr_expect_eq(config_check_machine(image, NULL, &facts, &report), 0);
    cr_expect_eq(report.count, 0);
    free(image);
}

Test(config_machine, no_limits)
{
    struct image *image = image_make(CONFIGURATION);
    struct machine_facts facts = {
        .nofile_limit = UINT64_MAX, .memlock_bytes = UINT64_MAX, .memory_bytes = UINT64_MAX};

    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), 0);
    free(image);
}

Test(config_machine, each_shortage_is_told_at_its_value)
{
    struct machine_facts files = enough, files_none = enough, rings = enough, memory = enough, tiny = enough,
                         busy = enough;
    const struct {
        const struct machine_facts *facts;
        const char *report;
    } cases[] = {
        {&files,
         "2:21: limits.sessions: 8000 sessions on 4 workers need 4256 descriptors a worker, but 1024 are "
         "allowed; raise LimitNOFILE (ulimit -Hn) to 4256 or write at most 1536 sessions\n"},
        {&files_none,
         "2:21: limits.sessions: 8000 sessions on 4 workers need 4256 descriptors a worker, but 64 are "
         "allowed; raise LimitNOFILE (ulimit -Hn) to 4256\n"},
        {&rings,
         "1:10: workers: the rings of 4 workers lock up to 11469 KiB, but 8192 KiB are allowed; raise "
         "LimitMEMLOCK (ulimit -Hl) or write at most 2 workers\n"},
        {&memory,
         "3:12: limits.buffers: 64 MiB and 4 MiB for sessions are more than the 60 MiB of memory; write a "
         "smaller size\n"},
        {&tiny,
         "2:21: limits.sessions: 8000 sessions take 4 MiB, but there are 2 MiB of memory; write fewer\n"},
        {&busy,
         "3:12: limits.buffers: 64 MiB and 4 MiB for sessions are more than the 50 MiB of memory that are free "
         "now; write a smaller size\n"},
    };
    struct image *image = image_make(CONFIGURATION);

    files.nofile_limit = 1024;
    files_none.nofile_limit = 64;
    rings.memlock_bytes = 8 << 20;
    memory.memory_bytes = 60 << 20;
    tiny.memory_bytes = 2 << 20;
    busy.free_memory_bytes = 50 << 20;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        config_report_init(&report, "t");
        cr_expect_eq(config_check_machine(image, &positions, cases[i].facts, &report), -1);
        cr_expect_str_eq(parse_report_text(&report), cases[i].report);
    }
    free(image);
}

Test(config_machine, root_locks_what_it_likes)
{
    struct image *image = image_make(CONFIGURATION);
    struct machine_facts facts = enough;

    facts.memlock_bytes = 0;
    facts.is_root = true;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), 0);
    free(image);
}

Test(config_machine, defaults_have_no_place)
{
    struct image *image = image_make(PARSE_REST);
    struct machine_facts facts = enough;

    facts.nofile_limit = 384;
    facts.memory_bytes = UINT64_MAX;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), -1);
    cr_expect_str_eq(
        parse_report_text(&report),
        " limits.sessions: 8000 sessions on 4 workers need 4256 descriptors a worker, but 384 are allowed; "
        "raise LimitNOFILE (ulimit -Hn) to 4256 or write at most 256 sessions\n");
    free(image);
}
