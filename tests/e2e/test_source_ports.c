/* Where connections to servers come from: addresses, ranges, exhaustion, and who may use a port again. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_product.h"

BED_SUITE(source_ports, 120);

/* A range within the host's, whose ports are windows, and one outside, whose ports are bound. */
enum { WINDOW_LOW = 40000, BOUND_LOW = 20000 };

static const uint16_t ranges[] = {WINDOW_LOW, BOUND_LOW};

static void begin(void)
{
    if (!net_isolate()) {
        cr_skip("needs a network namespace, thus root");
    }
    bed.port = bed_reserve_port("127.0.0.1"); /* the first one is of the other namespace */
}

/* The other end of an accepted connection. */
static uint16_t source_of(int fd, char text[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);

    cr_assert_eq(getpeername(fd, (struct sockaddr *)&address, &length), 0);
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
        return ntohs(v6->sin6_port);
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
    return ntohs(v4->sin_port);
}

static int listen_v6(uint16_t *port)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *port = bed_bind(fd, "::1");
    cr_assert_eq(listen(fd, 16), 0);
    return fd;
}

static uint64_t exhausted(void)
{
    return penstock_number("stats.ports_exhausted");
}

static void several_addresses(uint16_t low)
{
    enum { SESSIONS = 24 };
    char text[INET6_ADDRSTRLEN];
    unsigned second = 0;
    uint16_t port;
    int listener = net_listen(&port, SESSIONS);

    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", port),
        .pool = bed_format("source: { addresses: [ 127.0.0.2, 127.0.0.3 ], ports: %u-%u }", low, low + 99)});
    for (int i = 0; i < SESSIONS; i++) {
        struct net_pair pair = net_pair(listener);
        uint16_t source = source_of(pair.server, text);
        cr_expect(source >= low && source <= low + 99, "port %u", source);
        cr_expect(strcmp(text, "127.0.0.2") == 0 || strcmp(text, "127.0.0.3") == 0, "address %s", text);
        second += strcmp(text, "127.0.0.3") == 0;
        net_exchange(&pair);
    }
    cr_expect(second > 0 && second < SESSIONS, "%u of %d came from the second", second, SESSIONS);
    cr_expect_eq(penstock_number("stats.ports_refused"), 0);
    cr_expect_eq(exhausted(), 0);
}

Test(source_ports, several_addresses_by_windows)
{
    begin();
    several_addresses(WINDOW_LOW);
    bed_end();
}

Test(source_ports, several_addresses_of_bound_ports)
{
    begin();
    several_addresses(BOUND_LOW);
    bed_end();
}

Test(source_ports, the_servers_family_decides)
{
    char text[INET6_ADDRSTRLEN];
    uint16_t port, port6;

    begin();
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        int listener = net_listen(&port, 4);
        int listener6 = listen_v6(&port6);
        penstock_start(&(struct penstock_config){
            .workers = 1,
            .servers = bed_format("127.0.0.1:%u, \"[::1]:%u\"", port, port6),
            .pool = bed_format("source: { addresses: [ \"::1\", 127.0.0.9 ], ports: %u-%u }", ranges[i],
                               ranges[i] + 9)});
        int first = net_connect(bed.port);
        int server = net_accept(listener);
        cr_expect_geq(source_of(server, text), ranges[i]);
        cr_expect_str_eq(text, "127.0.0.9");
        int second = net_connect(bed.port);
        int server6 = net_accept(listener6);
        cr_expect_geq(source_of(server6, text), ranges[i]);
        cr_expect_str_eq(text, "::1");
        close(first);
        close(second);
        close(server);
        close(server6);
        cr_assert_eq(penstock_stop(SIGTERM), 0);
        close(listener);
        close(listener6);
    }
    bed_end();
}

/* 127.0.0.0/8 is all of this machine, 192.0.2.0/24 is not. */
Test(source_ports, an_address_that_is_not_there_is_passed_over)
{
    char text[INET6_ADDRSTRLEN];
    uint16_t port;

    begin();
    int listener = net_listen(&port, 16);
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port),
                                             .pool = "source: { addresses: [ 192.0.2.1, 127.0.0.4 ] }"});
    for (int i = 0; i < 8; i++) {
        struct net_pair pair = net_pair(listener);
        source_of(pair.server, text);
        cr_expect_str_eq(text, "127.0.0.4");
    }
    cr_expect_not_null(strstr(penstock_log(), "event=source_failed source=192.0.2.1 error"));
    bed_end();
}

