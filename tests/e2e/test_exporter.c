/* The exporter: what it says is so, nothing it is asked harms it, and nothing that befalls it harms traffic. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_http.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_metrics.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(exporter, 120);

enum { VISITORS_MAX = 64, SCRAPES = 1000, MEMORY_MAX_KIB = 24 * 1024 };

static uint16_t port;

static const char *lines_of(const char *more)
{
    return bed_format("exporter: { listen: 127.0.0.1:%u }\n%s", port, more);
}

static pid_t exporter_pid(void)
{
    return bed_child_named(bed.penstock, "exporter");
}

static void start(uint16_t server_port, const char *more)
{
    port = bed_reserve_port("127.0.0.1");
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", server_port),
        .more = lines_of(more),
    });
    WAIT_UNTIL(exporter_pid() != 0); /* it takes its name some moments after it was forked */
}

static double metric(const char *series)
{
    size_t texts = bed_mark();
    double value = metrics_value(http_body(port, "/metrics"), series);

    bed_release(texts);
    return value;
}

/* What is counted of each session, once for every one that was opened. */
static void expect_counts(double opened, uint16_t server_port)
{
    const char *server = bed_format("{pool=\"app\",server=\"127.0.0.1:%u\"}", server_port);
    size_t texts = bed_mark();
    const char *text = http_body(port, "/metrics");

    (void)metrics_parse(text, false);
    cr_expect_eq(metrics_value(text, "penstock_listener_accepted_total{listener=\"in\"}"), opened);
    cr_expect_eq(metrics_value(text, "penstock_session_duration_seconds_count{listener=\"in\"}"), opened);
    cr_expect_eq(metrics_value(text, "penstock_first_byte_seconds_count{listener=\"in\"}"), opened);
    cr_expect_eq(metrics_value(text, bed_format("penstock_server_connect_seconds_count%s", server)), opened);
    cr_expect_gt(metrics_value(text, "penstock_session_duration_seconds_sum{listener=\"in\"}"), 0);
    bed_release(texts);
}

Test(exporter, a_scrape_during_load_agrees_with_it)
{
    struct origin origin = origin_start("auto");
    double accepted = 0;
    unsigned scrapes = 0;

    start(origin.port, "");
    struct bed_process load = load_start("streams --connections 20 --seconds 2 --max-bytes 1M");
    while (kill(load.pid, 0) == 0 && scrapes < 50) {
        size_t texts = bed_mark();
        const char *text = http_body(port, "/metrics");
        cr_expect_gt(metrics_parse(text, false), 60);
        double now = metrics_value(text, "penstock_accepted_total");
        cr_expect_geq(now, accepted, "a counter fell");
        accepted = now;
        scrapes++;
        bed_release(texts);
        bed_pause_ms(20);
    }
    struct load_totals totals = loads_expect(&load, 1);
    cr_expect_eq(metric("penstock_accepted_total"), totals.opened);
    cr_expect_eq(metric("penstock_connects_total"), totals.opened);
    cr_expect_eq(metric("penstock_received_bytes_total{side=\"client\"}"), totals.bytes_up);
    cr_expect_eq(metric("penstock_received_bytes_total{side=\"server\"}"), totals.bytes_down);
    cr_expect_eq(metric(bed_format("penstock_server_connects_total{pool=\"app\",server=\"127.0.0.1:%u\"}",
                                   origin.port)),
                 totals.opened);
    cr_expect_eq(metric("penstock_listener_sessions{listener=\"in\"}"), 0);
    expect_counts(totals.opened, origin.port);
    bed_end();
}

