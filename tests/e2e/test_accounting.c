/* What Penstock says of its sessions: the access log and the counters agree with what the load did, to the byte. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { STREAMS = 500, REASON_BYTES = 32 };

BED_SUITE(accounting, 90);

/* One line of the access log. */
struct line {
    char source[64];
    char listener[32];
    char server[64];
    char times[80];
    unsigned long client_bytes;
    unsigned long server_bytes;
    char reason[REASON_BYTES];
    unsigned tries;
    unsigned slot;
    unsigned long serial;
};

static void parse_line(struct line *line, const char *text)
{
    unsigned year;
    int used = 0;
    int fields =
        sscanf(text, "%4u-%*2u-%*2uT%*2u:%*2u:%*2u.%*6uZ %63s %31s %63s %79s %lu %lu %31s %u %u %lu%n", &year,
               line->source, line->listener, line->server, line->times, &line->client_bytes,
               &line->server_bytes, line->reason, &line->tries, &line->slot, &line->serial, &used);

    cr_assert_eq(fields, 11, "%.200s", text);
    cr_assert_eq(text[used], '\n', "%.200s", text);
}

Test(accounting, line_tells_all_of_a_session)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    struct line line;
    double connected;
    double first_byte;
    double closed;

    penstock_start_to(port);
    struct net_pair pair = net_pair(listener);
    uint16_t source = net_local_port(pair.client);
    net_pass(pair.client, pair.server, "0123456789");
    net_pass(pair.server, pair.client, "abc");
    net_close(&pair);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 1);
    parse_line(&line, penstock_access_log());
    cr_assert_str_eq(line.source, bed_format("127.0.0.1:%u", source));
    cr_assert_str_eq(line.listener, "in");
    cr_assert_str_eq(line.server, bed_format("app/127.0.0.1:%u", port));
    cr_assert_eq(line.client_bytes, 10);
    cr_assert_eq(line.server_bytes, 3);
    cr_assert_str_eq(line.reason, "client_closed");
    cr_assert_eq(line.tries, 0);
    cr_assert_lt(line.slot, 2);
    cr_assert_eq(line.serial, 0);
    cr_assert_eq(sscanf(line.times, "%lf/%lf/%lf", &connected, &first_byte, &closed), 3, "%s", line.times);
    cr_assert(connected <= first_byte && first_byte <= closed, "%s", line.times);
    bed_end();
}

static void add_up_log(const char *log, unsigned lines, struct line *sum)
{
    bool *seen = calloc(2 * lines, sizeof(*seen));

    cr_assert_not_null(seen);
    memset(sum, 0, sizeof(*sum));
    for (unsigned i = 0; i < lines; i++) {
        struct line line;
        parse_line(&line, log);
        log = strchr(log, '\n') + 1;
        sum->client_bytes += line.client_bytes;
        sum->server_bytes += line.server_bytes;
        cr_assert(line.slot < 2 && line.serial < lines);
        bool *mark = &seen[line.slot * lines + line.serial];
        cr_assert(!*mark, "two lines with serial %lu of slot %u", line.serial, line.slot);
        *mark = true;
        bool well = strcmp(line.reason, "client_closed") == 0 || strcmp(line.reason, "server_closed") == 0;
        cr_assert(well, "%s", line.reason);
    }
    cr_assert_eq(*log, '\0');
    free(seen);
}

/* After a load that went well: status, log and load say the same. */
static void expect_agreement(const char *figures)
{
    struct line sum;
    uint64_t opened = json_number(figures, "opened");

    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    uint64_t up = json_number(figures, "bytes_up");
    uint64_t down = json_number(figures, "bytes_down");
    cr_assert_eq(json_number(status, "stats.accepted"), opened, "%s\n%s", status, figures);
    cr_assert_eq(json_number(status, "stats.connects"), opened, "%s", status);
    cr_assert_eq(json_number(status, "stats.client_bytes"), up, "%s\n%s", status, figures);
    cr_assert_eq(json_number(status, "stats.server_bytes"), down, "%s\n%s", status, figures);
    cr_assert_eq(json_number(status, "client_bytes"), up);
    cr_assert_eq(json_number(status, "servers.0.connects"), opened);
    cr_assert_eq(json_number(status, "servers.0.bytes_to"), up);
    cr_assert_eq(json_number(status, "servers.0.bytes_from"), down);
    cr_assert_eq(json_number(status, "servers.0.sessions"), 0);
    cr_assert_eq(json_number(status, "closes.client_closed") + json_number(status, "closes.server_closed"),
                 opened);
    cr_assert_eq(json_number(status, "stats.log_dropped"), 0);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == opened);
    add_up_log(penstock_access_log(), (unsigned)opened, &sum);
    cr_assert_eq(sum.client_bytes, up);
    cr_assert_eq(sum.server_bytes, down);
}

Test(accounting, streams)
{
    struct origin origin = origin_start("auto");

    penstock_start_to(origin.port);
    const char *figures =
        load_run(bed_format("streams --count %d --connections 50 --slow-readers 10", STREAMS));
    expect_agreement(figures);
    const char *totals = origin_stop(&origin);
    cr_assert_eq(json_number(totals, "bytes_received"), json_number(figures, "bytes_up"), "%s", totals);
    cr_assert_eq(json_number(totals, "mismatches"), 0);
    bed_end();
}

Test(accounting, connects_closed_by_either_side)
{
    struct origin origin = origin_start("auto");

    penstock_start_to(origin.port);
    load_run("connect --count 1000 --connections 16");
    load_run("connect --count 1000 --connections 16 --close-first origin");
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("stats.accepted"), 2000);
    cr_assert_eq(penstock_number("closes.client_closed"), 1000);
    cr_assert_eq(penstock_number("closes.server_closed"), 1000);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 2000);
    bed_end();
}

Test(accounting, descriptors_and_buffers_come_back)
{
    struct origin origin = origin_start("auto");
    unsigned descriptors[2];

    penstock_start_to(origin.port);
    uint64_t lent = penstock_number("buffer_lent_bytes");
    for (unsigned slot = 0; slot < 2; slot++) {
        descriptors[slot] = bed_count_descriptors(penstock_keeper(slot));
    }
    load_run("streams --count 300 --connections 100 --max-bytes 1M");
    load_run("connect --count 1000 --connections 16");
    struct bed_process idle = load_start("idle --connections 500 --seconds 1 --touch --verify");
    load_finish(&idle);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    for (unsigned slot = 0; slot < 2; slot++) {
        WAIT_UNTIL(bed_count_descriptors(penstock_keeper(slot)) == descriptors[slot]);
    }
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == lent);
    bed_end();
}

/* The log follows its file: moved away and SIGUSR1, it begins a new one; nothing is lost between. */
Test(accounting, log_is_reopened)
{
    struct origin origin = origin_start("auto");
    const char *moved = bed_path("access.log.1");

    penstock_start_to(origin.port);
    load_run("connect --count 100");
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 100);
    cr_assert_eq(rename(bed_path("access.log"), moved), 0);
    load_run("connect --count 50");
    cr_assert_eq(kill(bed.penstock, SIGUSR1), 0);
    WAIT_UNTIL(access(bed_path("access.log"), F_OK) == 0);
    load_run("connect --count 100");
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) + bed_count_lines(moved) == 250);
    cr_assert(bed_count_lines(bed_path("access.log")) >= 100);
    bed_end();
}
