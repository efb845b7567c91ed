/* What is delivered for Prometheus and Grafana is valid and speaks of nothing but what the exporter says. */
#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_http.h"
#include "tests/e2e/harness_penstock.h"

#define RULES     "config/dist/prometheus/rules.yaml"
#define SCRAPE    "config/dist/prometheus/prometheus.yaml"
#define DASHBOARD "config/dist/grafana/penstock.json"
#define PROMTOOL  "/usr/bin/promtool"
#define JQ        "/usr/bin/jq"

BED_SUITE(dist, 60);

static void require(const char *program)
{
    if (access(program, X_OK) != 0) {
        cr_skip("there is no %s", program);
    }
}

/* Its standard output; it must succeed. */
static const char *run(const char *const *argv)
{
    struct bed_process process;
    int result = bed_run(argv, &process);
    const char *out = bed_read_file(process.out);

    cr_assert_eq(result, 0, "%s: %s%s", argv[0], out, bed_read_file(process.err));
    return out;
}

static const char *metrics_of_an_instance(void)
{
    uint16_t port = bed_reserve_port("127.0.0.1");

    penstock_start(&(struct penstock_config){
        .servers = "127.0.0.1:9",
        .more = bed_format("exporter: { listen: 127.0.0.1:%u }\n", port),
    });
    return http_body(port, "/metrics");
}

/* Whether a sample is called so. */
static bool is_exported(const char *metrics, const char *name, size_t length)
{
    for (const char *at = metrics; (at = strstr(at, name)) != NULL; at += length) {
        if (at[-1] == '\n' && (at[length] == '{' || at[length] == ' ')) {
            return true;
        }
    }
    return false;
}

/* Returns how many names there are. */
static unsigned expect_names_exported(const char *path, const char *metrics)
{
    const char *at = bed_read_file(path);
    unsigned count = 0;

    while ((at = strstr(at, "penstock_")) != NULL) {
        size_t length = 0;
        while (isalnum((unsigned char)at[length]) || at[length] == '_') {
            length++;
        }
        const char *name = bed_format("%.*s", (int)length, at);
        cr_expect(is_exported(metrics, name, length), "%s: the exporter has no %s", path, name);
        at += length;
        count++;
    }
    return count;
}

Test(dist, uses_only_metrics_that_exist)
{
    const char *metrics = metrics_of_an_instance();

    cr_expect_gt(expect_names_exported(RULES, metrics), 20);
    cr_expect_gt(expect_names_exported(DASHBOARD, metrics), 40);
    bed_end();
}

Test(dist, promtool_finds_nothing_wrong_with_the_metrics)
{
    require(PROMTOOL);
    bed_write_file(bed_path("metrics"), metrics_of_an_instance());
    const char *argv[] = {"/bin/sh", "-c", bed_format(PROMTOOL " check metrics < %s", bed_path("metrics")),
                          NULL};
    cr_expect_str_eq(run(argv), "");
    bed_end();
}

Test(dist, alerts_come_when_they_should)
{
    require(PROMTOOL);
    const char *check[] = {PROMTOOL, "check", "config", SCRAPE, NULL}; /* which names the rules */
    cr_expect_not_null(strstr(run(check), "rules found"));
    const char *test[] = {PROMTOOL, "test", "rules", "tests/e2e/alerts.yaml", NULL};
    (void)run(test);
    bed_end();
}

/* Panels have numbers and places of their own, each asks the chosen data source. */
#define DASHBOARD_IS_WHOLE                                                                   \
    ".schemaVersion >= 36 and .uid == \"penstock\" and .id == null"                          \
    " and ([.panels[].id] | length == (unique | length))"                                    \
    " and all(.panels[] | .gridPos; .x >= 0 and .w > 0 and .h > 0 and .x + .w <= 24)"        \
    " and ([.panels[] | .gridPos as $p | range($p.x; $p.x + $p.w) as $x"                     \
    "       | range($p.y; $p.y + $p.h) as $y | [$x, $y]] | length == (unique | length))"     \
    " and all(.panels[] | select(.type != \"row\"); .targets | length > 0)"                  \
    " and all(.panels[].targets[]?; .datasource.uid == \"${datasource}\" and .expr != \"\")" \
    " and all(.panels[] | select(.targets); [.targets[].refId] | length == (unique | length))"

/* Its queries, as recording rules: promtool reads them as Prometheus would. */
#define QUERIES_AS_RULES                                                                                 \
    "{groups: [{name: \"dashboard\", rules: [[.. | .expr? // empty | gsub(\"\\\\$__(rate_)?interval\"; " \
    "\"5m\") | gsub(\"\\\\$__range\"; \"1h\")] | to_entries[] | {record: \"query:n\\(.key)\", expr: "    \
    ".value}]}]}"

Test(dist, the_dashboard_is_whole_and_its_queries_are_valid)
{
    require(JQ);
    require(PROMTOOL);
    const char *whole[] = {JQ, "-e", DASHBOARD_IS_WHOLE, DASHBOARD, NULL};
    cr_expect_str_eq(run(whole), "true\n");
    const char *queries[] = {JQ, QUERIES_AS_RULES, DASHBOARD, NULL};
    bed_write_file(bed_path("queries.yaml"), run(queries)); /* JSON is YAML */
    const char *check[] = {PROMTOOL, "check", "rules", bed_path("queries.yaml"), NULL};
    cr_expect_null(strstr(run(check), " 0 rules found"));
    bed_end();
}
