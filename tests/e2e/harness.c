#include "tests/e2e/harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/address.h"
#include "tests/e2e/harness_guard.h"
#include "tests/e2e/harness_penstock.h"

enum { PORT_LOW = 10000, PORT_HIGH = 32768, PORT_TRIES = 1000 };

struct bed bed;

/* Files that were read. */
struct contents {
    struct contents *next;
    char text[];
};

static struct contents *files;
static char arena[TEXT_ARENA_BYTES];
static size_t arena_used;

static void free_files(void)
{
    while (files != NULL) {
        struct contents *next = files->next;
        free(files);
        files = next;
    }
}

void bed_begin(void)
{
    const char *temporary = getenv("TMPDIR");
    static unsigned number;

    arena_used = 0;
    bed = (struct bed){.guard_fd = -1};
    signal(SIGPIPE, SIG_IGN);
    snprintf(bed.dir, sizeof(bed.dir), "%.80s/penstock-e2e-XXXXXX", temporary != NULL ? temporary : "/tmp");
    cr_assert_not_null(mkdtemp(bed.dir), "mkdtemp %s: %s", bed.dir, strerror(errno));
    cr_assert_eq(chmod(bed.dir, 0755), 0);
    snprintf(bed.name, sizeof(bed.name), "e2e-%d-%u", getpid(), number++);
    /* Orphans come to the test, which sees them end. */
    cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    cr_assert(guard_start(), "cannot start the guard: %s", strerror(errno));
    bed.port = bed_reserve_port("127.0.0.1");
}

/* Lets the guard clean up and waits until every process of the test has gone. */
void bed_fini(void)
{
    if (bed.guard_fd < 0) {
        return;
    }
    close(bed.guard_fd);
    bed.guard_fd = -1;
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
    }
    free_files();
}

void bed_end(void)
{
    if (bed.penstock != 0) {
        cr_assert_eq(penstock_stop(SIGINT), 0, "penstock run: exit status after SIGINT");
    }
    guard_tell_passed();
}

uint64_t bed_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void bed_pause_ms(unsigned ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
}

const char *bed_format(const char *format, ...)
{
    va_list arguments;
    char *text = arena + arena_used;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(arena) - arena_used, format, arguments);
    va_end(arguments);
    cr_assert(length >= 0 && (size_t)length < sizeof(arena) - arena_used, "the test's texts need more room");
    arena_used += (size_t)length + 1;
    return text;
}

size_t bed_mark(void)
{
    return arena_used;
}

void bed_release(size_t mark)
{
    arena_used = mark;
}

const char *bed_path(const char *name)
{
    return bed_format("%s/%s", bed.dir, name);
}

void bed_write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

const char *bed_read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got;

    if (fd < 0) {
        return "";
    }
    struct contents *contents = malloc(sizeof(*contents) + FILE_BYTES_MAX);
    cr_assert_not_null(contents);
    do {
        got = read(fd, contents->text + used, FILE_BYTES_MAX - 1 - used);
        used += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    close(fd);
    contents->text[used] = '\0';
    struct contents *fitted = realloc(contents, sizeof(*contents) + used + 1);
    contents = fitted != NULL ? fitted : contents;
    contents->next = files;
    files = contents;
    return contents->text;
}

uint64_t bed_count_lines(const char *path)
{
    static char chunk[64 * 1024];
    uint64_t count = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    for (ssize_t got; fd >= 0 && (got = read(fd, chunk, sizeof(chunk))) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            count += chunk[i] == '\n';
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return count;
}

unsigned bed_count(const char *text, const char *what)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what)) {
        count++;
    }
    return count;
}

const char *bed_penstock_path(void)
{
    const char *path = getenv("PENSTOCK");

    return path != NULL ? path : "build/penstock";
}

const char *bed_bench_path(const char *name)
{
    const char *dir = getenv("BENCH_DIR");

    return bed_format("%s/%s", dir != NULL ? dir : "build/bench", name);
}

static int open_output(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);

    cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
    return fd;
}

static _Noreturn void become(const char *const *argv, bool (*before_exec)(void))
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, bed.group);
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (before_exec != NULL && !before_exec()) {
        _exit(126);
    }
    execv(argv[0], (char *const *)argv);
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