Test(exporter, counters_survive_workers)
{
    struct origin origin = origin_start("auto");
    struct load_totals totals = {0};

    start(origin.port, "");
    load_totals_add(&totals, load_run("streams --connections 5 --seconds 1 --max-bytes 1M"));
    WAIT_UNTIL(penstock_number("sessions") == 0);
    for (unsigned slot = 0; slot < 2; slot++) {
        cr_assert_eq(kill(penstock_worker(slot), SIGKILL), 0);
        WAIT_UNTIL(metric(bed_format("penstock_worker_deaths_total{worker=\"%u\"}", slot)) == 1);
    }
    WAIT_UNTIL(http_status(port, "/healthz") == 200);
    cr_expect_eq(metric("penstock_accepted_total"), totals.opened);
    cr_expect_eq(metric("penstock_received_bytes_total{side=\"client\"}"), totals.bytes_up);
    expect_counts(totals.opened, origin.port);
    WAIT_UNTIL(metric("penstock_adoption_seconds_count") == 2);
    bed_end();
}

#define OF_WORKER(family) metric("penstock_worker_" family "_total{worker=\"0\"}")

Test(exporter, what_workers_did_is_counted_over_their_lives)
{
    struct origin origin = origin_start("auto");

    start(origin.port, "");
    WAIT_UNTIL(OF_WORKER("busy_seconds") > 0); /* it has started */
    (void)load_run("streams --connections 20 --count 200 --max-bytes 100K");
    double completions = OF_WORKER("completions");
    double busy = OF_WORKER("busy_seconds");
    cr_expect_gt(completions, 200);
    cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);
    WAIT_UNTIL(OF_WORKER("deaths") == 1);
    WAIT_UNTIL(http_status(port, "/healthz") == 200);
    cr_expect_geq(OF_WORKER("completions"), completions);
    cr_expect_geq(OF_WORKER("busy_seconds"), busy);
    WAIT_UNTIL(OF_WORKER("busy_seconds") > busy);
    bed_end();
}

/* Of whatever a death cuts short nothing counts twice, and nothing is lost. */
Test(exporter, histograms_are_exact_while_workers_die)
{
    struct origin origin = origin_start("auto");

    start(origin.port, "");
    struct bed_process load = load_start("streams --connections 20 --seconds 3 --max-bytes 100K");
    for (unsigned i = 0; i < 20; i++) {
        pid_t worker = penstock_worker(i % 2);
        cr_assert_eq(kill(worker, SIGKILL), 0);
        WAIT_UNTIL(penstock_worker(i % 2) != worker && http_status(port, "/healthz") == 200);
    }
    struct load_totals totals = loads_expect(&load, 1);
    expect_counts(totals.opened, origin.port);
    cr_expect_eq(metric("penstock_adoption_seconds_count"), 20);
    bed_end();
}

Test(exporter, shows_connections_that_wait_to_be_accepted)
{
    enum { LIMIT = 4, CLIENTS = LIMIT + 3 };
    uint16_t server_port;
    int listener = net_listen(&server_port, CLIENTS);
    int clients[CLIENTS];
    int servers[CLIENTS];

    port = bed_reserve_port("127.0.0.1");
    penstock_start(&(struct penstock_config){
        .workers = 1,
        .limits = "sessions: 4, buffers: 64MiB",
        .servers = bed_format("127.0.0.1:%u", server_port),
        .more = lines_of(""),
    });
    cr_expect_eq(metric("penstock_listener_accept_queue{listener=\"in\"}"), 0);
    cr_expect_gt(metric("penstock_listener_accept_queue_limit{listener=\"in\"}"), CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = net_connect(bed.port);
        if (i < LIMIT) {
            servers[i] = net_accept(listener);
        }
    }
    WAIT_UNTIL(metric("penstock_listener_accept_queue{listener=\"in\"}") == CLIENTS - LIMIT);
    cr_expect_eq(metric("penstock_listener_accepted_total{listener=\"in\"}"), LIMIT);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
        close(servers[i]);
        if (i + LIMIT < CLIENTS) {
            servers[i + LIMIT] = net_accept(listener);
        }
    }
    WAIT_UNTIL(metric("penstock_listener_accept_queue{listener=\"in\"}") == 0);
    cr_expect_eq(metric("penstock_listener_accept_drops_total{listener=\"in\"}"), 0);
    bed_end();
}

