/* `check`, and starts on machines that lack something. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

BED_SUITE(start, 60);

static int check(const char *path, const char **said)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), "check", "-c", path, NULL};
    int result = bed_run(argv, &process);

    *said = bed_read_file(process.err);
    return result;
}

Test(start, check_accepts_a_right_file)
{
    const char *said;

    cr_assert_eq(check(penstock_configure(&(struct penstock_config){.servers = "127.0.0.1:1"}), &said), 0,
                 "%s", said);
    cr_assert_str_eq(said, "");
    bed_end();
}

Test(start, check_names_the_place_of_each_mistake)
{
    const char *said;
    const char *path = bed_path("wrong.yaml");

    bed_write_file(path, "name: wrong\n"
                         "workers: many\n"
                         "listeners:\n"
                         "  - { name: in, bind: 127.0.0.1:99999, routes: [ { pool: app } ] }\n"
                         "pools:\n"
                         "  - { name: other, servers: [ 127.0.0.1:1 ] }\n");
    cr_assert_eq(check(path, &said), 1);
    cr_assert(strstr(said, "wrong.yaml:2:10: workers") != NULL, "%s", said);
    cr_assert(strstr(said, "wrong.yaml:4:23: ") != NULL, "%s", said);
    bed_end();
}

Test(start, check_names_a_missing_file)
{
    const char *said;

    cr_assert_neq(check(bed_path("none.yaml"), &said), 0);
    cr_assert(strstr(said, "none.yaml") != NULL && strstr(said, strerror(ENOENT)) != NULL, "%s", said);
    bed_end();
}

static bool allow_few_descriptors(void)
{
    struct rlimit limit = {200, 200};

    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

Test(start, too_few_descriptors)
{
    const char *path = penstock_configure(&(struct penstock_config){.servers = "127.0.0.1:1"});
    struct bed_process process = penstock_spawn(path, allow_few_descriptors);

    cr_assert_eq(bed_wait(process.pid), 1);
    const char *said = bed_read_file(process.err);
    cr_assert(
        strstr(said,
               "penstock.yaml:4:21: limits.sessions: 2000 sessions on 2 workers need 2320 descriptors") !=
            NULL,
        "%s", said);
    bed_end();
}

/* Every system call passes but io_uring_setup, which fails with EPERM, as where kernel.io_uring_disabled is 2. */
static bool forbid_io_uring(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

Test(start, without_io_uring)
{
    const char *path = penstock_configure(&(struct penstock_config){.servers = "127.0.0.1:1"});
    struct bed_process process = penstock_spawn(path, forbid_io_uring);

    cr_assert_eq(bed_wait(process.pid), 1);
    const char *said = bed_read_file(process.err);
    cr_assert_eq(bed_count(said, "level=error"), 1, "%s", said);
    cr_assert(strstr(said, "event=start_failed cause=\"") != NULL, "%s", said);
    cr_assert(strstr(said, "io_uring is blocked") != NULL && strstr(said, "; allow io_uring_setup") != NULL,
              "%s", said);
    bed_end();
}

Test(start, name_of_an_instance_that_died_is_free)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    penstock_start_to(port);
    pid_t others[] = {penstock_keeper(0), penstock_keeper(1), penstock_worker(0), penstock_worker(1)};
    for (int i = 0; i < 4; i++) {
        kill(others[i], SIGKILL);
    }
    kill(bed.penstock, SIGKILL);
    bed_wait(bed.penstock);
    bed.port = bed_reserve_port("127.0.0.1");
    penstock_start_to(port);
    struct net_pair pair = net_pair(listener);
    net_pass(pair.client, pair.server, "again");
    bed_end();
}

static void expect_capabilities(pid_t pid, uint64_t allowed)
{
    WAIT_UNTIL(bed_proc_status(pid, "NoNewPrivs") == 1); /* the last that it gives up */
    uint64_t permitted = bed_proc_status(pid, "CapPrm");
    cr_expect_eq(permitted & ~allowed, 0, "process %d: %lx", pid, (unsigned long)permitted);
}

/* A process has what it cannot do without, be it root's. */
static void expect_few_capabilities(const char *user)
{
    uint64_t of_keeper = 1ul << CAP_SETUID | 1ul << CAP_SETGID | 1ul << CAP_IPC_LOCK | 1ul << CAP_KILL;

    penstock_start(&(struct penstock_config){.servers = "127.0.0.1:1", .user = user});
    for (unsigned slot = 0; slot < 2; slot++) {
        kill(penstock_worker(slot), SIGKILL); /* that of the next one is the keeper's to give */
        WAIT_UNTIL(penstock_number(bed_format("workers.%u.incarnation", slot)) == 2);
        expect_capabilities(penstock_keeper(slot), of_keeper);
        WAIT_UNTIL(bed_proc_status(penstock_worker(slot), "Seccomp") == 2);
        expect_capabilities(penstock_worker(slot), 0);
    }
    expect_capabilities(bed_child_named(bed.penstock, "logger"), 1ul << CAP_DAC_OVERRIDE);
}

Test(start, leaves_few_capabilities_to_each_process)
{
    expect_few_capabilities(NULL);
    cr_expect(strstr(penstock_log(), "event=no_user") == NULL);
    bed_end();
}

Test(start, leaves_no_more_capabilities_to_root)
{
    if (geteuid() != 0) {
        cr_skip("root only");
    }
    expect_few_capabilities("root");
    cr_expect(strstr(penstock_log(), "event=no_user") != NULL);
    bed_end();
}

/* How a process maps a memory file: the line of /proc/PID/maps up to the name. */
static const char *mapping_of(pid_t pid, const char *name)
{
    const char *maps = bed_read_file(bed_format("/proc/%d/maps", pid));
    const char *end = strstr(maps, name);
    const char *line = end;

    cr_assert(end != NULL && strstr(end + 1, name) == NULL, "not mapped once: %s\n%s", name, maps);
    while (line > maps && line[-1] != '\n') {
        line--;
    }
    return bed_format("%.*s", (int)(end - line), line);
}

/* Workers meet strangers; what the processes with more rights act on must not be theirs to forge. */
Test(start, workers_and_keepers_can_only_read_the_head)
{
    penstock_start_to(1);
    pid_t readers[] = {penstock_worker(0), penstock_keeper(0)};
    for (int i = 0; i < 2; i++) {
        cr_assert(strstr(mapping_of(readers[i], "penstock-head"), " r--s ") != NULL);
        cr_assert(strstr(mapping_of(readers[i], "penstock-tables"), " rw-s ") != NULL);
        const char *info = bed_read_file(bed_format("/proc/%d/fdinfo/3", readers[i])); /* FD_HEAD */
        unsigned flags = 0;
        cr_assert_eq(sscanf(info, "pos: %*d flags: %o", &flags), 1, "%s", info);
        cr_assert_eq(flags & O_ACCMODE, O_RDONLY, "%s", info);
    }
    bed_end();
}
