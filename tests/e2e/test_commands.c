/* What the command line shows of a running instance: status, servers, sessions, top. */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

BED_SUITE(commands, 60);

static uint16_t server_port;
static int listener;

static void start(void)
{
    listener = net_listen(&server_port, 10);
    penstock_start_to(server_port);
}

/* Runs a command with up to two more words; its standard output, and the exit status. */
static const char *run(const char *command, const char *first, const char *second, int expected)
{
    const char *argv[] = {bed_penstock_path(), command, "-n", bed.name, first, second, NULL};
    struct bed_process process;

    cr_expect_eq(bed_run(argv, &process), expected, "%s: %s", command, bed_read_file(process.err));
    return bed_read_file(process.out);
}

Test(commands, servers)
{
    start();
    struct net_pair pair = net_pair(listener);
    WAIT_UNTIL(penstock_number("phases.open") == 1);
    const char *json = run("servers", "--json", NULL, 0);
    cr_expect_eq(json_number(json, "0.sessions"), 1);
    cr_expect_eq(json_number(json, "0.connects"), 1);
    cr_expect_null(json_find(json, "1"));
    cr_expect_not_null(strstr(run("servers", NULL, NULL, 0), bed_format("127.0.0.1:%u", server_port)));
    close(pair.client);
    bed_end();
}

Test(commands, status_has_a_row_for_each_part)
{
    start();
    struct net_pair pair = net_pair(listener);
    WAIT_UNTIL(penstock_number("phases.open") == 1);
    const char *text = run("status", NULL, NULL, 0);
    cr_expect_not_null(strstr(text, "\nLISTENER "));
    cr_expect_not_null(strstr(text, "\nin                       1          1        0        0"), "%s", text);
    cr_expect_not_null(strstr(text, "\nPOOL "));
    cr_expect_not_null(strstr(text, "\nWORKER "));
    cr_expect_eq(bed_count(text, " serving "), 2, "two workers");
    close(pair.client);
    bed_end();
}

Test(commands, sessions_that_are_chosen)
{
    start();
    struct net_pair pair = net_pair(listener);
    net_pass(pair.client, pair.server, "hello");
    WAIT_UNTIL(json_find(run("sessions", "--json", NULL, 0), "0") != NULL &&
               json_number(run("sessions", "--json", NULL, 0), "0.client_bytes") == 5);
    const char *source = bed_format("127.0.0.1:%u", net_local_port(pair.client));
    cr_expect_not_null(strstr(run("sessions", NULL, NULL, 0), source));
    cr_expect_not_null(strstr(run("sessions", "--listener", "in", 0), source));
    cr_expect_not_null(strstr(run("sessions", "--pool", "app", 0), source));
    cr_expect_not_null(strstr(run("sessions", "--state", "open", 0), source));
    cr_expect_not_null(strstr(run("sessions", "--source", "127.0.0.1", 0), source));
    cr_expect_not_null(strstr(run("sessions", "--older-than", "1ms", 0), source));
    cr_expect_null(strstr(run("sessions", "--listener", "out", 0), source));
    cr_expect_null(strstr(run("sessions", "--state", "closing", 0), source));
    cr_expect_null(strstr(run("sessions", "--source", "127.0.0.2", 0), source));
    cr_expect_null(strstr(run("sessions", "--older-than", "1h", 0), source));
    (void)run("sessions", "--state", "closed", 2);
    (void)run("sessions", "--older-than", "1", 2);
    (void)run("sessions", "--state", NULL, 2);
    (void)run("status", "--state", "open", 2);
    bed_end();
}

static struct bed_process top_start(const char *option)
{
    const char *argv[] = {bed_penstock_path(), "top", "-n", bed.name, option, NULL};

    return bed_spawn(argv, NULL);
}

Test(commands, top_without_a_terminal_prints_lines)
{
    start();
    struct net_pair pair = net_pair(listener);
    struct bed_process json = top_start("--json");
    struct bed_process text = top_start(NULL);
    WAIT_UNTIL(bed_count_lines(json.out) >= 2 && bed_count_lines(text.out) >= 2);
    cr_assert_eq(kill(json.pid, SIGTERM), 0);
    cr_expect_eq(bed_wait(json.pid), 0);
    cr_assert_eq(kill(text.pid, SIGINT), 0);
    cr_expect_eq(bed_wait(text.pid), 0);
    cr_expect_eq(json_number(bed_read_file(json.out), "sessions"), 1);
    cr_expect_eq(json_number(bed_read_file(json.out), "accepted"), 1);
    cr_expect_eq(json_number(bed_read_file(json.out), "worker_sessions_most"), 1);
    cr_expect_not_null(strstr(bed_read_file(text.out), " sessions=1 "));
    cr_expect_not_null(strstr(bed_read_file(text.out), " busy="));
    cr_expect_null(strchr(bed_read_file(text.out), '\x1b'), "no control sequences");
    close(pair.client);
    bed_end();
}

