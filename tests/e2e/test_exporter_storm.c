/* The exporter among visitors that mean harm, several at a time and for as long as there is load: it stays
 * what it is, within its limits, and traffic never knows. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/rng.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_http.h"
#include "tests/e2e/harness_metrics.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(exporter_storm, 120);

enum {
    ATTACKERS = 6,
    HUGE_BYTES = 100000,
    VISITORS_MAX = 64,
    MEMORY_MAX_KIB = 24 * 1024,
    SECONDS = 5,
};

static uint16_t port;
static char huge[HUGE_BYTES];

/* --- Attacks: what goes wrong for the attacker does not matter ---------------------------------------------- */

static int visit(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        bed_pause_ms(10);
    }
    return fd;
}

static void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void read_to_the_end(int fd)
{
    char bytes[4096];

    while (read(fd, bytes, sizeof(bytes)) > 0) {
    }
}

static void ask_for_nothing(int fd, struct rng *rng)
{
    char request[256];

    snprintf(request, sizeof(request), "GET /%%2e%%2e/%lx?%lx=%%00%%zz HTTP/1.1\r\nHost: a\r\n\r\n",
             (unsigned long)rng_next(rng), (unsigned long)rng_next(rng));
    say(fd, request);
    read_to_the_end(fd);
}

static void send_huge_header(int fd, struct rng *rng)
{
    say(fd, rng_chance(rng, 50) ? "GET / HTTP/1.1\r\nHost: a\r\nX: " : "GET /");
    say(fd, huge);
    say(fd, "\r\n\r\n");
    read_to_the_end(fd);
}

static void send_many_headers(int fd, struct rng *rng)
{
    say(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\n");
    for (uint64_t left = rng_below(rng, 5000); left > 0; left--) {
        say(fd, "Cookie: b\r\n");
    }
    say(fd, "\r\n");
    read_to_the_end(fd);
}

static void send_noise(int fd, struct rng *rng)
{
    uint64_t noise[512];

    for (unsigned i = 0; i < sizeof(noise) / sizeof(noise[0]); i++) {
        noise[i] = rng_next(rng);
    }
    (void)send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    read_to_the_end(fd);
}

/* A request cut off by a reset. */
static void vanish(int fd, struct rng *rng)
{
    struct linger reset = {.l_onoff = 1};

    say(fd, rng_chance(rng, 50) ? "GET /metr" : "GET /api/sessions HTTP/1.1\r\nHost: a\r\n\r\n");
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static void ask_without_reading(int fd, struct rng *rng)
{
    const char *request = rng_chance(rng, 50) ? "GET /api/sessions HTTP/1.1\r\nHost: a\r\n\r\n"
                                              : "GET /api/flows HTTP/1.1\r\nHost: a\r\n\r\n";
    int least = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
    for (int i = 0; i < 50; i++) {
        say(fd, request);
    }
    bed_pause_ms((unsigned)rng_below(rng, 300));
}

static void promise_a_body(int fd, struct rng *rng)
{
    say(fd, rng_chance(rng, 50)
                ? "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"
                : "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n");
    say(fd, huge);
    read_to_the_end(fd);
}

static void attack_on_and_on(struct rng *rng)
{
    static void (*const attacks[])(int fd, struct rng *rng) = {
        ask_for_nothing, send_huge_header,    send_many_headers, send_noise,
        vanish,          ask_without_reading, promise_a_body,
    };

    for (;;) {
        int fd = visit();
        attacks[rng_below(rng, sizeof(attacks) / sizeof(attacks[0]))](fd, rng);
        close(fd);
    }
}

static pid_t attacker_start(uint64_t seed)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct rng rng;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        rng_init(&rng, seed);
        attack_on_and_on(&rng);
    }
    return pid;
}

/* ------------------------------------------------------------------------------------------------------------ */

static void expect_within_limits(pid_t exporter)
{
    cr_expect_leq(bed_count_descriptors(exporter), VISITORS_MAX + 8);
#ifndef PENSTOCK_NO_JEMALLOC
    cr_expect_leq(bed_proc_status(exporter, "VmHWM"), MEMORY_MAX_KIB);
#endif
}

Test(exporter_storm, leaves_traffic_alone)
{
    pid_t attackers[ATTACKERS];
    struct origin origin = origin_start("auto");
    struct load_totals totals = {0};

    port = bed_reserve_port("127.0.0.1");
    memset(huge, 'x', sizeof(huge) - 1);
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", origin.port),
        .more = bed_format("exporter: { listen: 127.0.0.1:%u }\n", port),
    });
    pid_t exporter = bed_child_named(bed.penstock, "exporter");
    struct bed_process idle =
        load_start(bed_format("idle --connections 1000 --touch --verify --seconds %d", SECONDS));
    struct bed_process streams =
        load_start(bed_format("streams --connections 20 --max-bytes 1M --seconds %d", SECONDS));
    for (unsigned i = 0; i < ATTACKERS; i++) {
        attackers[i] = attacker_start(i);
    }
    while (kill(streams.pid, 0) == 0 && bed_count(bed_read_file(streams.out), "}") == 0) {
        size_t texts = bed_mark();
        cr_expect_gt(metrics_parse(http_body(port, "/metrics"), false), 60);
        expect_within_limits(exporter);
        bed_release(texts);
        bed_pause_ms(50);
    }
    load_totals_add(&totals, load_finish(&streams));
    load_totals_add(&totals, load_finish(&idle));
    for (unsigned i = 0; i < ATTACKERS; i++) {
        cr_assert_eq(kill(attackers[i], SIGKILL), 0);
        (void)bed_wait(attackers[i]);
    }
    load_totals_expect(&totals);
    cr_expect_eq(http_status(port, "/healthz"), 200);
    cr_expect_eq(bed_child_named(bed.penstock, "exporter"), exporter, "it died: %s", penstock_log());
    WAIT_UNTIL(bed_count_descriptors(exporter) <= 5);
    fprintf(stderr, "exporter_storm: %lu KiB at most\n", (unsigned long)bed_proc_status(exporter, "VmHWM"));
    bed_end();
}
