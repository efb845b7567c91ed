/* Orders of an operator: a session is killed, a server is drained, taken down, weighted; the flow table is listed. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(orders, 90);

enum { SESSIONS = 6, WORDS_MAX = 8, LOADED = 120 };

static int listener;
static struct net_pair pairs[SESSIONS];

static void start(unsigned workers)
{
    listener = penstock_start_to_test(&(struct penstock_config){.workers = workers});
    for (int i = 0; i < SESSIONS; i++) {
        pairs[i] = net_pair(listener);
    }
    WAIT_UNTIL(penstock_number("phases.open") == SESSIONS);
}

static struct bed_process spawn(const char *const words[WORDS_MAX])
{
    const char *argv[WORDS_MAX + 4] = {bed_penstock_path(), words[0], "-n", bed.name};

    for (int i = 1; i < WORDS_MAX && words[i] != NULL; i++) {
        argv[3 + i] = words[i];
    }
    return bed_spawn(argv, NULL);
}

/* A command's output. */
#define RUN(expected, ...) run(expected, (const char *const[WORDS_MAX]){__VA_ARGS__})
static const char *run(int expected, const char *const words[WORDS_MAX])
{
    struct bed_process process = spawn(words);

    cr_assert_eq(bed_wait(process.pid), expected, "%s: %s", words[0], bed_read_file(process.err));
    return bed_read_file(expected == 0 ? process.out : process.err);
}

/* All but the killed ones. */
static void expect_unharmed(int from)
{
    for (int i = from; i < SESSIONS; i++) {
        net_exchange(&pairs[i]);
    }
    struct net_pair fresh = net_pair(listener);
    net_exchange(&fresh);
    close(fresh.client);
    close(fresh.server);
}

/* WORKER/SERIAL of the session. */
static const char *name_of(const struct net_pair *pair)
{
    const char *json = RUN(0, "sessions", "--json");
    const char *source = bed_format("\"127.0.0.1:%u\"", net_local_port(pair->client));

    for (unsigned i = 0;; i++) {
        const char *found = json_find(json, bed_format("%u.source", i));
        cr_assert_not_null(found, "%s is not in %s", source, json);
        if (strncmp(found, source, strlen(source)) == 0) {
            return bed_format("%lu/%lu", json_number(json, bed_format("%u.worker", i)),
                              json_number(json, bed_format("%u.serial", i)));
        }
    }
}

static void expect_killed(const struct net_pair *pair)
{
    net_expect_reset(pair->client);
    net_expect_reset(pair->server);
}

Test(orders, kill_idle_sessions)
{
    start(2);
    for (unsigned i = 0; i < 3; i++) {
        const char *name = name_of(&pairs[i]);
        cr_expect_not_null(strstr(RUN(0, "kill", name), name));
        expect_killed(&pairs[i]);
        WAIT_UNTIL(penstock_number("closes.killed") == i + 1);
        cr_expect_not_null(strstr(RUN(1, "kill", name), "there is no session"));
    }
    expect_unharmed(3);
    WAIT_UNTIL(bed_count(penstock_access_log(), " killed ") == 3);
    bed_end();
}

Test(orders, kill_a_busy_session)
{
    start(1);
    uint64_t lent = penstock_number("buffer_lent_bytes");
    pid_t writer = net_write_behind(pairs[0].client, 1, 64 << 20); /* more than all the buffers between */
    net_read_pattern(pairs[0].server, 1, 2 << 20);
    (void)RUN(0, "kill", name_of(&pairs[0]));
    cr_expect_neq(bed_wait(writer), 0, "cut off");
    WAIT_UNTIL(penstock_number("sessions") == SESSIONS - 1);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == lent);
    cr_expect_eq(penstock_number("closes.killed"), 1);
    expect_unharmed(1);
    bed_end();
}