Test(commands, top_ends_with_its_instance)
{
    start();
    struct bed_process top = top_start(NULL);
    WAIT_UNTIL(bed_count_lines(top.out) >= 1);
    cr_expect_eq(penstock_stop(SIGINT), 0);
    cr_expect_eq(bed_wait(top.pid), 0);
    bed_end();
}

/* --- On a terminal ------------------------------------------------------------------------------------------ */

struct terminal {
    pid_t pid;
    int master;
    struct termios before;
    char shown[256 * 1024];
    size_t used;
};

static struct terminal terminal;

static void terminal_begin(void)
{
    struct winsize size = {.ws_row = 20, .ws_col = 100};
    int slave;

    cr_assert_eq(openpty(&terminal.master, &slave, NULL, NULL, &size), 0);
    cr_assert_eq(tcgetattr(slave, &terminal.before), 0);
    terminal.pid = fork();
    if (terminal.pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        (void)unsetenv("NO_COLOR");
        dup2(slave, STDIN_FILENO);
        dup2(slave, STDOUT_FILENO);
        execl(bed_penstock_path(), "penstock", "top", "-n", bed.name, (char *)NULL);
        _exit(126);
    }
}

/* Whether `text` has been shown, not counting what was before `from`. */
static bool is_shown(size_t from, const char *text)
{
    struct pollfd ready = {.fd = terminal.master, .events = POLLIN};

    while (terminal.used + 1 < sizeof(terminal.shown) && poll(&ready, 1, 0) == 1) {
        ssize_t got =
            read(terminal.master, terminal.shown + terminal.used, sizeof(terminal.shown) - 1 - terminal.used);
        if (got <= 0) {
            break;
        }
        terminal.used += (size_t)got;
    }
    terminal.shown[terminal.used] = '\0';
    return strstr(terminal.shown + from, text) != NULL;
}

static void terminal_expect_restored(int status)
{
    static const char leave[] = "\x1b[?25h\x1b[?1049l";
    struct termios after;

    WAIT_UNTIL(is_shown(0, leave));
    cr_expect_eq(bed_wait(terminal.pid), status);
    cr_assert_eq(tcgetattr(terminal.master, &after), 0);
    cr_expect_eq(after.c_lflag, terminal.before.c_lflag);
    cr_expect_eq(after.c_cc[VSUSP], terminal.before.c_cc[VSUSP]);
    cr_expect_str_eq(terminal.shown + terminal.used - strlen(leave), leave, "the last it writes");
}

Test(commands, top_on_a_terminal_follows_keys_and_puts_it_back)
{
    start();
    struct net_pair pair = net_pair(listener);
    terminal_begin();
    WAIT_UNTIL(is_shown(0, "all is well") && is_shown(0, "by bytes"));
    WAIT_UNTIL(is_shown(0, bed_format("127.0.0.1:%u", net_local_port(pair.client))));
    WAIT_UNTIL(is_shown(0, "with 0 to 1 sessions (worker "));
    cr_expect(is_shown(0, bed_format("\x1b[32m%s: all is well", bed.name)));
    size_t from = terminal.used;
    cr_assert_eq(write(terminal.master, "a", 1), 1);
    WAIT_UNTIL(is_shown(from, "by age"));
    from = terminal.used;
    cr_assert_eq(write(terminal.master, "xr", 2), 2);
    WAIT_UNTIL(is_shown(from, "by rate"));
    from = terminal.used;
    cr_assert_eq(write(terminal.master, "w", 1), 1);
    WAIT_UNTIL(is_shown(from, "by waiting"));
    cr_assert_eq(write(terminal.master, "q", 1), 1);
    terminal_expect_restored(0);
    bed_end();
}

/* The status it ends with is that of a process that was ended by the signal, where one of a fault was sent. */
static void expect_restored_after(int signal, int status)
{
    terminal.used = 0;
    terminal_begin();
    WAIT_UNTIL(is_shown(0, "all is well"));
    cr_assert_eq(kill(terminal.pid, signal), 0);
    terminal_expect_restored(status);
    close(terminal.master);
}

Test(commands, top_puts_the_terminal_back_after_signals)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    static const int faults[] = {SIGSEGV, SIGABRT, SIGBUS};

    start();
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        expect_restored_after(ends[i], 0);
    }
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        expect_restored_after(faults[i], 256 + faults[i]);
    }
    bed_end();
}