/* Two ports: the third session goes to the other server, the fifth waits for a port or ends. */
static void exhaustion(uint16_t low)
{
    uint16_t port_a, port_b;
    int a = net_listen(&port_a, 16);
    int b = net_listen(&port_b, 16);
    struct net_pair pairs[4];

    penstock_start(&(struct penstock_config){
        .workers = 1,
        .servers = bed_format("{ address: \"127.0.0.1:%u\", weight: 256 }, 127.0.0.1:%u", port_a, port_b),
        .pool = bed_format("source: { ports: %u-%u }", low, low + 1)});
    for (int i = 0; i < 4; i++) {
        pairs[i] = net_pair(i < 2 ? a : b);
        net_exchange(&pairs[i]);
    }
    cr_expect_eq(penstock_number("servers.0.ports_exhausted"), 2);
    cr_expect_eq(penstock_number("servers.1.ports_exhausted"), 0);
    cr_expect_eq(exhausted(), 2);
    cr_expect_eq(penstock_number("stats.connect_failures"), 0);
    cr_expect_not_null(
        strstr(penstock_log(), bed_format("event=ports_exhausted pool=app server=127.0.0.1:%u", port_a)));

    int fifth = net_connect(bed.port);
    WAIT_UNTIL(penstock_number("servers.1.ports_exhausted") == 1);
    net_reset(pairs[0].server); /* leaves no TIME_WAIT */
    net_expect_reset(pairs[0].client);
    pairs[0] = (struct net_pair){.client = fifth, .server = net_accept(a)};
    net_exchange(&pairs[0]);

    int sixth = net_connect(bed.port);
    net_expect_reset(sixth);
    WAIT_UNTIL(penstock_number("closes.no_source_port") == 1);
    WAIT_UNTIL(strstr(penstock_access_log(), " no_source_port ") != NULL);
    cr_expect_eq(penstock_number("stats.ports_refused"), 0);
    for (int i = 0; i < 4; i++) {
        net_exchange(&pairs[i]);
    }
}

Test(source_ports, exhaustion_of_windows_goes_to_another_server)
{
    begin();
    exhaustion(WINDOW_LOW);
    bed_end();
}

Test(source_ports, exhaustion_of_bound_ports_goes_to_another_server)
{
    begin();
    exhaustion(BOUND_LOW);
    bed_end();
}

/* Another program has the port toward the server: the kernel says so, the next is tried. */
Test(source_ports, a_port_of_somebody_else_is_found_out)
{
    uint16_t port;

    begin();
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        int listener = net_listen(&port, 16);
        int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ranges[i])};
        int on = 1;
        setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        cr_assert_eq(bind(other, (struct sockaddr *)&address, sizeof(address)), 0);
        address = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
        cr_assert_eq(connect(other, (struct sockaddr *)&address, sizeof(address)), 0);
        int theirs = net_accept(listener);

        penstock_start(&(struct penstock_config){
            .workers = 1,
            .servers = bed_format("127.0.0.1:%u", port),
            .pool = bed_format("source: { ports: %u-%u }", ranges[i], ranges[i] + 3)});
        struct net_pair pairs[3];
        for (int k = 0; k < 3; k++) {
            pairs[k] = net_pair(listener);
            net_exchange(&pairs[k]);
        }
        int fourth = net_connect(bed.port); /* at the latest this one tries it */
        WAIT_UNTIL(penstock_number("stats.ports_refused") >= 1);
        cr_expect_eq(penstock_number("stats.connect_failures"), 0);
        cr_assert_eq(penstock_stop(SIGINT), 0);
        close(fourth);
        for (int k = 0; k < 3; k++) {
            close(pairs[k].client);
            close(pairs[k].server);
        }
        close(theirs);
        close(other);
        close(listener);
    }
    bed_end();
}

Test(source_ports, reserved_ports_are_left_out)
{
    enum { PORTS = 8 };
    char text[INET6_ADDRSTRLEN];
    uint16_t port;

    begin();
    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range", "40000 40007");
    bed_write_file("/proc/sys/net/ipv4/ip_local_reserved_ports", "40001,40003-40006");
    int listener = net_listen(&port, 16);
    penstock_start(&(struct penstock_config){.workers = 1,
                                             .bind = bed_format("\"unix:%s/in\"", bed.dir),
                                             .servers = bed_format("127.0.0.1:%u", port)});
    for (int i = 0; i < 3; i++) {
        (void)net_connect_to(bed_format("unix:%s/in", bed.dir));
        uint16_t source = source_of(net_accept(listener), text);
        cr_expect(source == 40000 || source == 40002 || source == 40007, "port %u", source);
    }
    int client = net_connect_to(bed_format("unix:%s/in", bed.dir));
    WAIT_UNTIL(exhausted() == 1);
    cr_expect_eq(penstock_number("stats.ports_refused"), 0);
    close(client);
    bed_end();
}

