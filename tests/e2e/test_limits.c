/* Limits: what comes beyond them waits in the kernel's queue and is served when there is room; nobody else notices. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum {
    CLIENTS = 100,
    FEW_DESCRIPTORS = 456, /* 78 sessions and what a worker has besides */
    LIMIT = 10,
    BEYOND = 5,
};

BED_SUITE(limits, 60);

static bool allow_few_descriptors(void)
{
    struct rlimit limit = {FEW_DESCRIPTORS, FEW_DESCRIPTORS};

    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* Accepts what comes until accepting is paused; returns how many. The order of servers is that of clients. */
static unsigned accept_until_paused(int listener, int *servers)
{
    unsigned count = 0;

    do {
        while (net_has_connection(listener)) {
            servers[count++] = net_accept(listener);
        }
        bed_pause_ms(2);
    } while (penstock_number("accept_paused") == 0 || penstock_number("sessions") != count);
    return count;
}

/* However often it was, the log says so once. */
static void expect_paused_for(const char *limit)
{
    cr_expect_eq(bed_count(penstock_log(), "event=accept_paused"), 1, "%s", penstock_log());
    cr_expect_not_null(strstr(penstock_log(), bed_format("event=accept_paused limit=%s ", limit)), "%s",
                       penstock_log());
    cr_expect_geq(penstock_number("stats.accept_pauses"), 1);
}

/* Ends the session of each client in turn; the ones that wait get in. */
static void serve_all(int listener, const int *clients, int *servers, unsigned served)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct net_pair pair = {clients[i], servers[i]};
        net_exchange(&pair);
        net_close(&pair);
        if (served < CLIENTS) {
            servers[served++] = net_accept(listener);
        }
    }
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("closes.client_closed"), CLIENTS, "%s", penstock_status());
}

/* Only one worker of four moves, so that it runs out of descriptors before all together reach the sessions limit. */
Test(limits, descriptors)
{
    uint16_t port;
    int listener = net_listen(&port, CLIENTS);
    int clients[CLIENTS];
    int servers[CLIENTS];
    const char *address = bed_format("unix:%s/in.sock", bed.dir);

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port),
                                             .bind = bed_format("\"%s\"", address),
                                             .limits = "sessions: 144, buffers: 64MiB",
                                             .workers = 4,
                                             .before_exec = allow_few_descriptors});
    for (unsigned slot = 1; slot < 4; slot++) {
        cr_assert_eq(kill(penstock_worker(slot), SIGSTOP), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = net_connect_to(address);
    }
    unsigned served = accept_until_paused(listener, servers);
    cr_assert(served > CLIENTS / 2 && served < CLIENTS, "%u served at once", served);
    cr_assert_eq(penstock_number("sessions"), served);
    serve_all(listener, clients, servers, served);
    expect_paused_for("descriptors");
    for (unsigned slot = 1; slot < 4; slot++) {
        cr_assert_eq(kill(penstock_worker(slot), SIGCONT), 0);
    }
    WAIT_UNTIL(penstock_number("accept_paused") == 0);
    bed_end();
}

static unsigned lowest_free_descriptor(pid_t pid)
{
    unsigned fd = 0;

    while (faccessat(AT_FDCWD, bed_format("/proc/%d/fd/%u", pid, fd), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        fd++;
    }
    return fd;
}

/* Where the kernel refuses a descriptor for the server's connection against all expectation, that client is reset;
 * nobody else notices. */
Test(limits, descriptors_taken_away)
{
    uint16_t port;
    int listener = net_listen(&port, CLIENTS);
    struct rlimit before;

    penstock_start(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .workers = 1, .user = "root"});
    struct net_pair first = net_pair(listener);
    cr_assert_eq(prlimit(penstock_worker(0), RLIMIT_NOFILE, NULL, &before), 0);
    struct rlimit few = {lowest_free_descriptor(penstock_keeper(0)), before.rlim_max};
    cr_assert_eq(prlimit(penstock_worker(0), RLIMIT_NOFILE, &few, NULL), 0, "%s", strerror(errno));
    int client = net_connect(bed.port); /* the armed accept has the former limit */
    net_expect_reset(client);
    WAIT_UNTIL(penstock_number("closes.no_resources") == 1);
    net_exchange(&first);
    cr_assert_eq(prlimit(penstock_worker(0), RLIMIT_NOFILE, &before, NULL), 0);
    struct net_pair second = net_pair(listener);
    net_exchange(&second);
    net_exchange(&first);
    bed_end();
}