struct bed_process bed_spawn(const char *const *argv, bool (*before_exec)(void))
{
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash != NULL ? slash + 1 : argv[0];
    unsigned number = bed.outputs++;
    struct bed_process process = {
        .out = bed_format("%s/%u-%s.out", bed.dir, number, name),
        .err = bed_format("%s/%u-%s.err", bed.dir, number, name),
    };
    int out = open_output(process.out);
    int err = open_output(process.err);

    process.pid = fork();
    if (process.pid == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        become(argv, before_exec);
    }
    close(out);
    close(err);
    cr_assert(process.pid > 0, "fork: %s", strerror(errno));
    (void)setpgid(process.pid, bed.group); /* whoever of the two is first */
    return process;
}

int bed_wait(pid_t pid)
{
    int status;
    struct pollfd poll_end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

    cr_assert(poll_end.fd >= 0, "pidfd_open %d: %s", pid, strerror(errno));
    int ready = poll(&poll_end, 1, 20 * WAIT_LIMIT_MS); /* the test's own limit comes first */
    close(poll_end.fd);
    cr_assert_eq(ready, 1, "process %d does not end", pid);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

bool bed_has_ended(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

int bed_run(const char *const *argv, struct bed_process *process)
{
    *process = bed_spawn(argv, NULL);
    return bed_wait(process->pid);
}

static in_port_t *port_of(struct address *address)
{
    return address->any.sa_family == AF_INET ? &address->in4.sin_port : &address->in6.sin6_port;
}

/* Below the range the kernel takes ports of outgoing connections from: after much load all of that is in TIME_WAIT. */
uint16_t bed_bind(int fd, const char *host)
{
    struct address address;
    uint16_t port = 0;
    const char *text = bed_format(strchr(host, ':') != NULL ? "[%s]:1" : "%s:1", host);

    cr_assert_eq(address_parse(text, &address), 0);
    for (int i = 0; i < PORT_TRIES; i++) {
        cr_assert_eq(getrandom(&port, sizeof(port), 0), (ssize_t)sizeof(port));
        port = (uint16_t)(PORT_LOW + port % (PORT_HIGH - PORT_LOW));
        *port_of(&address) = htons(port);
        if (bind(fd, &address.any, address.length) == 0) { /* without sharing: the port is nobody else's */
            return port;
        }
        cr_assert_eq(errno, EADDRINUSE, "bind %s: %s", host, strerror(errno));
    }
    cr_assert_fail("no port is free on %s", host);
    return 0;
}

uint16_t bed_reserve_port(const char *host)
{
    int one = 1;
    int fd = socket(strchr(host, ':') != NULL ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0);
    uint16_t port = bed_bind(fd, host);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
    return port;
}

unsigned bed_count_descriptors(pid_t pid)
{
    unsigned count = 0;
    DIR *dir = opendir(bed_format("/proc/%d/fd", pid));

    cr_assert_not_null(dir, "descriptors of process %d: %s", pid, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

uint64_t bed_proc_status(pid_t pid, const char *key)
{
    char line[256];
    int base = strncmp(key, "Cap", 3) == 0 ? 16 : 10;
    uint64_t value = 0;
    FILE *file = fopen(bed_format("/proc/%d/status", pid), "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
            value = strtoull(line + strlen(key) + 1, NULL, base);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

static bool is_child_named(pid_t pid, pid_t parent, const char *name)
{
    const char *comm = bed_read_file(bed_format("/proc/%d/comm", pid));

    return bed_proc_status(pid, "PPid") == (uint64_t)parent && strncmp(comm, name, strlen(name)) == 0 &&
           comm[strlen(name)] == '\n';
}

pid_t bed_child_named(pid_t parent, const char *name)
{
    DIR *dir = opendir("/proc");
    pid_t found = 0;

    cr_assert_not_null(dir);
    for (const struct dirent *entry; found == 0 && (entry = readdir(dir)) != NULL;) {
        size_t texts = bed_mark();
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && is_child_named(pid, parent, name)) {
            found = pid;
        }
        bed_release(texts);
    }
    closedir(dir);
    return found;
}