static void configure(uint16_t port, unsigned workers, unsigned low, unsigned high)
{
    penstock_configure(&(struct penstock_config){.workers = workers,
                                                 .servers = bed_format("127.0.0.1:%u", port),
                                                 .pool = bed_format("source: { ports: %u-%u }", low, high)});
}

Test(source_ports, a_reload_changes_the_range_and_the_workers)
{
    enum { EACH = 6 };
    static const struct {
        unsigned workers, low, high;
    } steps[] = {{2, 20000, 20099},
                 {2, 40000, 40099},
                 {3, 40000, 40099},
                 {1, 40050, 40079}}; /* 12 may be in use before */
    struct net_pair pairs[4][EACH];
    char text[INET6_ADDRSTRLEN];
    uint16_t port;

    begin();
    int listener = net_listen(&port, 16);
    for (int step = 0; step < 4; step++) {
        configure(port, steps[step].workers, steps[step].low, steps[step].high);
        if (step == 0) {
            penstock_start(&(struct penstock_config){
                .servers = bed_format("127.0.0.1:%u", port),
                .pool = bed_format("source: { ports: %u-%u }", steps[0].low, steps[0].high)});
        } else {
            cr_assert_eq(penstock_reload(), 0);
        }
        for (int i = 0; i < EACH; i++) {
            pairs[step][i] = net_pair(listener);
            uint16_t source = source_of(pairs[step][i].server, text);
            cr_expect(source >= steps[step].low && source <= steps[step].high, "step %d: port %u", step,
                      source);
        }
    }
    for (int step = 0; step < 4; step++) {
        net_exchange_all(pairs[step], EACH);
    }
    cr_expect_eq(penstock_number("stats.connect_failures"), 0);
    bed_end();
}

/* All ports but one are in use when the worker dies: the next incarnation finds that one, and then none. */
Test(source_ports, a_death_forgets_no_port_that_is_in_use)
{
    enum { PORTS = 20 };
    struct net_pair pairs[PORTS];
    uint16_t port;

    begin();
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        int listener = net_listen(&port, 32);
        penstock_start(
            &(struct penstock_config){.workers = 1,
                                      .servers = bed_format("127.0.0.1:%u", port),
                                      .pool = bed_format("source: { addresses: [ 127.0.0.1 ], ports: %u-%u }",
                                                         ranges[i], ranges[i] + PORTS - 1)});
        for (int k = 0; k < PORTS - 1; k++) {
            pairs[k] = net_pair(listener);
        }
        cr_assert_eq(kill(penstock_worker(0), SIGKILL), 0);
        WAIT_UNTIL(penstock_number("workers.0.deaths") == 1);
        pairs[PORTS - 1] = net_pair(listener);
        net_exchange_all(pairs, PORTS);
        cr_expect_eq(penstock_number("stats.ports_refused"), 0, "the flow table knew");
        int client = net_connect(bed.port);
        WAIT_UNTIL(exhausted() == 1);
        net_reset(pairs[3].server);
        net_expect_reset(pairs[3].client);
        int server = net_accept(listener);
        net_pass(client, server, "at last");
        cr_assert_eq(penstock_stop(SIGINT), 0);
        for (int k = 0; k < PORTS; k++) {
            close(pairs[k].client);
            close(pairs[k].server);
        }
        close(client);
        close(server);
        close(listener);
    }
    bed_end();
}

/* --- Sixty thousand connections to one server from ten thousand ports --- */

enum { RANGE = 10000, CONNECTS = 60000, FIRST_CONNECTS = 9000 };

static struct bed_process start_load(uint64_t count)
{
    const char *argv[] = {bed_bench_path("load"),
                          "connect",
                          "--connect",
                          bed_format("unix:%s/in", bed.dir), /* clients take no ports */
                          "--connections",
                          "64",
                          "--count",
                          bed_format("%lu", (unsigned long)count),
                          "--json",
                          NULL};

    return bed_spawn(argv, NULL);
}

static void end_load(const struct bed_process *process)
{
    cr_assert_eq(bed_wait(process->pid), 0, "%s%s", bed_read_file(process->out), bed_read_file(process->err));
}

/* Every worker dies, one after the other, when about so many connections have been made. */
static void kill_workers(unsigned workers, uint64_t connects)
{
    for (unsigned i = 0; i < workers; i++) {
        WAIT_UNTIL(penstock_number("stats.connects") >= connects + i * RANGE);
        cr_assert_eq(kill(penstock_worker(i), SIGKILL), 0);
        WAIT_UNTIL(penstock_number(bed_format("workers.%u.deaths", i)) == 1);
    }
}

static double busy_us(unsigned workers)
{
    double sum = 0;

    for (unsigned i = 0; i < workers; i++) {
        sum += (double)penstock_number(bed_format("workers.%u.busy_us", i));
    }
    return sum;
}

