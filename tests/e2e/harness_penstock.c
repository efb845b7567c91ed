#include "tests/e2e/harness_penstock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"

static struct bed_process running;
static const char *program;      /* NULL: this build's */
static bool (*started_by)(void); /* before_exec of the last penstock_start() */

static const char * or (const char *given, const char *otherwise)
{
    return given != NULL ? given : otherwise;
}

/* Where a machine lets it, TIME_WAIT would be owned: on interfaces that are not a test's own, and longer than
 * it lasts. */
static const char *time_wait_of(const struct penstock_config *config)
{
    return strstr(or (config->more, ""), "time_wait:") != NULL ? "" : "\ntime_wait: { mode: kernel }\n";
}

const char *penstock_configure(const struct penstock_config *config)
{
    const char *path = bed_path("penstock.yaml");

    bed_write_file(
        path, bed_format("name: %s\n"
                         "workers: %u\n"
                         "%s%s\n"
                         "limits: { %s }\n"
                         "timeouts: { %s }\n"
                         "log: { %s }\n"
                         "listeners:\n"
                         "  - { name: in, bind: [ %s ], routes: [ { pool: app } ], %s }\n"
                         "%s"
                         "pools:\n"
                         "  - { name: app, servers: [ %s ], %s }\n"
                         "%s%s%s",
                         bed.name, config->workers > 0 ? config->workers : 2, geteuid() == 0 ? "user: " : "",
                         geteuid() == 0 ? or (config->user, "nobody") : "",
                         or (config->limits, "sessions: 2000, buffers: 64MiB"),
                         or (config->timeouts, "connect: 5s"),
                         or (config->log, bed_format("access: %s", bed_path("access.log"))),
                         or (config->bind, bed_format("127.0.0.1:%u", bed.port)), or (config->listener, ""),
                         or (config->more_listeners, ""), config->servers, or (config->pool, "retries: 3"),
                         or (config->more_pools, ""), or (config->more, ""), time_wait_of(config)));
    return path;
}

struct bed_process penstock_spawn(const char *config_path, bool (*before_exec)(void))
{
    const char *argv[] = { or (program, bed_penstock_path()), "run", "-c", config_path, NULL};

    return bed_spawn(argv, before_exec);
}

void penstock_start_again(void)
{
    running = penstock_spawn(bed_path("penstock.yaml"), started_by);
    bed.penstock = running.pid;
    WAIT_UNTIL(strstr(penstock_log(), "event=ready") != NULL ||
               strstr(penstock_log(), "event=ended") != NULL || kill(running.pid, 0) != 0);
    cr_assert(strstr(penstock_log(), "event=ready") != NULL, "penstock run: %s", penstock_log());
}

void penstock_start(const struct penstock_config *config)
{
    penstock_configure(config);
    started_by = config->before_exec;
    penstock_start_again();
}

void penstock_install(const char *from)
{
    const char *new = bed_path("penstock.new");
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    struct stat stat;

    cr_assert(in >= 0 && out >= 0 && fstat(in, &stat) == 0);
    for (off_t at = 0; at < stat.st_size;) {
        cr_assert_gt(sendfile(out, in, &at, (size_t)(stat.st_size - at)), 0);
    }
    close(in);
    close(out);
    program = bed_path("penstock");
    cr_assert_eq(rename(new, program), 0);
}

const char *penstock_other_layout(void)
{
    const char *path = getenv("PENSTOCK_OTHER_LAYOUT");

    return path != NULL ? path : "build/tests/penstock-other-layout";
}

void penstock_kill(void)
{
    cr_assert_eq(kill(bed.penstock, SIGKILL), 0);
    bed_wait(bed.penstock);
    bed.penstock = 0;
}

void penstock_start_to(uint16_t server_port)
{
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", server_port)});
}

int penstock_start_to_test(const struct penstock_config *config)
{
    struct penstock_config own = config != NULL ? *config : (struct penstock_config){0};
    uint16_t port;
    int listener = net_listen(&port, 64);

    own.servers = bed_format("127.0.0.1:%u", port);
    penstock_start(&own);
    return listener;
}