Test(exporter, source_ports_stay_in_use_through_time_wait)
{
    uint16_t server_port;
    int listener = net_listen(&server_port, 10);

    start(server_port, "");
    const char *series =
        bed_format("penstock_server_source_ports{pool=\"app\",server=\"127.0.0.1:%u\",state=", server_port);
    struct net_pair pair = net_pair(listener);
    WAIT_UNTIL(metric(bed_format("%s\"active\"}", series)) == 1);
    net_half_close(pair.client); /* passed on to the server, whose end then comes second */
    net_expect_eof(pair.server);
    close(pair.server);
    net_expect_eof(pair.client);
    close(pair.client);
    WAIT_UNTIL(metric(bed_format("%s\"active\"}", series)) == 0);
    cr_expect_eq(metric(bed_format("%s\"time_wait\"}", series)), 1);
    bed_end();
}

Test(exporter, answers_what_it_is_asked)
{
    uint16_t server_port;
    int listener = net_listen(&server_port, 10);

    start(server_port, "");
    struct net_pair pair = net_pair(listener);
    net_pass(pair.client, pair.server, "hello");
    WAIT_UNTIL(metric("penstock_sessions{phase=\"open\"}") == 1);

    struct http_answer answer =
        http_get(port, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    cr_expect_not_null(strstr(answer.head, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    cr_expect_gt(metrics_parse(answer.body, true), 60);

    const char *theirs = http_body(port, "/api/status");
    const char *ours = penstock_status();
    cr_expect_eq(json_number(theirs, "stats.accepted"), json_number(ours, "stats.accepted"));
    cr_expect_eq(json_number(theirs, "workers.1.pid"), json_number(ours, "workers.1.pid"));
    cr_expect_eq(json_number(theirs, "live"), 1);
    cr_expect_eq(json_number(http_body(port, "/api/servers"), "0.sessions"), 1);

    const char *sessions = http_body(port, "/api/sessions");
    cr_expect_eq(json_number(sessions, "0.client_bytes"), 5);
    cr_expect_null(json_find(sessions, "1"));
    cr_expect_eq(json_number(http_body(port, "/api/sessions?state=open&listener=in&source=127.0.0.1"),
                             "0.client_bytes"),
                 5);
    cr_expect_str_eq(http_body(port, "/api/sessions?state=closing"), "[]\n");

    const char *flows = http_body(port, "/api/flows?state=active");
    cr_expect_eq(json_number(flows, "1.serial"), json_number(sessions, "0.serial"));
    cr_expect_null(json_find(flows, "2"));
    cr_expect_null(json_find(http_body(port, "/api/flows?limit=1"), "1"));

    const char *top = http_body(port, "/api/top");
    cr_expect_eq(json_number(top, "bytes.0.client_bytes"), 5);
    cr_expect_eq(json_number(top, "age.0.serial"), json_number(sessions, "0.serial"));
    cr_expect_null(json_find(top, "bytes.1"));

    answer = http_get(port, "/", NULL);
    cr_expect_eq(answer.status, 200);
    cr_expect_not_null(strstr(answer.head, "Content-Security-Policy: default-src 'none';"));
    cr_expect_not_null(strstr(answer.body, "</html>"));
    bed_end();
}

Test(exporter, refuses_the_rest)
{
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", 404},
        {"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405},
        {"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200},
        {"GET /api/sessions?state=none HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /api/sessions?x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /api/flows?state=open HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"GET /api/flows?limit HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    };
    static char huge[100000];

    start(bed_reserve_port("127.0.0.1"), "");
    pid_t pid = exporter_pid();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_answer answer = http_send(port, cases[i].request);
        cr_expect_eq(answer.status, cases[i].status, "%s: %s", cases[i].request, answer.head);
    }
    cr_expect_str_eq(http_send(port, cases[5].request).body, "", "HEAD");
    memset(huge, 'x', sizeof(huge) - 1);
    unsigned status = http_send(port, bed_format("GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", huge)).status;
    cr_expect(status == 431 || status == 0, "%u", status);
    status = http_send(port, bed_format("GET /%s HTTP/1.1\r\nHost: a\r\n\r\n", huge)).status;
    cr_expect(status == 414 || status == 431 || status == 0, "%u", status);
    status = http_send(port, "\x16\x03\x01\x02garbage\r\n\r\n").status;
    cr_expect_neq(status, 200);
    cr_expect_eq(http_status(port, "/healthz"), 200);
    cr_expect_eq(exporter_pid(), pid, "it died: %s", penstock_log());
    bed_end();
}

Test(exporter, has_no_rights)
{
    start(bed_reserve_port("127.0.0.1"), "");
    pid_t pid = exporter_pid();
    cr_expect_eq(http_status(port, "/healthz"), 200, "it is through with its beginning");
    cr_expect_eq(bed_proc_status(pid, "NoNewPrivs"), 1);
#ifndef PENSTOCK_NO_JEMALLOC
    cr_expect_eq(bed_proc_status(pid, "Seccomp"), 2);
#endif
    cr_expect_eq(bed_proc_status(pid, "CapEff"), 0);
    cr_expect_eq(bed_proc_status(pid, "CapPrm"), 0);
    if (geteuid() == 0) {
        cr_expect_neq(bed_proc_status(pid, "Uid"), 0);
    }
    /* Standard streams, its listening socket, its epoll set: none of the data path's sockets, none of the memfds. */
    WAIT_UNTIL(bed_count_descriptors(pid) <= 5);
    char line[512];
    FILE *maps = fopen(bed_format("/proc/%d/maps", pid), "re");
    unsigned segments = 0;
    cr_assert_not_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (strstr(line, "penstock-") != NULL && strstr(line, "memfd") != NULL) {
            cr_expect_not_null(strstr(line, " r--s "), "%s", line);
            segments++;
        }
    }
    fclose(maps);
    cr_expect_eq(segments, 2, "head and tables, not the bank");
    bed_end();
}

Test(exporter, health_follows_the_workers)
{
    start(bed_reserve_port("127.0.0.1"), "watchdog: off\n");
    cr_expect_eq(http_status(port, "/healthz"), 200);
    cr_expect_eq(http_status(port, "/readyz"), 200);
    pid_t worker = penstock_worker(1);
    cr_assert_eq(kill(worker, SIGSTOP), 0);
    WAIT_UNTIL(http_status(port, "/healthz") == 503);
    cr_expect_not_null(strstr(http_get(port, "/healthz", NULL).body, "worker 1 hangs"));
    cr_expect_eq(http_status(port, "/readyz"), 503);
    cr_expect_eq(metric("penstock_healthy"), 0);
    cr_assert_eq(kill(worker, SIGCONT), 0);
    WAIT_UNTIL(http_status(port, "/healthz") == 200);
    cr_expect_eq(http_status(port, "/readyz"), 200);
    bed_end();
}

Test(exporter, shows_a_drain_to_its_end)
{
    uint16_t server_port;
    int listener = net_listen(&server_port, 10);

    start(server_port, "");
    struct net_pair pair = net_pair(listener);
    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    WAIT_UNTIL(http_status(port, "/readyz") == 503);
    cr_expect_str_eq(http_get(port, "/readyz", NULL).body, "draining\n");
    for (int i = 0; i < 50; i++) { /* the other worker is done soon: that is no illness */
        cr_expect_eq(http_status(port, "/healthz"), 200);
        bed_pause_ms(10);
    }
    cr_expect_eq(metric("penstock_draining"), 1);
    close(pair.client);
    close(pair.server);
    cr_expect_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    cr_expect_not(net_can_connect(bed_format("127.0.0.1:%u", port)));
    bed_end();
}

Test(exporter, comes_back_and_traffic_never_knows)
{
    struct origin origin = origin_start("auto");

    start(origin.port, "");
    struct bed_process load = load_start("streams --connections 10 --seconds 4 --max-bytes 1M");
    for (int i = 0; i < 3; i++) {
        pid_t pid = exporter_pid();
        cr_assert_neq(pid, 0);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_expect_eq(http_get(port, "/healthz", NULL).status, 200, "who asks waits");
        cr_expect_neq(exporter_pid(), pid);
    }
    struct load_totals totals = loads_expect(&load, 1);
    cr_expect_eq(metric("penstock_accepted_total"), totals.opened);
    bed_end();
}

Test(exporter, ends_with_its_supervisor)
{
    start(bed_reserve_port("127.0.0.1"), "");
    cr_expect_eq(http_status(port, "/healthz"), 200);
    cr_assert_eq(kill(bed.penstock, SIGKILL), 0);
    (void)bed_wait(bed.penstock);
    bed.penstock = 0;
    WAIT_UNTIL(!net_can_connect(bed_format("127.0.0.1:%u", port)));
    bed_end();
}

/* --- Reloads ------------------------------------------------------------------------------------------------ */

static int reload(const char *more)
{
    (void)penstock_configure(&(struct penstock_config){
        .servers = "127.0.0.1:9",
        .more = more,
    });
    return penstock_reload();
}

Test(exporter, comes_moves_and_goes_with_reloads)
{
    start(9, "");
    uint16_t first = port;
    uint16_t second = bed_reserve_port("127.0.0.1");

    cr_expect_eq(http_status(first, "/healthz"), 200);
    pid_t pid = exporter_pid();
    cr_assert_eq(reload(lines_of("spin: off\n")), 0);
    cr_expect_eq(exporter_pid(), pid, "the same address: the same process");
    port = second;
    cr_assert_eq(reload(lines_of("")), 0);
    cr_expect_eq(http_status(second, "/healthz"), 200);
    cr_expect_eq(http_status(first, "/healthz"), 0);
    cr_expect_eq(metric("penstock_reloads_total{result=\"ok\"}"), 2);
    /* An address that somebody has: refused, and all is as before. */
    uint16_t taken;
    int other = net_listen(&taken, 10);
    port = taken;
    cr_expect_neq(reload(lines_of("")), 0);
    port = second;
    cr_expect_eq(http_status(second, "/healthz"), 200);
    cr_expect_eq(metric("penstock_reloads_total{result=\"failed\"}"), 1, "%s", penstock_log());
    close(other);
    cr_assert_eq(reload(""), 0);
    cr_expect_eq(http_status(second, "/healthz"), 0);
    cr_expect_eq(exporter_pid(), 0);
    cr_assert_eq(reload(lines_of("")), 0);
    cr_expect_eq(http_status(second, "/healthz"), 200);
    bed_end();
}

Test(exporter, an_address_that_is_taken_is_told_at_the_start)
{
    uint16_t taken;
    int other = net_listen(&taken, 10);

    port = taken;
    const char *path = penstock_configure(&(struct penstock_config){
        .servers = "127.0.0.1:9",
        .more = lines_of(""),
    });
    struct bed_process process = penstock_spawn(path, NULL);
    cr_expect_eq(bed_wait(process.pid), 1);
    cr_expect_not_null(strstr(bed_read_file(process.err), "the exporter's address"));
    close(other);
    bed_end();
}

/* --- Crowds ------------------------------------------------------------------------------------------------- */

struct crowd {
    struct pollfd polls[SCRAPES];
    bool sent[SCRAPES];
    unsigned first_bytes[SCRAPES]; /* of the answer */
    unsigned done;
    unsigned served; /* with 200 */
};

static void crowd_begin(struct crowd *crowd)
{
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

    (void)setrlimit(RLIMIT_NOFILE, &limit);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < SCRAPES; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        cr_assert(fd >= 0, "%s", strerror(errno));
        cr_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
        crowd->polls[i] = (struct pollfd){.fd = fd, .events = POLLOUT};
    }
}

static void crowd_turn(struct crowd *crowd)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    char bytes[16384];

    cr_assert_geq(poll(crowd->polls, SCRAPES, 1000), 0);
    for (int i = 0; i < SCRAPES; i++) {
        struct pollfd *at = &crowd->polls[i];
        if (at->fd < 0 || at->revents == 0) {
            continue;
        }
        if (!crowd->sent[i]) {
            crowd->sent[i] = send(at->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0;
            at->events = POLLIN;
            continue;
        }
        ssize_t got = read(at->fd, bytes, sizeof(bytes));
        if (got > 0) {
            crowd->served += crowd->first_bytes[i]++ == 0 && strncmp(bytes, "HTTP/1.1 200", 12) == 0;
        } else if (got == 0 || errno != EAGAIN) {
            close(at->fd);
            at->fd = -1;
            crowd->done++;
        }
    }
}

Test(exporter, a_thousand_scrapes_at_once_are_served_within_its_limits)
{
    static struct crowd crowd;
    struct origin origin = origin_start("auto");
    unsigned most = 0;

    start(origin.port, "");
    pid_t pid = exporter_pid();
    struct bed_process load = load_start("streams --connections 10 --seconds 3 --max-bytes 1M");
    uint64_t give_up_ms = bed_now_ms() + 2 * (uint64_t)WAIT_LIMIT_MS;
    crowd_begin(&crowd);
    while (crowd.done < SCRAPES) {
        cr_assert_lt(bed_now_ms(), give_up_ms, "%u done", crowd.done);
        crowd_turn(&crowd);
        unsigned now = bed_count_descriptors(pid);
        most = now > most ? now : most;
    }
    cr_expect_eq(crowd.served, SCRAPES);
    cr_expect_leq(most, VISITORS_MAX + 8);
#ifndef PENSTOCK_NO_JEMALLOC
    cr_expect_leq(bed_proc_status(pid, "VmHWM"), MEMORY_MAX_KIB);
#endif
    fprintf(stderr, "exporter: %u scrapes, at most %u descriptors, %lu KiB at most\n", SCRAPES, most,
            (unsigned long)bed_proc_status(pid, "VmHWM"));
    (void)loads_expect(&load, 1);
    cr_expect_eq(exporter_pid(), pid);
    bed_end();
}

/* A byte now and then to each, so that none is ever silent; ends when the test does. */
static pid_t trickle_begin(const int *fds, unsigned count)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (int i = 0; i < WAIT_LIMIT_MS / 500; i++) {
            for (unsigned k = 0; k < count; k++) {
                (void)send(fds[k], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            }
            bed_pause_ms(500);
        }
        _exit(0);
    }
    return pid;
}

/* More of them than it has places: each is shown out after ten seconds, whatever it sends meanwhile. */
Test(exporter, slow_visitors_do_not_keep_others_out)
{
    enum { SLOW = VISITORS_MAX + 10 };
    int slow[SLOW];
    struct origin origin = origin_start("auto");

    start(origin.port, "");
    for (int i = 0; i < SLOW; i++) {
        slow[i] = net_connect(port);
        net_write_text(slow[i], "GET /me");
    }
    pid_t trickle = trickle_begin(slow, SLOW);
    (void)load_run("streams --connections 5 --seconds 1 --max-bytes 1M");
    cr_expect_eq(http_get(port, "/healthz", NULL).status, 200);
    cr_assert_eq(kill(trickle, SIGKILL), 0);
    (void)bed_wait(trickle);
    bed_end();
}
