/*
 * All views of an instance say the same, and what the loads did: status, its twin of the exporter, metrics,
 * the lists of sessions, the access log; with twenty thousand idle sessions, under load, kills and reloads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_http.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_metrics.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { SESSIONS = 20000, WORKERS = 4, DESCRIPTORS = 11000, HELD_S = 60, BUSY_S = 25 };

BED_SUITE(long_views, 600);

static uint16_t exporter_port;

/* --- Views -------------------------------------------------------------------------------------------------- */

struct view {
    uint64_t sessions;
    uint64_t opened; /* sessions ever */
    uint64_t bytes_up;
    uint64_t bytes_down;
};

static void expect_same(const char *what, const struct view *is, const struct view *should)
{
    cr_expect_eq(is->sessions, should->sessions, "%s: %lu sessions, not %lu", what, is->sessions,
                 should->sessions);
    cr_expect_eq(is->opened, should->opened, "%s: %lu ever, not %lu", what, is->opened, should->opened);
    cr_expect_eq(is->bytes_up, should->bytes_up, "%s: %lu up, not %lu", what, is->bytes_up, should->bytes_up);
    cr_expect_eq(is->bytes_down, should->bytes_down, "%s: %lu down, not %lu", what, is->bytes_down,
                 should->bytes_down);
}

static struct view view_of_status(const char *json)
{
    return (struct view){
        .sessions = json_number(json, "sessions"),
        .opened = json_number(json, "stats.accepted"),
        .bytes_up = json_number(json, "client_bytes"),
        .bytes_down = json_number(json, "server_bytes"),
    };
}

/* Of all series of a family. */
static uint64_t metrics_sum(const char *text, const char *family)
{
    const char *begin = bed_format("\n%s{", family);
    double sum = 0;

    for (const char *at = text; (at = strstr(at, begin)) != NULL; at++) {
        const char *end = strstr(at, "} ");
        cr_assert_not_null(end);
        sum += strtod(end + 2, NULL);
    }
    return (uint64_t)sum;
}

static struct view view_of_metrics(const char *text)
{
    return (struct view){
        .sessions = metrics_sum(text, "penstock_sessions"),
        .opened = (uint64_t)metrics_value(text, "penstock_accepted_total"),
        .bytes_up = (uint64_t)metrics_value(text, "penstock_received_bytes_total{side=\"client\"}"),
        .bytes_down = (uint64_t)metrics_value(text, "penstock_received_bytes_total{side=\"server\"}"),
    };
}

/* A number of one line of a list of sessions. */
static uint64_t number_in(const char *line, const char *key)
{
    const char *at = strstr(line, bed_format(",\"%s\":", key));

    cr_assert_not_null(at, "%s", line);
    return strtoull(strchr(at, ':') + 1, NULL, 10);
}

struct list {
    struct view view;          /* of those that live, which are all it knows */
    uint64_t least_bytes_down; /* of one session */
};

/* Removes the file. */
static struct list read_list(const char *path)
{
    struct list list = {.least_bytes_down = UINT64_MAX};
    size_t texts = bed_mark();
    char line[4096];
    FILE *file = fopen(path, "re");

    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "{\"worker\":", 10) == 0) {
            uint64_t down = number_in(line, "server_bytes");
            list.view.sessions++;
            list.view.bytes_up += number_in(line, "client_bytes");
            list.view.bytes_down += down;
            list.least_bytes_down = down < list.least_bytes_down ? down : list.least_bytes_down;
            bed_release(texts);
        }
    }
    fclose(file);
    (void)unlink(path);
    return list;
}

static struct view view_of_log(void)
{
    struct view view = {0};
    FILE *file = fopen(bed_path("access.log"), "re");
    unsigned long up, down;

    cr_assert_not_null(file);
    while (fscanf(file, "%*s %*s %*s %*s %*s %lu %lu%*[^\n]", &up, &down) == 2) {
        view.opened++;
        view.bytes_up += up;
        view.bytes_down += down;
    }
    fclose(file);
    return view;
}

