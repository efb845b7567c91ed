/* A new configuration under traffic: new sessions follow it, old ones do not notice; a wrong one changes nothing. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(reload, 90);

enum { RELOADS = 30 };

static const char *configure_server(uint16_t port)
{
    return penstock_configure(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port)});
}

Test(reload, new_sessions_go_to_the_new_server)
{
    uint16_t ports[2];
    int listeners[2] = {net_listen(&ports[0], 64), net_listen(&ports[1], 64)};

    penstock_start_to(ports[0]);
    struct net_pair old = net_pair(listeners[0]);
    configure_server(ports[1]);
    cr_assert_eq(penstock_reload(), 0);
    cr_assert_eq(penstock_number("generation"), 2);
    for (int i = 0; i < 10; i++) {
        struct net_pair new = net_pair(listeners[1]);
        net_exchange(&new);
        net_exchange(&old);
    }
    cr_assert(!net_has_connection(listeners[0]));
    const char *status = penstock_status();
    cr_assert_eq(json_number(status, "servers.0.current"), 0);
    cr_assert_eq(json_number(status, "servers.0.sessions"), 1, "the old one keeps its row");
    cr_assert_eq(json_number(status, "servers.1.sessions"), 10);
    net_close(&old);
    WAIT_UNTIL(penstock_number("servers.0.sessions") == 0);
    WAIT_UNTIL(strstr(penstock_access_log(), bed_format("app/127.0.0.1:%u", ports[0])) != NULL);
    bed_end();
}

Test(reload, again_and_again_under_load)
{
    struct origin origins[2] = {origin_start("auto"), origin_start("auto")};

    penstock_start_to(origins[0].port);
    struct bed_process streams =
        load_start("streams --connections 50 --seconds 4 --max-bytes 1M --slow-readers 10");
    WAIT_UNTIL(penstock_number("sessions") > 0);
    for (unsigned i = 1; i <= RELOADS; i++) {
        configure_server(origins[i % 2].port);
        cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
        bed_pause_ms(20);
    }
    const char *figures = load_finish(&streams);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    cr_assert_eq(json_number(status, "generation"), 1 + RELOADS);
    cr_assert_eq(json_number(status, "stats.accepted"), json_number(figures, "opened"));
    cr_assert_eq(json_number(status, "client_bytes"), json_number(figures, "bytes_up"));
    cr_assert(json_number(status, "servers.0.connects") > 0 && json_number(status, "servers.1.connects") > 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(json_number(origin_stop(&origins[i]), "mismatches"), 0);
    }
    bed_end();
}

Test(reload, wrong_file_changes_nothing)
{
    int listener = penstock_start_to_test(NULL);
    struct net_pair old = net_pair(listener);
    const char *right = bed_read_file(bed_path("penstock.yaml"));

    bed_write_file(bed_path("penstock.yaml"), bed_format("%s\nlimitz: 1\n", right));
    cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
    WAIT_UNTIL(penstock_number("reloads_failed") == 1);
    WAIT_UNTIL(strstr(penstock_log(), "event=reload_failed") != NULL);
    unsigned lines = bed_count(right, "\n") + 2;
    cr_assert(strstr(penstock_log(), bed_format("penstock.yaml:%u:1: ", lines)) != NULL, "%s",
              penstock_log());
    cr_assert(strstr(penstock_log(), "unknown key 'limitz'") != NULL);
    cr_assert_eq(penstock_number("generation"), 1);
    struct net_pair new = net_pair(listener);
    net_exchange(&new);
    net_exchange(&old);
    /* The command says so, too; and a right file is taken all the same. */
    cr_assert_neq(penstock_reload(), 0);
    bed_write_file(bed_path("penstock.yaml"), right);
    cr_assert_eq(penstock_reload(), 0);
    cr_assert_eq(penstock_number("generation"), 2);
    net_exchange(&old);
    bed_end();
}