Test(orders, kill_what_is_not_there)
{
    start(2);
    cr_expect_not_null(strstr(RUN(1, "kill", "0/4711"), "there is no session 0/4711"));
    cr_expect_not_null(strstr(RUN(1, "kill", "100/0"), "there is no session"));
    cr_expect_not_null(strstr(RUN(2, "kill", "web"), "WORKER/SERIAL"));
    cr_expect_not_null(strstr(RUN(2, "kill", "0/"), "WORKER/SERIAL"));
    cr_expect_not_null(strstr(RUN(2, "kill", "-1"), "cannot understand"));
    cr_expect_not_null(strstr(RUN(2, "kill"), "missing"));
    cr_expect_not_null(strstr(RUN(2, "kill", "0/1", "0/2"), "cannot understand"));
    expect_unharmed(0);
    cr_expect_eq(penstock_number("closes.killed"), 0);
    bed_end();
}

Test(orders, a_serial_alone_will_do_where_one_worker_has_it)
{
    start(1);
    const char *name = name_of(&pairs[0]);
    cr_expect_not_null(strstr(RUN(0, "kill", strchr(name, '/') + 1), name));
    expect_killed(&pairs[0]);
    expect_unharmed(1);
    bed_end();
}

/* The order waits for the next incarnation, whether the dead one has begun with it or not. */
Test(orders, kill_outlives_the_worker)
{
    start(1);
    for (unsigned i = 0; i < 3; i++) {
        const char *name = name_of(&pairs[i]);
        pid_t worker = penstock_worker(0);
        cr_assert_eq(kill(worker, SIGSTOP), 0);
        struct bed_process process = spawn((const char *const[WORDS_MAX]){"kill", name});
        cr_assert_eq(kill(worker, SIGKILL), 0);
        cr_expect_eq(bed_wait(process.pid), 0, "%s", bed_read_file(process.err));
        expect_killed(&pairs[i]);
    }
    WAIT_UNTIL(penstock_number("closes.killed") == 3);
    expect_unharmed(3);
    bed_end();
}

Test(orders, several_at_once)
{
    struct bed_process processes[SESSIONS - 1];

    start(1);
    for (int i = 0; i < SESSIONS - 1; i++) {
        processes[i] = spawn((const char *const[WORDS_MAX]){"kill", name_of(&pairs[i])});
    }
    for (int i = 0; i < SESSIONS - 1; i++) {
        cr_expect_eq(bed_wait(processes[i].pid), 0, "%s", bed_read_file(processes[i].err));
        expect_killed(&pairs[i]);
    }
    WAIT_UNTIL(penstock_number("closes.killed") == SESSIONS - 1);
    expect_unharmed(SESSIONS - 1);
    bed_end();
}

/* --- Servers ------------------------------------------------------------------------------------------------ */

static struct origin origins[2];

static const char *server_name(int index)
{
    return bed_format("app/127.0.0.1:%u", origins[index].port);
}

static const char *configure(const char *pool)
{
    return penstock_configure(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, { address: \"127.0.0.1:%u\", weight: 1 }", origins[0].port,
                              origins[1].port),
        .pool = pool});
}

static void start_origins(void)
{
    origins[0] = origin_start("auto");
    origins[1] = origin_start("auto");
    (void)configure(NULL);
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u", origins[0].port, origins[1].port)});
}

static void order(int index, const char *state)
{
    (void)RUN(0, "server", server_name(index), state);
}

static uint64_t connects(int index)
{
    return penstock_number(bed_format("servers.%d.connects", index));
}

/* How many of LOADED new sessions the server gets. */
static uint64_t load(int index)
{
    uint64_t before = connects(index);

    (void)load_run(bed_format("connect --count %d --connections 4", LOADED));
    return connects(index) - before;
}

static bool is_state(int index, const char *state)
{
    const char *json = RUN(0, "servers", "--json");
    const char *found = json_find(json, bed_format("%d.state", index));

    return found != NULL && strncmp(found, bed_format("\"%s\"", state), strlen(state) + 2) == 0;
}

