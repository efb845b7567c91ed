/* Options of the kernel and of the loop: congestion control as ss(8) sees it, spinning as the scheduler counts it. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(options, 60);

/* A sysctl of names. The kernel refuses to read one into a buffer as large as bed_read_file()'s. */
static const char *names_of(const char *sysctl)
{
    char text[2048] = "";
    FILE *file = fopen(bed_format("/proc/sys/net/ipv4/tcp_%s", sysctl), "re");

    cr_assert(file != NULL && fgets(text, sizeof(text), file) != NULL, "%s", sysctl);
    fclose(file);
    return bed_format("%s", text);
}

static bool list_has(const char *list, const char *word)
{
    const char *padded = bed_format(" %.*s ", (int)strcspn(list, "\n"), list);

    return strstr(padded, bed_format(" %s ", word)) != NULL;
}

/* One of the sysctl's `list` that is not in `but`; NULL: none. */
static const char *word_of(const char *list, const char *but)
{
    const char *at = list;

    while (*at != '\0') {
        size_t length = strcspn(at, " \n");
        const char *word = bed_format("%.*s", (int)length, at);
        if (length > 0 && !list_has(but, word)) {
            return word;
        }
        at += length + strspn(at + length, " \n");
    }
    return NULL;
}

/* What ss says of the socket with these ports. */
static const char *socket_text(uint16_t from, uint16_t to)
{
    const char *filter = bed_format("sport = :%u and dport = :%u", from, to);
    const char *const argv[] = {"/usr/bin/env", "ss", "-Htimn", filter, NULL};
    struct bed_process process;

    cr_assert_eq(bed_run(argv, &process), 0);
    const char *text = bed_read_file(process.out);
    cr_assert(text[0] != '\0', "ss finds no %s", filter);
    return text;
}

/* The congestion control of the socket with these ports is the first of ss's words that names one. */
static bool runs(uint16_t from, uint16_t to, const char *congestion)
{
    char *text = strdup(socket_text(from, to));

    cr_assert(text != NULL);
    for (char *c = text; *c != '\0'; c++) {
        *c = *c == '\n' || *c == '\t' ? ' ' : *c;
    }
    bool found = list_has(text, congestion);
    free(text);
    return found;
}

static uint16_t peer_port(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);

    cr_assert_eq(getpeername(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static void expect(const struct net_pair *pair, uint16_t server_port, const char *client, const char *server)
{
    net_pass(pair->client, pair->server, "question");
    cr_assert(runs(bed.port, net_local_port(pair->client), client), "to the client: not %s", client);
    cr_assert(runs(peer_port(pair->server), server_port, server), "to the server: not %s", server);
}

static const char *congestion(const char *name)
{
    return name == NULL ? NULL : bed_format("congestion: %s", name);
}

static struct penstock_config config_of(uint16_t port, const char *listener, const char *pool)
{
    return (struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", port),
        .bind = bed_format("127.0.0.1:%u, unix:%s", bed.port, bed_path("unix")),
        .listener = congestion(listener),
        .pool = congestion(pool),
    };
}

/* Each connection has what was configured when it came; a reload's change needs no new listening socket. */
Test(options, congestion_control_of_listener_and_pool)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    const char *inherited = word_of(names_of("congestion_control"), "");
    const char *other = word_of(names_of("allowed_congestion_control"), inherited);

    if (other == NULL) {
        cr_skip_test("only one congestion control is allowed here");
    }
    struct penstock_config config = config_of(port, other, NULL);
    penstock_start(&config);
    struct net_pair first = net_pair(listener);
    expect(&first, port, other, inherited);
    config = config_of(port, NULL, other);
    penstock_reload_with(&config);
    struct net_pair second = net_pair(listener);
    expect(&second, port, inherited, other);
    config = config_of(port, other, other);
    penstock_reload_with(&config);
    struct net_pair third = net_pair(listener);
    expect(&third, port, other, other);
    expect(&second, port, inherited, other);
    expect(&first, port, other, inherited);
    cr_assert(strstr(penstock_log(), "congestion_failed") == NULL, "%s", penstock_log());
    bed_end();
}

/* The supervisor's privilege reaches what is available, a worker's only what is allowed. */
Test(options, congestion_control_that_is_not_allowed)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    const char *inherited = word_of(names_of("congestion_control"), "");
    const char *name =
        word_of(names_of("available_congestion_control"), names_of("allowed_congestion_control"));

    if (name == NULL || geteuid() != 0) {
        cr_skip_test("needs root and a congestion control that is not allowed to others");
    }
    struct penstock_config config = config_of(port, name, NULL);
    penstock_start(&config);
    struct net_pair pair = net_pair(listener);
    expect(&pair, port, name, inherited);
    config = config_of(port, NULL, name);
    penstock_configure(&config);
    cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
    WAIT_UNTIL(penstock_number("reloads_failed") == 1);
    cr_assert(strstr(penstock_log(), "pools[0].congestion") != NULL &&
                  strstr(penstock_log(), "net.ipv4.tcp_allowed_congestion_control") != NULL,
              "%s", penstock_log());
    pair = net_pair(listener);
    expect(&pair, port, name, inherited);
    bed_end();
}