Test(limits, sessions)
{
    uint16_t port;
    int listener = net_listen(&port, CLIENTS);
    int clients[CLIENTS];
    int servers[CLIENTS];

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port),
                                             .limits = bed_format("sessions: %d, buffers: 64MiB", LIMIT),
                                             .workers = 1});
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = net_connect(bed.port);
    }
    unsigned served = accept_until_paused(listener, servers);
    cr_assert_eq(served, LIMIT);
    cr_assert_eq(penstock_number("sessions"), LIMIT);
    serve_all(listener, clients, servers, served);
    expect_paused_for("sessions");
    bed_end();
}

Test(limits, sessions_of_all_workers_together)
{
    uint16_t port;
    int listener = net_listen(&port, CLIENTS);
    int clients[CLIENTS];
    int servers[CLIENTS];

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port),
                                             .limits = bed_format("sessions: %d, buffers: 64MiB", LIMIT)});
    for (int i = 0; i < CLIENTS; i++) { /* one after the other: no two workers take the last place at once */
        clients[i] = net_connect(bed.port);
        if (i < LIMIT) {
            servers[i] = net_accept(listener);
        }
    }
    WAIT_UNTIL(penstock_number("accept_paused") == 1);
    /* A worker may not yet have seen that the other took the last place. */
    cr_assert_leq(penstock_number("sessions"), LIMIT + 1);
    for (int i = 0; i < LIMIT; i++) {
        struct net_pair pair = {clients[i], servers[i]};
        net_exchange(&pair);
        close(clients[i]);
        close(servers[i]);
    }
    for (int i = LIMIT; i < CLIENTS; i++) {
        close(clients[i]);
    }
    for (int i = LIMIT; i < CLIENTS; i++) {
        close(net_accept(listener));
    }
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("stats.accepted"), CLIENTS);
    bed_end();
}

/* Where the room falls below what a listener's queue may hold, accepting goes on one by one. */
Test(limits, room_for_less_than_a_queue)
{
    struct origin origin = origin_start("auto");

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port),
                                             .limits = "sessions: 4200, buffers: 64MiB"});
    struct bed_process load = load_start("idle --connections 400 --touch --verify --seconds 1");
    WAIT_UNTIL(penstock_number("sessions") == 400);
    load_finish(&load);
    bed_end();
}

/* Connections that end are in TIME_WAIT for a minute. Those without a place are served all the same. */
static void end_many(const char *limits)
{
    struct origin origin = origin_start("auto");

    penstock_start(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port), .limits = limits});
    load_run(bed_format("connect --connections 1 --count %d", 2 * CLIENTS));
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_expect_eq(penstock_number("stats.accepted"), 2 * CLIENTS);
}

Test(limits, flows_for_all_time_waits)
{
    end_many("sessions: 10, flows: 1000, buffers: 64MiB");
    cr_expect_eq(penstock_number("stats.flow_failures"), 0);
    cr_expect_eq(penstock_number("flows.time_wait"), 2 * CLIENTS);
    bed_end();
}

Test(limits, flows_for_some_time_waits)
{
    end_many("sessions: 10, flows: 20, buffers: 64MiB");
    uint64_t capacity = penstock_number("flows.capacity");
    cr_expect_lt(capacity, 2 * CLIENTS);
    cr_expect_leq(penstock_number("flows.time_wait"), capacity);
    cr_expect_gt(penstock_number("stats.flow_failures"), 0);
    bed_end();
}

Test(limits, flows_above_the_load_advised)
{
    bed_write_file(bed_path("penstock.yaml"),
                   bed_format("name: %s\nlimits: { sessions: 100, flows: 250 }\n"
                              "listeners: [ { name: in, bind: 127.0.0.1:1, routes: [ { pool: out } ] } ]\n"
                              "pools: [ { name: out, servers: [ 127.0.0.1:2 ] } ]\n",
                              bed.name));
    const char *argv[] = {bed_penstock_path(), "check", "-c", bed_path("penstock.yaml"), NULL};
    struct bed_process process;
    cr_expect_eq(bed_run(argv, &process), 0, "%s", bed_read_file(process.err));
    cr_expect_not_null(
        strstr(bed_read_file(process.out), "advice: limits.flows: living sessions alone may fill 80 %"), "%s",
        bed_read_file(process.out));
    bed_end();
}
