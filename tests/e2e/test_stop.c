/* The end of an instance: drain and stop; and starts that are refused, each with one line that says why. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/address.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(stop, 60);

static bool connects(uint16_t port)
{
    return net_can_connect(bed_format("127.0.0.1:%u", port));
}

Test(stop, drain_lets_sessions_finish)
{
    int listener = penstock_start_to_test(NULL);
    struct net_pair first = net_pair(listener);
    struct net_pair second = net_pair(listener);

    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=draining") != NULL);
    cr_assert(!connects(bed.port));
    net_exchange(&first);
    net_close(&first);
    net_exchange(&second);
    cr_assert_eq(kill(bed.penstock, 0), 0);
    close(second.server);
    net_expect_eof(second.client);
    close(second.client);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    cr_assert_eq(bed_count(penstock_access_log(), " 8 6 client_closed "), 1, "the last lines are written");
    cr_assert_eq(bed_count(penstock_access_log(), " 8 6 server_closed "), 1);
    bed_end();
}

/* Connections that wait in the accept queue when the drain begins are established for their clients. */
Test(stop, drain_loses_no_connection)
{
    struct origin origin = origin_start("auto");

    penstock_start_to(origin.port);
    struct bed_process load =
        load_start("streams --connections 100 --count 100 --max-bytes 4M --slow-readers 30");
    WAIT_UNTIL(penstock_number("stats.accepted") == 100);
    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    load_finish(&load);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    cr_assert_eq(bed_count_lines(bed_path("access.log")), 100);
    bed_end();
}

Test(stop, drain_has_an_end)
{
    int listener = penstock_start_to_test(&(struct penstock_config){.timeouts = "drain: 200ms"});
    struct net_pair pair = net_pair(listener);

    net_exchange(&pair);
    cr_assert_eq(penstock_stop(SIGTERM), 0);
    net_expect_reset(pair.client);
    net_expect_reset(pair.server);
    cr_assert_eq(bed_count(penstock_access_log(), " stopped "), 1);
    bed_end();
}

static void stop_at_once(int signal)
{
    int listener = penstock_start_to_test(NULL);
    struct net_pair pair = net_pair(listener);

    net_exchange(&pair);
    cr_assert_eq(penstock_stop(signal), 0);
    net_expect_reset(pair.client);
    net_expect_reset(pair.server);
    cr_assert_eq(bed_count(penstock_access_log(), " 8 6 stopped "), 1);
    cr_assert(!connects(bed.port));
    bed_end();
}

Test(stop, at_once_by_sigint)
{
    stop_at_once(SIGINT);
}

Test(stop, at_once_by_sigquit)
{
    stop_at_once(SIGQUIT);
}

/* The port is free at once: nothing in the kernel listens on behalf of a process that has ended. */
Test(stop, and_start_again_and_again)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    for (int i = 0; i < 20; i++) {
        penstock_start_to(port);
        struct net_pair pair = net_pair(listener);
        net_exchange(&pair);
        if (i % 2 == 0) {
            close(pair.client);
            close(pair.server);
            WAIT_UNTIL(penstock_number("sessions") == 0);
        }
        cr_assert_eq(penstock_stop(i % 4 < 2 || i % 2 == 1 ? SIGINT : SIGTERM), 0);
        cr_assert(!connects(bed.port));
        if (i % 2 == 1) {
            close(pair.client);
            close(pair.server);
        }
    }
    bed_end();
}

Test(stop, second_signal_ends_a_drain)
{
    int listener = penstock_start_to_test(NULL);
    struct net_pair pair = net_pair(listener);

    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=draining") != NULL);
    cr_assert_eq(penstock_stop(SIGTERM), 0);
    net_expect_reset(pair.client);
    bed_end();
}

Test(stop, by_command)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), "stop", "-n", bed.name, NULL};

    penstock_start_to(1);
    cr_assert_eq(bed_run(argv, &process), 0);
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    cr_assert_neq(bed_run(argv, &process), 0);
    cr_assert(strstr(bed_read_file(process.err), bed.name) != NULL);
    bed_end();
}

/* `penstock run` that must fail; what it said. */
static const char *refused_start(const char *config, bool (*before_exec)(void))
{
    struct bed_process process = penstock_spawn(config, before_exec);

    cr_assert_eq(bed_wait(process.pid), 1, "%s", bed_read_file(process.err));
    return bed_read_file(process.err);
}

Test(stop, second_of_the_same_name_is_refused)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    penstock_start_to(port);
    const char *other = penstock_configure(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port),
                                  .bind = bed_format("127.0.0.1:%u", bed_reserve_port("127.0.0.1"))});
    const char *said = refused_start(other, NULL);
    cr_assert(strstr(said, bed_format("an instance named %s runs already, process %d", bed.name,
                                      bed.penstock)) != NULL,
              "%s", said);
    struct net_pair pair = net_pair(listener);
    net_exchange(&pair);
    bed_end();
}

Test(stop, port_in_use_is_refused)
{
    uint16_t taken;

    net_listen(&taken, 1);
    const char *said =
        refused_start(penstock_configure(&(struct penstock_config){
                          .servers = "127.0.0.1:1", .bind = bed_format("127.0.0.1:%u", taken)}),
                      NULL);
    cr_assert(strstr(said, bed_format("event=listen_failed address=127.0.0.1:%u", taken)) != NULL, "%s",
              said);
    cr_assert(strstr(said, "another program listens there") != NULL, "%s", said);
    bed_end();
}

/* Not even where the other would share it: connections would go to either. */
Test(stop, shared_port_in_use_is_refused)
{
    int one = 1;
    struct address address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    cr_assert_eq(address_parse(bed_format("127.0.0.1:%u", bed.port), &address), 0);
    cr_assert_eq(bind(fd, &address.any, address.length), 0, "%s", strerror(errno));
    cr_assert_eq(listen(fd, 1), 0);
    const char *said =
        refused_start(penstock_configure(&(struct penstock_config){.servers = "127.0.0.1:1"}), NULL);
    cr_assert(strstr(said, "another program listens there") != NULL, "%s", said);
    bed_end();
}