int penstock_stop(int signal)
{
    pid_t members[2 * WORKERS_MAX] = {0};
    unsigned count = 0;
    const char *status = penstock_status();

    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        if (json_find(status, bed_format("workers.%u", i)) != NULL &&
            json_number(status, bed_format("workers.%u.pid", i)) != 0) {
            members[count++] = (pid_t)json_number(status, bed_format("workers.%u.pid", i));
            members[count++] = penstock_keeper(i);
        }
    }
    cr_assert_eq(kill(bed.penstock, signal), 0);
    int result = bed_wait(bed.penstock);
    bed.penstock = 0;
    for (unsigned i = 0; i < count; i++) {
        (void)waitpid(members[i], NULL, WNOHANG); /* an orphan is ours now */
        cr_assert(members[i] == 0 || (kill(members[i], 0) != 0 && errno == ESRCH), "process %d is left over",
                  members[i]);
    }
    return result;
}

const char *penstock_log(void)
{
    return bed_read_file(running.err);
}

const char *penstock_access_log(void)
{
    return bed_read_file(bed_path("access.log"));
}

void penstock_show_cut_sessions(void)
{
    FILE *log = fopen(bed_path("access.log"), "re");
    char line[1024];

    while (log != NULL && fgets(line, sizeof(line), log) != NULL) {
        if (strstr(line, " client_closed ") == NULL && strstr(line, " server_closed ") == NULL) {
            fputs(line, stderr);
        }
    }
    if (log != NULL) {
        fclose(log);
    }
}

const char *penstock_status(void)
{
    size_t texts = bed_mark();
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), "status", "-n", bed.name, "--json", NULL};
    int result = bed_run(argv, &process);
    const char *json = bed_read_file(process.out);

    cr_assert_eq(result, 0, "penstock status: %s", bed_read_file(process.err));
    (void)unlink(process.out);
    (void)unlink(process.err);
    bed_release(texts);
    return json;
}

uint64_t penstock_number(const char *path)
{
    return json_number(penstock_status(), path);
}

void penstock_expect_end(const char *reason)
{
    WAIT_UNTIL(penstock_number("sessions") == 0);
    cr_assert_eq(penstock_number(bed_format("closes.%s", reason)), 1, "%s", penstock_status());
    WAIT_UNTIL(strstr(penstock_access_log(), bed_format(" %s ", reason)) != NULL);
    bed_end();
}

void penstock_end_session(const struct net_pair *pair)
{
    net_end(pair);
    penstock_expect_end("client_closed");
}

int penstock_reload(void)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), "reload", "-c", bed_path("penstock.yaml"), NULL};

    return bed_run(argv, &process);
}

void penstock_reload_with(const struct penstock_config *config)
{
    penstock_configure(config);
    cr_assert_eq(penstock_reload(), 0, "%s", penstock_log());
}

int penstock_upgrade(void)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), "upgrade", "-n", bed.name, NULL};

    return bed_run(argv, &process);
}

pid_t penstock_worker(unsigned slot)
{
    return (pid_t)penstock_number(bed_format("workers.%u.pid", slot));
}

pid_t penstock_keeper(unsigned slot)
{
    return (pid_t)bed_proc_status(penstock_worker(slot), "PPid");
}

/* Without the pages of files, whose share falls and rises with whoever else has the C library mapped. */
static uint64_t pss_kib(pid_t pid)
{
    const char *rollup = bed_read_file(bed_format("/proc/%d/smaps_rollup", pid));
    const char *anonymous = strstr(rollup, "\nPss_Anon:");
    const char *shared = strstr(rollup, "\nPss_Shmem:");

    cr_assert(anonymous != NULL && shared != NULL);
    return strtoull(strchr(anonymous, ':') + 1, NULL, 10) + strtoull(strchr(shared, ':') + 1, NULL, 10);
}

uint64_t penstock_memory_kib(unsigned workers)
{
    uint64_t sum = pss_kib(bed.penstock) + pss_kib(bed_child_named(bed.penstock, "logger"));

    for (unsigned slot = 0; slot < workers; slot++) {
        sum += pss_kib(penstock_keeper(slot)) + pss_kib(penstock_worker(slot));
    }
    return sum;
}