/* The output of `penstock COMMAND --json`, a file. */
static const char *output_of(const char *command, const char *option, const char *value)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), command, "-n", bed.name, "--json", option, value, NULL};

    cr_assert_eq(bed_run(argv, &process), 0, "%s", bed_read_file(process.err));
    (void)unlink(process.err);
    return process.out;
}

static struct list list_of_command(void)
{
    return read_list(output_of("sessions", NULL, NULL));
}

/* What the exporter answers, a file. */
static const char *answer_to(const char *path)
{
    static const char good[] = "HTTP/1.1 200 OK\r\n";
    char bytes[65536];
    FILE *file = fopen(bed_path("list"), "we");
    int fd = net_connect(exporter_port);
    ssize_t got;

    cr_assert_not_null(file);
    net_write_text(fd, bed_format("GET %s HTTP/1.0\r\n\r\n", path));
    net_read_text(fd, good);
    while ((got = read(fd, bytes, sizeof(bytes))) > 0) {
        fwrite(bytes, 1, (size_t)got, file);
    }
    close(fd);
    cr_assert_eq(fclose(file), 0);
    return bed_path("list");
}

static struct list list_of_exporter(void)
{
    return read_list(answer_to("/api/sessions"));
}

/* Lines of a list of flow entries. Removes the file. */
static uint64_t count_flows(const char *path)
{
    uint64_t count = 0;
    char line[4096];
    FILE *file = fopen(path, "re");

    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        count += strncmp(line, "{\"state\":\"active\"", 17) == 0;
    }
    fclose(file);
    (void)unlink(path);
    return count;
}

static void expect_list(const char *what, struct list list, const struct view *should, const char *status)
{
    list.view.opened = should->opened;
    list.view.bytes_up += json_number(status, "stats.client_bytes");
    list.view.bytes_down += json_number(status, "stats.server_bytes");
    expect_same(what, &list.view, should);
}

/* While nothing moves. */
static void expect_all_views(const struct view *should)
{
    const char *status = penstock_status();
    const char *metrics = http_body(exporter_port, "/metrics");
    struct view of_status = view_of_status(status);
    struct view of_api = view_of_status(http_body(exporter_port, "/api/status"));
    struct view of_metrics = view_of_metrics(metrics);

    expect_same("status", &of_status, should);
    expect_same("/api/status", &of_api, should);
    expect_same("/metrics", &of_metrics, should);
    expect_list("sessions", list_of_command(), should, status);
    expect_list("/api/sessions", list_of_exporter(), should, status);
    cr_expect_eq(metrics_sum(metrics, "penstock_worker_sessions"), should->sessions);
    cr_expect_eq(metrics_sum(metrics, "penstock_server_sessions"), should->sessions);
    cr_expect_eq(metrics_sum(metrics, "penstock_listener_sessions"), should->sessions);
    cr_expect_eq(metrics_sum(metrics, "penstock_server_connects_total"), should->opened);
    cr_expect_eq(metrics_sum(metrics, "penstock_sessions_closed_total"), should->opened - should->sessions);
    uint64_t flows = (uint64_t)metrics_value(metrics, "penstock_flow_entries{state=\"active\"}");
    cr_expect_leq(flows, 2 * should->sessions);
    cr_expect_geq(flows + (uint64_t)metrics_value(metrics, "penstock_flow_failures_total"),
                  2 * should->sessions);
    cr_expect_eq(count_flows(output_of("flows", "--state", "active")), flows);
    cr_expect_eq(count_flows(answer_to("/api/flows?state=active")), flows);
}

/* While everything moves: nobody misses a session that is there, and no counter falls. */
static void expect_no_view_behind(struct view *before)
{
    size_t texts = bed_mark();
    const char *metrics = http_body(exporter_port, "/metrics");
    struct view now = view_of_metrics(metrics);

    cr_expect_gt(metrics_parse(metrics, false), 60);
    cr_expect_geq(now.sessions, SESSIONS);
    cr_expect_geq(now.opened, before->opened);
    cr_expect_geq(now.bytes_up, before->bytes_up);
    cr_expect_geq(now.bytes_down, before->bytes_down);
    cr_expect_geq(list_of_command().view.sessions, SESSIONS);
    cr_expect_geq(list_of_exporter().view.sessions, SESSIONS);
    cr_expect_geq(json_number(penstock_status(), "sessions"), SESSIONS);
    *before = now;
    bed_release(texts);
}