Test(orders, a_server_that_is_drained_or_down_gets_no_sessions)
{
    static const char *const states[] = {"drain", "down"};

    start_origins();
    for (int i = 0; i < 2; i++) {
        order(0, states[i]);
        cr_expect(is_state(0, states[i]));
        cr_expect(is_state(1, "up"));
        cr_expect_eq(load(0), 0, "%s", states[i]);
        order(0, "up");
        cr_expect(is_state(0, "up"));
        cr_expect_gt(load(0), 0);
    }
    cr_expect_not_null(strstr(RUN(0, "server", server_name(1), "drain"), "those it has go on"));
    bed_end();
}

/* What it has goes on; new ones go elsewhere, from the moment that the command has returned. */
Test(orders, a_server_goes_down_under_load)
{
    start_origins();
    struct bed_process held = load_start("pingpong --connections 20 --seconds 4");
    WAIT_UNTIL(penstock_number("phases.open") == 20);
    struct bed_process fresh = load_start("connect --seconds 4 --connections 8");
    WAIT_UNTIL(connects(0) > 50);
    order(0, "down");
    uint64_t other = connects(1);
    WAIT_UNTIL(connects(1) > other + 50); /* connects that had begun have ended */
    uint64_t before = connects(0);
    other = connects(1);
    WAIT_UNTIL(connects(1) > other + 100);
    cr_expect_eq(connects(0), before);
    uint64_t left = penstock_number("servers.0.sessions"); /* each worker begins with the first */
    cr_expect(left == 10 || left == 11, "half of those that were there, not %lu", left);
    (void)load_finish(&held);
    (void)load_finish(&fresh);
    cr_expect_eq(connects(0), before);
    cr_expect_eq(penstock_number("stats.connect_failures"), 0);
    bed_end();
}

Test(orders, without_a_server_a_session_ends_and_says_why)
{
    start_origins();
    order(0, "drain");
    order(1, "down");
    int client = net_connect(bed.port);
    net_expect_reset(client);
    WAIT_UNTIL(penstock_number("closes.no_server") == 1);
    WAIT_UNTIL(strstr(penstock_access_log(), " no_server ") != NULL);
    order(1, "up");
    cr_expect_eq(load(1), LOADED);
    bed_end();
}

Test(orders, a_weight_replaces_the_files)
{
    start_origins();
    (void)RUN(0, "server", server_name(0), "weight", "3");
    uint64_t got = load(0);
    cr_expect(labs((long)got - LOADED * 3 / 4) <= 6, "%lu", got); /* each worker goes round by itself */
    cr_expect_eq(json_number(RUN(0, "servers", "--json"), "0.weight"), 3);
    order(0, "drain");
    cr_expect_eq(load(0), 0);
    order(0, "up");
    cr_expect_eq(json_number(RUN(0, "servers", "--json"), "0.weight"), 3, "the state leaves it as it is");
    (void)RUN(0, "server", server_name(0), "weight", "file");
    cr_expect_eq(json_number(RUN(0, "servers", "--json"), "0.weight"), 1);
    got = load(0);
    cr_expect(labs((long)got - LOADED / 2) <= 6, "%lu", got);
    bed_end();
}

Test(orders, the_state_outlives_workers_reloads_and_the_supervisor)
{
    start_origins();
    order(0, "down");
    for (unsigned i = 0; i < 2; i++) {
        pid_t worker = penstock_worker(i);
        cr_assert_eq(kill(worker, SIGKILL), 0);
        WAIT_UNTIL(penstock_worker(i) != worker && penstock_number("workers_serving") == 2);
    }
    cr_expect_eq(load(0), 0);
    (void)configure("balance: least_sessions");
    cr_assert_eq(penstock_reload(), 0);
    cr_expect(is_state(0, "down"));
    cr_expect_eq(load(0), 0);
    penstock_kill();
    cr_expect_eq(load(0), 0);
    order(0, "up"); /* orders need no supervisor */
    order(1, "drain");
    cr_expect_eq(load(1), 0);
    penstock_start_again();
    cr_expect(is_state(1, "drain"));
    cr_expect_eq(load(1), 0);
    cr_expect_eq(load(0), LOADED);
    bed_end();
}