/* A listener that comes serves at once; one that goes finishes what it has, and its sessions stay. */
Test(reload, listeners_come_and_go)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    const char *old = bed_format("127.0.0.1:%u", bed.port);
    const char *new = bed_format("127.0.0.1:%u", bed_reserve_port("127.0.0.1"));

    penstock_start_to(port);
    struct net_pair pair = net_pair(listener);
    penstock_reload_with(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .bind = new});
    struct net_pair other = {net_connect_to(new), net_accept(listener)};
    net_exchange(&other);
    net_exchange(&pair);
    WAIT_UNTIL(!net_can_connect(old));
    net_exchange(&pair);
    penstock_reload_with(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .bind = old});
    struct net_pair again = net_pair(listener);
    net_exchange(&again);
    net_exchange(&pair);
    net_exchange(&other);
    WAIT_UNTIL(!net_can_connect(new));
    bed_end();
}

/* What cannot be opened leaves all as it was. */
Test(reload, a_taken_port_changes_nothing)
{
    uint16_t port, taken;
    int listener = net_listen(&port, 64);

    net_listen(&taken, 1);
    penstock_start_to(port);
    penstock_configure(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", port),
        .bind = bed_format("127.0.0.1:%u, 127.0.0.1:%u", bed_reserve_port("127.0.0.1"), taken)});
    cr_assert_neq(penstock_reload(), 0);
    cr_assert(strstr(penstock_log(), bed_format("event=listen_failed address=127.0.0.1:%u", taken)) != NULL,
              "%s", penstock_log());
    cr_assert_eq(penstock_number("reloads_failed"), 1);
    cr_assert_eq(penstock_number("generation"), 1);
    struct net_pair pair = net_pair(listener);
    net_exchange(&pair);
    bed_end();
}

Test(reload, timeouts_hold_for_living_sessions)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    penstock_start_to(port);
    struct net_pair old = net_pair(listener);
    net_exchange(&old);
    penstock_reload_with(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .timeouts = "idle: 200ms"});
    struct net_pair new = net_pair(listener);
    net_exchange(&new);
    net_expect_eof(new.client);
    WAIT_UNTIL(penstock_number("closes.idle_timeout") >= 1);
    bed_end();
}

static void configure_workers(uint16_t server_port, unsigned workers)
{
    penstock_configure(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", server_port), .workers = workers});
}

/* A worker that goes keeps its sessions to their end; one that comes back begins anew. */
Test(reload, workers_come_and_go)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    struct net_pair pairs[40];

    configure_workers(port, 1);
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .workers = 1});
    struct net_pair first = net_pair(listener);
    configure_workers(port, 4);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    for (int i = 0; i < 40; i++) {
        pairs[i] = net_pair(listener);
        net_exchange(&pairs[i]);
    }
    cr_assert_gt(penstock_number("workers.3.sessions"), 0, "%s", penstock_status());
    configure_workers(port, 2);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    cr_assert_eq(penstock_number("sessions_draining"),
                 penstock_number("workers.2.sessions") + penstock_number("workers.3.sessions"));
    kill(penstock_worker(3), SIGKILL);
    for (int i = 0; i < 40; i++) {
        net_exchange(&pairs[i]);
        net_close(&pairs[i]);
    }
    WAIT_UNTIL(penstock_number("workers.2.pid") == 0 && penstock_number("workers.3.pid") == 0);
    net_exchange(&first);
    configure_workers(port, 3);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
    for (int i = 0; i < 40; i++) {
        pairs[i] = net_pair(listener);
        net_exchange(&pairs[i]);
    }
    cr_assert_gt(penstock_number("workers.2.sessions"), 0, "%s", penstock_status());
    net_exchange(&first);
    bed_end();
}

/* A worker that is not wanted any more before it has begun leaves nobody in the queues it was to take from. */
Test(reload, more_workers_and_at_once_less_again)
{
    struct origin origin = origin_start("auto");

    configure_workers(origin.port, 1);
    penstock_start(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port), .workers = 1});
    struct bed_process connects = load_start("connect --connections 20 --seconds 6");
    WAIT_UNTIL(penstock_number("stats.accepted") > 20);
    for (unsigned i = 0; i < 24; i++) {
        configure_workers(origin.port, i % 2 == 0 ? 4 : 1);
        cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
        bed_pause_ms(i % 2 == 0 ? i % 5 : 150);
    }
    configure_workers(origin.port, 1);
    WAIT_UNTIL(penstock_reload() == 0);
    (void)loads_expect(&connects, 1);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
}