Test(options, congestion_control_that_does_not_exist)
{
    struct penstock_config config = config_of(1, "nosuch", "nosuch");
    const char *argv[] = {bed_penstock_path(), "check", "-c", penstock_configure(&config), NULL};
    struct bed_process process;

    cr_assert_neq(bed_run(argv, &process), 0);
    const char *text = bed_read_file(process.err);
    cr_assert(strstr(text, "listeners[0].congestion: 'nosuch' is not available; load its module (modprobe "
                           "tcp_nosuch) or write one of: ") != NULL,
              "%s", text);
    cr_assert(strstr(text, "pools[0].congestion: 'nosuch' is not available") != NULL, "%s", text);
    bed_end();
}

/* The limits of the sockets' memory, of which the kernel takes half for itself: rb and tb of ss's skmem. */
static void expect_buffers(const struct net_pair *pair, uint16_t server_port, const char *client,
                           const char *server)
{
    net_pass(pair->client, pair->server, "question");
    const char *text = socket_text(bed.port, net_local_port(pair->client));
    cr_expect((strstr(text, client) != NULL), "to the client: not %s: %s", client, text);
    text = socket_text(peer_port(pair->server), server_port);
    cr_expect((strstr(text, server) != NULL), "to the server: not %s: %s", server, text);
}

/* Each connection has what was configured when it came; where it is taken out, the kernel tunes again. */
Test(options, socket_buffers_of_listener_and_pool)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    struct penstock_config config = config_of(port, NULL, NULL);

    config.listener = "send_buffer: 24KiB";
    config.pool = "receive_buffer: 20KiB, send_buffer: 16KiB";
    penstock_start(&config);
    struct net_pair first = net_pair(listener);
    expect_buffers(&first, port, ",tb49152,", ",rb40960,");
    expect_buffers(&first, port, ",tb49152,", ",tb32768,");
    config.listener = "receive_buffer: 40KiB";
    config.pool = "receive_buffer: 30KiB";
    penstock_reload_with(&config);
    struct net_pair second = net_pair(listener);
    expect_buffers(&second, port, ",rb81920,", ",rb61440,");
    config.listener = NULL;
    config.pool = NULL;
    penstock_reload_with(&config);
    struct net_pair third = net_pair(listener);
    net_exchange(&third);
    const char *text = socket_text(bed.port, net_local_port(third.client));
    cr_expect_null(strstr(text, ",rb81920,"), "%s", text);
    bed_end();
}

/* Times the worker went to sleep for each exchange of one connection; without spinning it is twice. */
static double sleeps_per_exchange(void)
{
    pid_t worker = penstock_worker(0);
    uint64_t before = bed_proc_status(worker, "voluntary_ctxt_switches");
    const char *figures = load_run("pingpong --connections 1 --size 64 --seconds 1");
    uint64_t sleeps = bed_proc_status(worker, "voluntary_ctxt_switches") - before;

    cr_assert(json_number(figures, "completed") > 0);
    return (double)sleeps / (double)json_number(figures, "completed");
}

static uint64_t cpu_ns(pid_t process)
{
    uint64_t ns = 0;

    cr_assert_eq(sscanf(bed_read_file(bed_format("/proc/%d/schedstat", process)), "%lu", &ns), 1);
    return ns;
}

static void configure_spin(uint16_t port, const char *line)
{
    penstock_reload_with(
        &(struct penstock_config){.workers = 1, .servers = bed_format("127.0.0.1:%u", port), .more = line});
}

Test(options, a_worker_that_spins_sleeps_only_when_idle)
{
    struct origin origin = origin_start("auto");

    penstock_start(&(struct penstock_config){
        .workers = 1, .servers = bed_format("127.0.0.1:%u", origin.port), .more = "spin: 1ms\n"});
    double spinning = sleeps_per_exchange();
    uint64_t before_ns = cpu_ns(penstock_worker(0));
    uint64_t before_ms = bed_now_ms();
    bed_pause_ms(400);
    uint64_t idle_ms = bed_now_ms() - before_ms;
    cr_assert_lt(cpu_ns(penstock_worker(0)) - before_ns, idle_ms * 1000000 / 4, "it spins without traffic");
    configure_spin(origin.port, "");
    double sleeping = sleeps_per_exchange();
    cr_assert_lt(spinning, sleeping / 2, "%.2f sleeps an exchange, %.2f without spin", spinning, sleeping);
    configure_spin(origin.port, "spin: 1ms\n");
    spinning = sleeps_per_exchange();
    cr_assert_lt(spinning, sleeping / 2, "%.2f sleeps an exchange, %.2f without spin", spinning, sleeping);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
}

/* Deaths while it spins: what it looked for is found by the next incarnation. */
Test(options, a_worker_that_spins_may_die)
{
    struct origin origin = origin_start("auto");

    penstock_start(&(struct penstock_config){
        .workers = 1, .servers = bed_format("127.0.0.1:%u", origin.port), .more = "spin: 1ms\n"});
    struct killer killer;
    killer_begin(&killer, 1);
    struct bed_process load = load_start("streams --connections 20 --seconds 2 --max-bytes 100K");
    killer_run(&killer, 10, 30, 100, load.pid);
    load_finish(&load);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    killer_expect_all_back(&killer);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
}