/* ------------------------------------------------------------------------------------------------------------ */

static struct penstock_config config_of_turn(const struct origin *origins, unsigned turn)
{
    return (struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u", origins[0].port, origins[1].port),
        .limits = "sessions: 22000, buffers: 64MiB",
        .timeouts = bed_format("connect: %us", 5 + turn % 2),
        .workers = WORKERS,
        .more = bed_format("exporter: { listen: 127.0.0.1:%u }\n", exporter_port),
    };
}

static void reload(const struct origin *origins, unsigned turn)
{
    size_t texts = bed_mark();
    struct penstock_config config = config_of_turn(origins, turn);

    penstock_reload_with(&config);
    bed_release(texts);
}

/* Kills and reloads until the load is through; returns how many reloads. */
static unsigned disturb(struct killer *killer, const struct origin *origins, const struct bed_process *load)
{
    struct view seen = {0};
    unsigned turn = 0;

    while (strchr(bed_read_file(load->out), '}') == NULL) {
        killer_run(killer, 1, 50, 500, 0);
        reload(origins, ++turn);
        expect_no_view_behind(&seen);
    }
    return turn;
}

static void require_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < DESCRIPTORS) {
        cr_skip("needs %d descriptors a process", DESCRIPTORS);
    }
}

/* Each has had the same exchange. */
static bool all_are_touched(void)
{
    struct list list = list_of_command();

    return list.least_bytes_down > 0 && list.view.bytes_down == list.least_bytes_down * SESSIONS;
}

static void hold_idle(struct bed_process loads[2])
{
    for (int i = 0; i < 2; i++) {
        loads[i] = load_start(bed_format("idle --connections %d --touch --verify --seconds %d "
                                         "--source-range 127.0.0.%d-127.0.0.%d",
                                         SESSIONS / 2, HELD_S, 10 + 10 * i, 13 + 10 * i));
    }
    WAIT_UNTIL(penstock_number("phases.open") == SESSIONS);
    WAIT_UNTIL(all_are_touched());
}

Test(long_views, agree_with_the_loads)
{
    struct origin origins[2];
    struct bed_process idle[2];
    struct load_totals totals = {0};
    struct killer killer;

    require_descriptors();
    origins[0] = origin_start("auto");
    origins[1] = origin_start("auto");
    exporter_port = bed_reserve_port("127.0.0.1");
    struct penstock_config config = config_of_turn(origins, 0);
    penstock_start(&config);
    killer_begin(&killer, WORKERS);

    hold_idle(idle);
    struct view view = view_of_status(penstock_status());
    cr_assert_eq(view.opened, SESSIONS);
    expect_all_views(&view);

    struct bed_process streams =
        load_start(bed_format("streams --connections 200 --seconds %d --max-bytes 4M --slow-readers 10 "
                              "--late-fin 10",
                              BUSY_S));
    unsigned reloads = disturb(&killer, origins, &streams);
    load_totals_add(&totals, load_finish(&streams));
    WAIT_UNTIL(penstock_number("sessions") == SESSIONS);
    view.opened += totals.opened;
    view.bytes_up += totals.bytes_up;
    view.bytes_down += totals.bytes_down;
    expect_all_views(&view);

    for (int i = 0; i < 2; i++) {
        load_totals_add(&totals, load_finish(&idle[i]));
    }
    load_totals_expect(&totals);
    view =
        (struct view){.opened = totals.opened, .bytes_up = totals.bytes_up, .bytes_down = totals.bytes_down};
    expect_all_views(&view);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) + penstock_number("stats.log_dropped") ==
               totals.opened);
    if (penstock_number("stats.log_dropped") == 0) {
        struct view of_log = view_of_log();
        expect_same("access log", &of_log, &view);
    }
    cr_expect_eq(penstock_number("generation"), 1 + reloads);
    killer_expect_all_back(&killer);
    fprintf(stderr, "long_views: %u reloads, %u kills, %lu sessions\n", reloads, killer.kills,
            (unsigned long)totals.opened);
    bed_end();
}
