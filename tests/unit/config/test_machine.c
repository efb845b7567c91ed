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

/* What suffices exactly: 8000 * 2 / 4 + 320 descriptors, 4 * 2 * 1.4 MiB of rings, 64 MiB, and 8000 sessions
 * of 256 bytes with 26,666 flow entries of 65. */
static const struct machine_facts enough = {
    .nofile_limit = 4320,
    .memlock_bytes = 4 * 2 * 1468006,
    .memory_bytes = (64 << 20) + 8000 * 256 + 26666 * 65,
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
         "2:21: limits.sessions: 8000 sessions on 4 workers need 4320 descriptors a worker, but 1024 are "
         "allowed; raise LimitNOFILE (ulimit -Hn) to 4320 or write at most 1408 sessions\n"},
        {&files_none,
         "2:21: limits.sessions: 8000 sessions on 4 workers need 4320 descriptors a worker, but 64 are "
         "allowed; raise LimitNOFILE (ulimit -Hn) to 4320\n"},
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

Test(config_machine, more_sessions_than_the_workers_can_serve)
{
    struct image *image = image_make(CONFIGURATION);
    struct machine_facts facts = {
        .nofile_limit = UINT64_MAX, .memlock_bytes = UINT64_MAX, .memory_bytes = UINT64_MAX};

    image->sessions_limit = 4 * IMAGE_WORKER_SESSIONS_MAX;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), 0);
    image->sessions_limit++;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), -1);
    cr_expect_str_eq(parse_report_text(&report),
                     "2:21: limits.sessions: a worker serves at most 14336 sessions, 4 "
                     "workers 57344; write at most that, or more workers\n");
    free(image);
}

Test(config_machine, more_flows_than_there_is_memory)
{
    struct image *image =
        image_make("name: test\nlimits: { sessions: 100, flows: 2000000, buffers: 64MiB }\n" PARSE_LISTENERS
                       PARSE_POOLS);
    struct machine_facts facts = enough;

    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), -1);
    cr_expect_str_eq(
        parse_report_text(&report),
        "2:33: limits.flows: 2000000 take 124 MiB, but there are 67 MiB of memory; write fewer\n");
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
        " limits.sessions: 8000 sessions on 4 workers need 4320 descriptors a worker, but 384 are allowed; "
        "raise LimitNOFILE (ulimit -Hn) to 4320 or write at most 128 sessions\n");
    free(image);
}

Test(config_machine, socket_buffers_beyond_the_kernels)
{
    struct image *image = image_make(
        "name: test\nlisteners:\n  - { name: web, bind: 127.0.0.1:80, routes: [ { pool: app } ],\n"
        "      receive_buffer: 208KiB, send_buffer: 65KiB }\n"
        "pools:\n  - { name: app, servers: [ 127.0.0.1:9001 ],\n      receive_buffer: 1GiB, send_buffer: 64KiB }\n");
    struct machine_facts facts = enough;

    facts.memory_bytes = UINT64_MAX;
    facts.receive_buffer_bytes = 208 << 10;
    facts.send_buffer_bytes = 64 << 10;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), -1);
    cr_expect_str_eq(
        parse_report_text(&report),
        "4:44: listeners[0].send_buffer: the kernel gives a socket at most 65536 bytes (net.core.wmem_max); raise "
        "that or write at most 64KiB\n"
        "7:23: pools[0].receive_buffer: the kernel gives a socket at most 212992 bytes (net.core.rmem_max); raise "
        "that or write at most 208KiB\n");
    free(image);
}

#define CONGESTIONS                                                              \
    "name: test\n"                                                               \
    "listeners: [ { name: web, bind: 127.0.0.1:80, routes: [ { pool: app } ],\n" \
    "  congestion: %s } ]\n"                                                     \
    "pools: [ { name: app, servers: [ 127.0.0.1:9001 ],\n"                       \
    "  congestion: %s } ]\n%s"

static void congestion_expect(const char *listener, const char *pool, const char *user, bool is_net_admin,
                              const char *expected)
{
    struct machine_facts facts = enough;
    char text[512];

    snprintf(text, sizeof(text), CONGESTIONS, listener, pool, user);
    struct image *image = image_make(text);

    facts.memory_bytes = UINT64_MAX;
    facts.is_root = is_net_admin;
    facts.is_net_admin = is_net_admin;
    strcpy(facts.congestion_available, "reno bbr cubic\n");
    strcpy(facts.congestion_allowed, "reno bbr\n");
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), expected[0] ? -1 : 0, "%s", text);
    cr_expect_str_eq(parse_report_text(&report), expected);
    free(image);
}

Test(config_machine, congestion_controls_are_there_and_allowed_to_whom_sets_them)
{
    congestion_expect("reno", "bbr", "", false, "");
    congestion_expect("cubic", "bbr", "", true, ""); /* the supervisor's privilege is enough for a listener */
    congestion_expect("cubic", "cubic", "", true, "");
    congestion_expect(
        "cubic", "cubic", "user: nobody\n", true,
        "5:15: pools[0].congestion: 'cubic' is not allowed without CAP_NET_ADMIN, which workers do "
        "not have; add it to net.ipv4.tcp_allowed_congestion_control or write one of: reno bbr\n");
    congestion_expect(
        "cubic", "reno", "", false,
        "3:15: listeners[0].congestion: 'cubic' is not allowed without CAP_NET_ADMIN, which is "
        "missing; add it to net.ipv4.tcp_allowed_congestion_control or write one of: reno bbr\n");
    congestion_expect(
        "cubi", "bbr2", "", true,
        "3:15: listeners[0].congestion: 'cubi' is not available; load its module (modprobe tcp_cubi) "
        "or write one of: reno bbr cubic\n"
        "5:15: pools[0].congestion: 'bbr2' is not available; load its module (modprobe tcp_bbr2) or "
        "write one of: reno bbr cubic\n");
}

Test(config_machine, congestion_controls_of_an_unknown_machine_or_one_with_many)
{
    struct machine_facts facts = enough;
    char text[512];

    snprintf(text, sizeof(text), CONGESTIONS, "vegas", "vegas", "");
    struct image *image = image_make(text);

    facts.memory_bytes = UINT64_MAX;
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), 0, "%s",
                 parse_report_text(&report));
    for (int i = 0; i < 20; i++) {
        strcat(facts.congestion_available, i == 0 ? "reno" : " highspeed");
    }
    cr_expect_eq(config_check_machine(image, &positions, &facts, &report), -1);
    cr_expect(strstr(parse_report_text(&report), "write one of: reno highspeed ") != NULL);
    cr_expect(strstr(parse_report_text(&report), " highspeed ...\n") != NULL);
    free(image);
}
