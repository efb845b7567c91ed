/* System call filters: what is not needed is refused. */
#include "cmd/sandbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PENSTOCK_NO_JEMALLOC

static bool is_refused(int result)
{
    return result == -1 && errno == EPERM;
}

static bool refuses_files_and_programs(void)
{
    char *const argv[] = {"/bin/true", NULL};

    return is_refused(open("/dev/null", O_RDONLY | O_CLOEXEC)) && is_refused(fork()) &&
           is_refused(execv(argv[0], argv)) && is_refused(kill(getppid(), 0)) &&
           write(STDERR_FILENO, "", 0) == 0;
}

static bool refuses_connections(void)
{
    return is_refused(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) &&
           is_refused(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) &&
           socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG) >= 0 &&
           is_refused(connect(STDERR_FILENO, NULL, 0));
}

static bool refuses_other_sockets(void)
{
    return is_refused(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) &&
           is_refused(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)) &&
           is_refused(socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) &&
           socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 &&
           socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 &&
           socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

/* Standard error may be somebody's terminal. */
static bool refuses_terminals(void)
{
    struct winsize size;
    int bytes = 0;

    return is_refused(ioctl(STDERR_FILENO, TIOCSTI, "x")) &&
           is_refused(ioctl(STDERR_FILENO, TIOCGWINSZ, &size)) &&
           !is_refused(ioctl(STDERR_FILENO, FIONREAD, &bytes)) && is_refused(fcntl(STDERR_FILENO, F_GETFL)) &&
           !is_refused(fcntl(STDERR_FILENO, F_SETFL, O_WRONLY));
}

static bool refuses_code_and_others_signals(void)
{
    size_t page = 4096;

    return mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
           mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED &&
           is_refused(tgkill(getppid(), getppid(), 0)) && tgkill(getpid(), gettid(), 0) == 0;
}

/* Whether it is so in a process of its own, behind the filter. */
static bool holds_behind(int (*enter)(void), bool (*check)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(enter() == 0 && check() ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status == 0;
}

Test(sandbox, nobody_opens_files_or_starts_programs)
{
    cr_expect(holds_behind(sandbox_enter_worker, refuses_files_and_programs));
    cr_expect(holds_behind(sandbox_enter_exporter, refuses_files_and_programs));
}

Test(sandbox, nobody_makes_code_or_signals_others)
{
    cr_expect(holds_behind(sandbox_enter_worker, refuses_code_and_others_signals));
    cr_expect(holds_behind(sandbox_enter_exporter, refuses_code_and_others_signals));
}

Test(sandbox, a_worker_has_sockets_to_servers_only)
{
    cr_expect(holds_behind(sandbox_enter_worker, refuses_other_sockets));
}

Test(sandbox, nobody_types_into_a_terminal)
{
    cr_expect(holds_behind(sandbox_enter_worker, refuses_terminals));
    cr_expect(!holds_behind(sandbox_enter_exporter, refuses_terminals), "no ioctl(2) at all");
}

Test(sandbox, the_exporter_connects_to_nobody)
{
    cr_expect(holds_behind(sandbox_enter_exporter, refuses_connections));
    cr_expect_not(holds_behind(sandbox_enter_worker, refuses_connections));
}

#endif