static void sixty_thousand(struct penstock_config config, bool deaths)
{
    enum { WORKERS = 2 };
    struct bed_process origin;
    uint16_t port = bed_reserve_port("127.0.0.1");
    const char *argv[] = {bed_bench_path("origin"), "--listen", bed_format("127.0.0.1:%u", port), NULL};

    origin = bed_spawn(argv, NULL);
    WAIT_UNTIL(net_can_connect(bed_format("127.0.0.1:%u", port)));
    config.workers = WORKERS;
    config.limits = "sessions: 2000, buffers: 64MiB, flows: 400000";
    config.bind = bed_format("\"unix:%s/in\"", bed.dir);
    config.servers = bed_format("127.0.0.1:%u", port);
    penstock_start(&config);
    struct bed_process load = start_load(FIRST_CONNECTS);
    end_load(&load);
    bed_pause_ms(1100); /* busy_us is counted once a second */
    double empty_us = busy_us(WORKERS) / FIRST_CONNECTS;
    load = start_load(CONNECTS - FIRST_CONNECTS);
    if (deaths) {
        kill_workers(WORKERS, 2 * RANGE);
    }
    end_load(&load);
    bed_pause_ms(1100);
    double full_us = (busy_us(WORKERS) - empty_us * FIRST_CONNECTS) / (CONNECTS - FIRST_CONNECTS);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    uint64_t refused = json_number(status, "stats.ports_refused");
    fprintf(
        stderr,
        "source_ports: CPU a session: %.1f us while ports are fresh, %.1f us through TIME_WAITs, ratio %.2f; "
        "%lu ports refused, %lu borrowed, no port %lu times, %lu without a flow entry\n",
        empty_us, full_us, full_us / empty_us, (unsigned long)refused,
        (unsigned long)json_number(status, "stats.port_fallbacks"),
        (unsigned long)json_number(status, "stats.ports_exhausted"),
        (unsigned long)json_number(status, "stats.flow_failures"));
    cr_expect_eq(json_number(status, "stats.connects"), CONNECTS, "%s", status);
    cr_expect_eq(json_number(status, "stats.connect_failures"), 0);
    cr_expect_eq(json_number(status, "closes.no_source_port"), 0);
    cr_expect_lt(refused, CONNECTS / 50, "tries for a connect: 1 + %lu / %d", (unsigned long)refused,
                 CONNECTS);
    cr_assert_eq(kill(origin.pid, SIGTERM), 0);
}

static void use_windows(void)
{
    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range",
                   bed_format("%u %u", WINDOW_LOW, WINDOW_LOW + RANGE - 1));
}

static const char *bound_ports(void)
{
    return bed_format("source: { ports: %u-%u }", BOUND_LOW, BOUND_LOW + RANGE - 1);
}

static void sixty_thousand_by_windows(bool deaths)
{
    begin();
    use_windows();
    sixty_thousand((struct penstock_config){0}, deaths);
    bed_end();
}

static void sixty_thousand_of_bound_ports(bool deaths)
{
    begin();
    sixty_thousand((struct penstock_config){.pool = bound_ports()}, deaths);
    bed_end();
}

Test(source_ports, sixty_thousand_by_windows)
{
    sixty_thousand_by_windows(false);
}

Test(source_ports, sixty_thousand_of_bound_ports)
{
    sixty_thousand_of_bound_ports(false);
}

Test(source_ports, sixty_thousand_by_windows_through_deaths)
{
    sixty_thousand_by_windows(true);
}

Test(source_ports, sixty_thousand_of_bound_ports_through_deaths)
{
    sixty_thousand_of_bound_ports(true);
}

/* --- The same where TIME_WAIT is Penstock's --- */

TestSuite(owned_ports, .init = product_begin, .fini = product_fini, .timeout = 120);

static void sixty_thousand_owned(const char *pool, const char *time_wait, bool deaths)
{
    struct penstock_config config = {.pool = pool, .more = time_wait, .before_exec = product_enter_cgroup};

    lab_use_all_cpus();
    sixty_thousand(config, deaths);
    cr_expect_not_null(strstr(penstock_log(), "event=time_wait mode=owned"), "%s", penstock_log());
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(owned_ports, sixty_thousand_by_windows)
{
    use_windows();
    sixty_thousand_owned(NULL, "time_wait: { tcp_max_tw_buckets: 0 }", false);
}

Test(owned_ports, sixty_thousand_of_bound_ports_beside_the_kernel)
{
    sixty_thousand_owned(bound_ports(), "time_wait: { mode: auto }", false);
}

Test(owned_ports, sixty_thousand_by_windows_through_deaths)
{
    use_windows();
    sixty_thousand_owned(NULL, "time_wait: { mode: auto }", true);
}
