#include "tests/e2e/harness_tools.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_penstock.h"

enum { ARGUMENTS_MAX = 40 };

struct origin origin_start_at(const char *mode, const char *address)
{
    const char *argv[] = {bed_bench_path("origin"), "--listen", address, "--mode", mode, NULL};
    struct origin origin = {.process = bed_spawn(argv, NULL)};
    const char *line = NULL;

    WAIT_UNTIL((line = strstr(bed_read_file(origin.process.out), "listening ")) != NULL &&
               strchr(line, '\n'));
    if (strncmp(address, "unix:", 5) != 0) {
        const char *colon = strrchr(line, ':');
        cr_assert_not_null(colon);
        origin.port = (uint16_t)strtoul(colon + 1, NULL, 10);
    } else {
        cr_assert_eq(chmod(strchr(address, ':') + 1, 0777), 0); /* workers are somebody else */
    }
    return origin;
}

struct origin origin_start(const char *mode)
{
    return origin_start_at(mode, bed_format("127.0.0.1:%u", bed_reserve_port("127.0.0.1")));
}

const char *origin_stop(const struct origin *origin)
{
    cr_assert_eq(kill(origin->process.pid, SIGTERM), 0);
    cr_assert_eq(bed_wait(origin->process.pid), 0, "origin: %s", bed_read_file(origin->process.err));
    const char *json = strchr(bed_read_file(origin->process.out), '{');
    cr_assert_not_null(json);
    return json;
}

void origin_expect_unharmed(const struct origin *origin, uint64_t bytes)
{
    const char *figures = origin_stop(origin);

    cr_assert_eq(json_number(figures, "mismatches"), 0, "%s", figures);
    cr_assert_eq(json_number(figures, "short"), 0, "%s", figures);
    cr_assert_eq(json_number(figures, "resets"), 0, "%s", figures);
    cr_assert_eq(json_number(figures, "bytes_received"), bytes, "%s", figures);
}

struct bed_process load_start(const char *arguments)
{
    const char *argv[ARGUMENTS_MAX + 6] = {bed_bench_path("load")};
    unsigned count = 1;
    char *words = strdup(arguments);
    char *rest = NULL;

    for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        cr_assert(count < ARGUMENTS_MAX);
        argv[count++] = word;
    }
    argv[count++] = "--json";
    if (strstr(arguments, "--connect ") == NULL) {
        argv[count++] = "--connect";
        argv[count++] = bed_format("127.0.0.1:%u", bed.port);
    }
    struct bed_process process = bed_spawn(argv, NULL);
    free(words);
    return process;
}

const char *load_finish(const struct bed_process *load)
{
    int result = bed_wait(load->pid);
    const char *json = bed_read_file(load->out);

    if (result != 0) {
        penstock_show_cut_sessions();
    }
    cr_assert_eq(result, 0, "load: %s%s", json, bed_read_file(load->err));
    return json;
}

const char *load_run(const char *arguments)
{
    struct bed_process load = load_start(arguments);

    return load_finish(&load);
}

void load_totals_add(struct load_totals *totals, const char *figures)
{
    totals->opened += json_number(figures, "opened");
    totals->bytes_up += json_number(figures, "bytes_up");
    totals->bytes_down += json_number(figures, "bytes_down");
}

void load_totals_expect(const struct load_totals *totals)
{
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    cr_assert_eq(json_number(status, "stats.accepted"), totals->opened, "%lu were opened: %s", totals->opened,
                 status);
    cr_assert_eq(json_number(status, "stats.connects"), totals->opened, "%lu were opened: %s", totals->opened,
                 status);
    cr_assert_eq(json_number(status, "stats.client_bytes"), totals->bytes_up, "%lu went up: %s",
                 totals->bytes_up, status);
    cr_assert_eq(json_number(status, "stats.server_bytes"), totals->bytes_down, "%lu went down: %s",
                 totals->bytes_down, status);
    uint64_t closed =
        json_number(status, "closes.client_closed") + json_number(status, "closes.server_closed");
    cr_assert_eq(closed, totals->opened, "%s", status);
    cr_assert_eq(json_number(status, "stats.damaged"), 0, "%s", status);
}

struct load_totals loads_expect(const struct bed_process *loads, unsigned count)
{
    struct load_totals totals = {0};

    for (unsigned i = 0; i < count; i++) {
        load_totals_add(&totals, load_finish(&loads[i]));
    }
    load_totals_expect(&totals);
    return totals;
}