Test(orders, kill_needs_no_supervisor)
{
    start(2);
    penstock_kill();
    (void)RUN(0, "kill", name_of(&pairs[0]));
    expect_killed(&pairs[0]);
    expect_unharmed(1);
    penstock_start_again();
    WAIT_UNTIL(penstock_number("closes.killed") == 1);
    bed_end();
}

Test(orders, of_servers_that_are_wrong_say_what_would_be_right)
{
    start_origins();
    const char *name = server_name(0);
    cr_expect_not_null(
        strstr(RUN(1, "server", "app/127.0.0.9:1", "up"), "there is no server app/127.0.0.9:1"));
    cr_expect_not_null(strstr(RUN(1, "server", "app", "up"), "there is no server app;"));
    cr_expect_not_null(strstr(RUN(2, "server", name, "off"), "up, drain, down, weight N"));
    cr_expect_not_null(strstr(RUN(2, "server", name, "up", "1"), "up, drain, down"));
    cr_expect_not_null(strstr(RUN(2, "server", name, "weight"), "weight N (1 to 256)"));
    cr_expect_not_null(strstr(RUN(2, "server", name, "weight", "0"), "weight N (1 to 256)"));
    cr_expect_not_null(strstr(RUN(2, "server", name, "weight", "257"), "weight N (1 to 256)"));
    cr_expect_not_null(strstr(RUN(2, "server", name, "weight", "2x"), "weight N (1 to 256)"));
    cr_expect_not_null(strstr(RUN(2, "server", name), "missing"));
    cr_expect(is_state(0, "up"));
    bed_end();
}

/* --- Flows -------------------------------------------------------------------------------------------------- */

static unsigned count_flows(const char *json)
{
    return bed_count(json, "\"remote\":");
}

Test(orders, flows)
{
    start(2);
    const char *json = RUN(0, "flows", "--json", "--state", "active");
    cr_expect_eq(count_flows(json), 2 * SESSIONS, "%s", json);
    cr_expect_eq(bed_count(json, "\"side\":\"client\""), SESSIONS);
    cr_expect_eq(bed_count(json, "\"side\":\"server\""), SESSIONS);
    const char *remote = bed_format("\"remote\":\"127.0.0.1:%u\"", net_local_port(pairs[0].client));
    cr_expect_eq(bed_count(json, remote), 1, "%s", json);
    cr_expect_eq(count_flows(RUN(0, "flows", "--json", "--limit", "3")), 3);
    const char *text = RUN(0, "flows");
    cr_expect_eq(bed_count(text, " session "), 2 * SESSIONS, "%s", text);
    cr_expect_eq(strncmp(text, "TIME_WAIT: ", 11), 0, "%s", text);
    cr_expect_not_null(strstr(text, name_of(&pairs[1])));
    net_half_close(pairs[0].server); /* and Penstock closes towards the client first: TIME_WAIT is its own */
    net_expect_eof(pairs[0].client);
    net_half_close(pairs[0].client);
    WAIT_UNTIL(count_flows(RUN(0, "flows", "--json", "--state", "time_wait")) == 1);
    json = RUN(0, "flows", "--json", "--state", "time_wait");
    cr_expect_eq(bed_count(json, remote), 1, "%s", json);
    cr_expect_leq(json_number(json, "0.left_ms"), 60000);
    cr_expect_not_null(strstr(RUN(0, "flows", "--state", "time_wait"), " ends in "));
    cr_expect_eq(count_flows(RUN(0, "flows", "--json", "--state", "active")), 2 * SESSIONS - 2);
    cr_expect_str_eq(RUN(0, "flows", "--json", "--state", "fin_wait2"), "[]\n");
    (void)RUN(2, "flows", "--state", "open");
    (void)RUN(2, "flows", "--limit", "0");
    (void)RUN(2, "flows", "--pool", "app");
    (void)RUN(2, "status", "--limit", "1");
    bed_end();
}
