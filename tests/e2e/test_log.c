/* Where the logs go: formats, syslog, destinations that fail for a while, levels. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(log, 90);

static void start(uint16_t port, const char *log)
{
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .log = log});
}

static void reload(uint16_t port, const char *log)
{
    penstock_reload_with(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .log = log});
}

/* "question" up, "answer" down, closed by the client, whose port it returns. */
static uint16_t hold_session(int listener)
{
    struct net_pair pair = net_pair(listener);
    uint16_t source = net_local_port(pair.client);

    net_exchange(&pair);
    net_close(&pair);
    return source;
}

static void expect_text(const char *json, const char *key, const char *text)
{
    const char *found = json_find(json, key);
    const char *quoted = bed_format("\"%s\"", text);

    cr_assert_not_null(found, "%s in %s", key, json);
    cr_assert_eq(strncmp(found, quoted, strlen(quoted)), 0, "%s in %s", key, json);
}

Test(log, json_tells_all_of_a_session)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    start(port, bed_format("access: %s, format: json", bed_path("access.log")));
    uint16_t source = hold_session(listener);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 1);
    const char *line = penstock_access_log();
    cr_assert_eq(line[strlen("{\"time\":\"2026-11-23T02:30:40.261253")], 'Z', "%s", line);
    expect_text(line, "source", bed_format("127.0.0.1:%u", source));
    expect_text(line, "listener", "in");
    expect_text(line, "pool", "app");
    expect_text(line, "server", bed_format("127.0.0.1:%u", port));
    expect_text(line, "reason", "client_closed");
    cr_assert(json_number(line, "connected_us") <= json_number(line, "first_byte_us"), "%s", line);
    cr_assert(json_number(line, "first_byte_us") <= json_number(line, "total_us"), "%s", line);
    cr_assert_eq(json_number(line, "bytes_up"), 8);
    cr_assert_eq(json_number(line, "bytes_down"), 6);
    cr_assert_eq(json_number(line, "failed_tries"), 0);
    cr_assert_lt(json_number(line, "worker"), 2);
    cr_assert_eq(json_number(line, "serial"), 0);
    bed_end();
}

Test(log, format_and_place_follow_a_reload)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    start(port, bed_format("access: %s", bed_path("access.log")));
    (void)hold_session(listener);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == 1);
    reload(port, bed_format("access: %s, format: json", bed_path("other.log")));
    WAIT_UNTIL(access(bed_path("other.log"), F_OK) == 0);
    (void)hold_session(listener);
    WAIT_UNTIL(bed_count_lines(bed_path("other.log")) == 1);
    cr_assert_eq(bed_read_file(bed_path("other.log"))[0], '{');
    cr_assert_eq(bed_count_lines(bed_path("access.log")), 1);
    reload(port, "access: off");
    reload(port, "access: stderr");
    (void)hold_session(listener);
    WAIT_UNTIL(bed_count(penstock_log(), " 8 6 client_closed ") == 1);
    bed_end();
}

/* A directory that is not there yet. */
Test(log, lines_wait_for_their_file)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    start(port, bed_format("access: %s", bed_path("logs/access.log")));
    for (int i = 0; i < 10; i++) {
        (void)hold_session(listener);
    }
    WAIT_UNTIL(strstr(penstock_log(), "event=access_log_failed") != NULL);
    cr_assert_eq(mkdir(bed_path("logs"), 0755), 0);
    WAIT_UNTIL(bed_count_lines(bed_path("logs/access.log")) == 10);
    WAIT_UNTIL(strstr(penstock_log(), "event=access_log_resumed") != NULL);
    cr_assert_eq(bed_count(penstock_log(), "event=access_log_failed"), 1, "told once");
    cr_assert_eq(penstock_number("stats.log_dropped"), 0);
    bed_end();
}

static bool survive_full_files(void)
{
    return signal(SIGXFSZ, SIG_IGN) != SIG_ERR;
}