/* What is settled at start is told by its key; the rest of time_wait may change. */
Test(reload, refuses_a_time_wait_that_needs_a_restart)
{
    static const char *const keys[][2] = {
        {"mode", "kernel"},
        {"two_msl", "30s, cgroup: /none"},
        {"cgroup", "/other"},
        {"tcp_max_tw_buckets", "0, cgroup: /none"},
    };
    struct penstock_config config = {.servers = "127.0.0.1:9",
                                     .more = "time_wait: { cgroup: /none }\n"}; /* the kernel keeps it */

    penstock_start(&config);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        config.more = bed_format("time_wait: { %s: %s }\n", keys[i][0], keys[i][1]);
        penstock_configure(&config);
        cr_assert_neq(penstock_reload(), 0, "%s", keys[i][0]);
        WAIT_UNTIL(strstr(penstock_log(),
                          bed_format("event=reload_refused key=\"time_wait.%s\"", keys[i][0])) != NULL);
    }
    config.more = "time_wait: { interfaces: [ lo ], cgroup: /none }\n";
    penstock_reload_with(&config);
    bed_end();
}

/* A second SIGHUP while the first is carried out is followed, too, by the file as it is then. */
Test(reload, again_before_the_last_is_through)
{
    struct origin origin = origin_start("auto");
    struct penstock_config config = {.servers = bed_format("127.0.0.1:%u", origin.port), .workers = 2};

    penstock_start(&config);
    cr_assert_eq(kill(penstock_worker(1), SIGSTOP), 0); /* it takes no image */
    for (unsigned i = 0; i < 3; i++) {
        config.limits = bed_format("sessions: %u, buffers: 64MiB", 500 + i);
        penstock_configure(&config);
        cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
        bed_pause_ms(50);
    }
    cr_assert_eq(kill(penstock_worker(1), SIGCONT), 0);
    WAIT_UNTIL(penstock_number("sessions_limit") == 502);
    cr_expect_eq(penstock_number("reloads_failed"), 0, "%s", penstock_log());
    bed_end();
}

/* Nobody who connects, and no stream, notices that workers come and go, or listeners beside his. */
Test(reload, nobody_notices_workers_come_and_go)
{
    static const unsigned workers[] = {4, 2, 1, 3};
    struct origin origin = origin_start("auto");
    uint16_t spare = bed_reserve_port("127.0.0.1");

    penstock_start_to(origin.port);
    struct bed_process connects = load_start("connect --connections 20 --seconds 12");
    struct bed_process streams =
        load_start("streams --connections 50 --seconds 12 --max-bytes 1M --slow-readers 10");
    WAIT_UNTIL(penstock_number("sessions") > 20);
    for (unsigned i = 0; i < 8; i++) {
        penstock_configure(&(struct penstock_config){
            .servers = bed_format("127.0.0.1:%u", origin.port),
            .bind = i % 2 == 0 ? bed_format("127.0.0.1:%u, 127.0.0.1:%u", bed.port, spare)
                               : bed_format("127.0.0.1:%u", bed.port),
            .limits = i % 3 == 0 ? "sessions: 2000, buffers: 16MiB" : NULL,
            .workers = workers[i % 4]});
        WAIT_UNTIL(penstock_reload() == 0);
        bed_pause_ms(100);
    }
    struct load_totals totals = {0};
    load_totals_add(&totals, load_finish(&connects));
    load_totals_add(&totals, load_finish(&streams));
    load_totals_expect(&totals);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
}

/* What lost its server has `timeouts.drain` to end. */
Test(reload, drain_ends_what_is_left)
{
    uint16_t ports[2];
    int listeners[2] = {net_listen(&ports[0], 64), net_listen(&ports[1], 64)};
    struct penstock_config config = {.servers = bed_format("127.0.0.1:%u", ports[0]),
                                     .timeouts = "drain: 500ms"};

    penstock_start(&config);
    struct net_pair old = net_pair(listeners[0]);
    config.servers = bed_format("127.0.0.1:%u", ports[1]);
    penstock_reload_with(&config);
    struct net_pair kept = net_pair(listeners[1]);
    net_expect_reset(old.client);
    WAIT_UNTIL(penstock_number("closes.stopped") == 1);
    cr_assert_eq(penstock_number("sessions_draining"), 0);
    net_exchange(&kept);
    bed_end();
}
