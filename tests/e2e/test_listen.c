/* Kinds of listeners and servers. */
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { SESSIONS = 20 };

BED_SUITE(listen, 60);

Test(listen, unix_to_unix)
{
    const char *server = bed_format("unix:%s/server.sock", bed.dir);
    const char *client = bed_format("unix:%s/client.sock", bed.dir);
    struct origin origin = origin_start_at("auto", server);

    penstock_start(&(struct penstock_config){.servers = bed_format("\"%s\"", server),
                                             .bind = bed_format("\"%s\"", client)});
    const char *figures =
        load_run(bed_format("streams --connect %s --connections 40 --count 400 --max-bytes 1M", client));
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    cr_assert_eq(json_number(status, "stats.accepted"), json_number(figures, "opened"));
    cr_assert_eq(json_number(status, "client_bytes"), json_number(figures, "bytes_up"));
    cr_assert_eq(json_number(status, "server_bytes"), json_number(figures, "bytes_down"));
    cr_assert(json_number(status, "workers.0.sessions") == 0);
    cr_assert_eq(json_number(origin_stop(&origin), "mismatches"), 0);
    bed_end();
    cr_assert(access(bed_path("client.sock"), F_OK) != 0, "the socket's file is left over");
}

Test(listen, unix_file_of_one_that_died_is_replaced)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    const char *address = bed_format("unix:%s/client.sock", bed.dir);
    struct penstock_config config = {.servers = bed_format("127.0.0.1:%u", port),
                                     .bind = bed_format("\"%s\"", address)};

    penstock_start(&config);
    pid_t others[] = {penstock_keeper(0), penstock_worker(0), penstock_keeper(1), penstock_worker(1)};
    kill(bed.penstock, SIGKILL);
    for (unsigned i = 0; i < 4; i++) {
        kill(others[i], SIGKILL);
    }
    bed_wait(bed.penstock);
    cr_assert_eq(access(bed_path("client.sock"), F_OK), 0);
    WAIT_UNTIL(!net_can_connect(address)); /* the kernel ends the rings of the dead after them */
    penstock_start(&config);
    int client = net_connect_to(address);
    int server = net_accept(listener);
    net_pass(client, server, "again");
    bed_end();
}

/* All workers share a unix listener: one that does not move takes nothing. */
Test(listen, unix_with_a_stopped_worker)
{
    uint16_t port;
    int listener = net_listen(&port, 64);
    const char *address = bed_format("unix:%s/client.sock", bed.dir);

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port),
                                             .bind = bed_format("\"%s\"", address)});
    pid_t stopped = penstock_worker(0);
    /* It has served some before: nothing of that may wait on the socket any more. */
    cr_assert_eq(kill(penstock_worker(1), SIGSTOP), 0);
    int first = net_connect_to(address);
    net_accept(listener);
    cr_assert_eq(kill(penstock_worker(1), SIGCONT), 0);
    WAIT_UNTIL(penstock_number("workers.0.sessions") == 1);
    cr_assert_eq(kill(stopped, SIGSTOP), 0);
    for (int i = 0; i < SESSIONS; i++) {
        int client = net_connect_to(address);
        int server = net_accept(listener);
        net_pass(client, server, "hello");
        net_pass(server, client, "hello yourself");
    }
    cr_assert_eq(penstock_number("workers.1.sessions"), SESSIONS);
    cr_assert_eq(kill(stopped, SIGCONT), 0);
    close(first);
    bed_end();
}

static bool have_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have =
        fd >= 0 && access("/proc/net/if_inet6", F_OK) == 0 && bed_read_file("/proc/net/if_inet6")[0] != '\0';

    if (fd >= 0) {
        close(fd);
    }
    return have;
}

Test(listen, ipv6_both_sides)
{
    if (!have_ipv6()) {
        cr_skip("no IPv6 here");
    }
    struct origin origin = origin_start_at("auto", bed_format("[::1]:%u", bed_reserve_port("::1")));
    uint16_t port = bed_reserve_port("::1");

    penstock_start(&(struct penstock_config){.servers = bed_format("\"[::1]:%u\"", origin.port),
                                             .bind = bed_format("\"[::1]:%u\"", port)});
    const char *figures =
        load_run(bed_format("streams --connect [::1]:%u --connections 20 --count 200 --max-bytes 1M", port));
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number("client_bytes"), json_number(figures, "bytes_up"));
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == json_number(figures, "opened"));
    cr_assert_eq(bed_count(penstock_access_log(), " [::1]:"), 200, "each line names its source");
    bed_end();
}

Test(listen, three_kinds_at_once)
{
    struct origin origin = origin_start("auto");
    uint16_t second = bed_reserve_port("127.0.0.2");

    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", origin.port),
        .bind = bed_format("\"127.0.0.1:%u\", \"127.0.0.2:%u\", \"unix:%s/in.sock\"", bed.port, second,
                           bed.dir)});
    load_run("connect --count 200");
    load_run(bed_format("connect --count 200 --connect 127.0.0.2:%u", second));
    load_run(bed_format("connect --count 200 --connect unix:%s/in.sock", bed.dir));
    cr_assert_eq(penstock_number("stats.accepted"), 600);
    bed_end();
}