static void limit_files(pid_t pid, rlim_t bytes)
{
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

    cr_assert_eq(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* The line at which the file is full is whole in the next, or in the same once there is room. */
Test(log, lines_wait_for_room)
{
    enum { SESSIONS = 50 };
    int listener = penstock_start_to_test(&(struct penstock_config){
        .log = bed_format("access: %s, format: json", bed_path("access.log")),
        .before_exec = survive_full_files,
    });
    pid_t logger = bed_child_named(bed.penstock, "logger");

    limit_files(logger, 4000); /* more than standard error needs */
    for (int i = 0; i < SESSIONS; i++) {
        (void)hold_session(listener);
    }
    WAIT_UNTIL(bed_count(penstock_log(), "event=access_log_failed") == 1);
    cr_assert_eq(rename(bed_path("access.log"), bed_path("access.log.1")), 0);
    cr_assert_eq(kill(bed.penstock, SIGUSR1), 0);
    WAIT_UNTIL(bed_count(penstock_log(), "event=access_log_failed") == 2);
    limit_files(logger, RLIM_INFINITY);
    uint64_t before = bed_count_lines(bed_path("access.log.1"));
    WAIT_UNTIL(before + bed_count_lines(bed_path("access.log")) == SESSIONS);
    const char *log = penstock_access_log();
    cr_assert_eq(bed_count(log, "{\"time\":"), SESSIONS - before);
    cr_assert_eq(bed_count(log, "}\n{") + 1, SESSIONS - before);
    cr_assert_eq(bed_count(log, ",\"serial\":"), SESSIONS - before);
    cr_assert_eq(bed_count_lines(bed_path("access.log.1")), before);
    cr_assert_eq(penstock_number("stats.log_dropped"), 0);
    bed_end();
}

/* --- syslog ------------------------------------------------------------------------------------------------- */

static int syslog_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)unlink(bed_path("syslog"));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", bed_path("syslog"));
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void syslog_close(int fd)
{
    close(fd);
    cr_assert_eq(unlink(bed_path("syslog")), 0);
}

/* Reads what is there; how many messages. `last` is of 512 bytes. */
static uint64_t syslog_read(int fd, char *last)
{
    uint64_t count = 0;

    for (ssize_t got; (got = recv(fd, last, 511, 0)) > 0; count++) {
        last[got] = '\0';
        cr_assert_eq(strncmp(last, "<30>", 4), 0, "%s", last);
        cr_assert_null(strchr(last, '\n'), "%s", last);
    }
    return count;
}

static const char *to_syslog(void)
{
    return bed_format("access: 'syslog:%s'", bed_path("syslog"));
}

Test(log, syslog_gets_a_message_a_session)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    int fd = syslog_open();
    char last[512] = "";

    start(port, to_syslog());
    uint16_t source = hold_session(listener);
    WAIT_UNTIL(syslog_read(fd, last) == 1);
    cr_assert_not_null(strstr(last, "Z 127.0.0.1:"), "%s", last);
    cr_assert_not_null(strstr(last, bed_format(":%u in app/127.0.0.1:%u ", source, port)), "%s", last);
    cr_assert_not_null(strstr(last, " 8 6 client_closed 0 "), "%s", last);
    bed_end();
}

/* Its daemon is restarted, and is away for a while. */
Test(log, syslog_loses_nothing_while_its_daemon_is_away)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    int fd = syslog_open();
    char last[512];
    uint64_t read = 0;

    start(port, to_syslog());
    for (int i = 0; i < 5; i++) {
        (void)hold_session(listener);
        WAIT_UNTIL((read += syslog_read(fd, last)) == 3 * (uint64_t)i + 1);
        syslog_close(fd);
        (void)hold_session(listener);
        WAIT_UNTIL(bed_count(penstock_log(), "event=access_log_failed") == (unsigned)i + 1);
        (void)hold_session(listener);
        fd = syslog_open();
        WAIT_UNTIL((read += syslog_read(fd, last)) == 3 * (uint64_t)i + 3);
        WAIT_UNTIL(bed_count(penstock_log(), "event=access_log_resumed") == (unsigned)i + 1);
    }
    cr_assert_eq(penstock_number("stats.log_dropped"), 0);
    bed_end();
}

/* More than rings and batch can hold: traffic goes on, and what has no room is counted. */
Test(log, syslog_that_nobody_reads_stops_nobody)
{
    enum { SESSIONS = 12000 };
    struct origin origin = origin_start("auto");
    int fd = syslog_open();
    char last[512];
    uint64_t read = 0;

    start(origin.port, to_syslog());
    load_run(bed_format("connect --count %d --connections 16", SESSIONS));
    WAIT_UNTIL(penstock_number("sessions") == 0);
    uint64_t dropped = penstock_number("stats.log_dropped");
    cr_assert_gt(dropped, 0);
    WAIT_UNTIL((read += syslog_read(fd, last)) == SESSIONS - dropped);
    bed_pause_ms(300);
    cr_assert_eq(syslog_read(fd, last), 0);
    bed_end();
}

/* --- Levels ------------------------------------------------------------------------------------------------- */

static void kill_worker(void)
{
    pid_t worker = penstock_worker(0);

    cr_assert_eq(kill(worker, SIGKILL), 0);
    WAIT_UNTIL(penstock_worker(0) != worker);
}

Test(log, level_follows_a_reload_in_keepers)
{
    uint16_t port;

    (void)net_listen(&port, 64);
    start(port, "access: off");
    reload(port, "level: error, access: off");
    kill_worker();
    reload(port, "level: info, access: off");
    kill_worker();
    WAIT_UNTIL(strstr(penstock_log(), "event=worker_died") != NULL);
    reload(port, "level: error, access: off");
    kill_worker();
    cr_assert_eq(bed_count(penstock_log(), "event=worker_died"), 1, "%s", penstock_log());
    bed_end();
}
