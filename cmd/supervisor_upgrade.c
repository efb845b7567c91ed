/*
 * Upgrade: the supervisor becomes the new program in place, under its process id, takes over as from a dead one
 * (cmd/supervisor_takeover.c), and replaces keepers and workers slot by slot (cmd/inherit.h).
 *
 * Before that the new program is asked for its layout and to check the configuration. Whatever is wrong until
 * then changes nothing. The claim of the name is never given up, signals stay blocked and pending over
 * execve(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/inherit.h"
#include "cmd/notify.h"
#include "cmd/supervisor.h"
#include "io/clock.h"
#include "io/log.h"
#include "shm/worker_slot.h"

enum {
    ASK_MS = 10000, /* what the new program may take for an answer */
    ANSWER_BYTES = 512,
};

static void fail(struct supervisor *supervisor, const char *what, const char *said)
{
    supervisor->upgrade_wanted = false;
    supervisor->upgrading = false;
    log_line(LOG_LEVEL_ERROR, "event=upgrade_failed program=\"%s\" what=\"%s\" said=\"%s\"",
             supervisor->program, what, said);
    supervisor->region.header->upgrades_failed++;
    notify_ready();
}

/* --- Asking the new program ------------------------------------------------------------------------------- */

static _Noreturn void become(const char *const *argv, int out)
{
    sigset_t none;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    (void)close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    execv(argv[0], (char *const *)argv);
    dprintf(STDERR_FILENO, "%s", strerror(errno));
    _exit(127);
}

/* Reads until the end or a time; as one line. */
static void read_answer(int fd, char *text, size_t size, uint64_t until_us)
{
    size_t used = 0;

    while (used + 1 < size) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        uint64_t now_us = clock_now_us();
        ssize_t got = 0;
        if (now_us < until_us && poll(&readable, 1, (int)((until_us - now_us) / 1000) + 1) == 1) {
            got = read(fd, text + used, size - 1 - used);
        }
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
    }
    text[used] = '\0';
    for (char *at = text; *at != '\0'; at++) {
        *at = *at == '\n' ? ' ' : *at == '"' || *at < ' ' || *at > '~' ? '\'' : *at;
    }
}

/* Runs a program to its end; what it says goes to `text`. Whether it ended well. */
static bool ask(const char *const *argv, char *text, size_t size)
{
    uint64_t until_us = clock_now_us() + ASK_MS * 1000ull;
    int ends[2];
    int status = -1;

    snprintf(text, size, "cannot be run");
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become(argv, ends[1]);
    }
    close(ends[1]);
    if (pid > 0) {
        read_answer(ends[0], text, size, until_us);
        int pidfd = kin_open(pid);
        uint64_t now_us = clock_now_us();
        if (pidfd < 0 || !kin_wait_end(pidfd, now_us < until_us ? (int)((until_us - now_us) / 1000) : 0)) {
            (void)kill(pid, SIGKILL);
        }
        if (pidfd >= 0) {
            close(pidfd);
        }
        (void)waitpid(pid, &status, 0);
    }
    close(ends[0]);
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- Whether it may be ------------------------------------------------------------------------------------ */

/* Whether what has to be copied can be. */
static bool may_copy(const struct supervisor *supervisor)
{
    static struct kin found[KIN_MAX];
    struct kin_memory memory;
    bool may = true;

    if (kin_memory_of(supervisor->region.fds[SEGMENT_TABLES], &memory) < 0) {
        return false;
    }
    int count = kin_find(&memory, found, KIN_MAX);
    uint32_t workers = 0;
    for (int i = 0; i < count; i++) {
        may = may && (found[i].role == KIN_LOGGER || inherit_check(&found[i]) != -EPERM);
        workers += found[i].role == KIN_WORKER;
        close(found[i].pidfd);
    }
    return may && workers > 0; /* those we may not look at are not found */
}

static bool is_good(struct supervisor *supervisor)
{
    const char *version[] = {supervisor->program, "version", "--layout", NULL};
    const char *check[] = {supervisor->program, "check", "-c", supervisor->config_path, NULL};
    char said[ANSWER_BYTES];
    unsigned layout;

    bool answers = ask(version, said, sizeof(said));
    const char *line = strstr(said, "layout ");
    if (!answers || line == NULL || sscanf(line, "layout %u", &layout) != 1) {
        fail(supervisor, "the new program does not run here", said);
        return false;
    }
    log_line(LOG_LEVEL_INFO, "event=upgrading program=\"%s\" said=\"%s\" same_layout=%s", supervisor->program,
             said, layout == region_layout_version() ? "yes" : "no");
    if (!ask(check, said, sizeof(said))) {
        fail(supervisor, "the new program refuses the configuration", said);
        return false;
    }
    if (!may_copy(supervisor)) {
        fail(supervisor,
             "copying the workers' descriptors takes CAP_SYS_PTRACE (containers: cap_add SYS_PTRACE)", "");
        return false;
    }
    return true;
}

/* Returns only where it did not come to it. */
static void execute(struct supervisor *supervisor)
{
    const char *argv[] = {supervisor->program, "run", "-c", supervisor->config_path, NULL};

    if (!is_good(supervisor)) {
        return;
    }
    notify_reloading();
    supervisor_end_exporter(supervisor);
    (void)close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    int result = instance_hand_on(&supervisor->instance, true);
    if (result == 0) {
        execv(argv[0], (char *const *)argv);
        result = -errno;
    }
    (void)instance_hand_on(&supervisor->instance, false);
    fail(supervisor, "the new program cannot be executed", strerror(-result));
}

/* --- Slot by slot ----------------------------------------------------------------------------------------- */

/* The keeper has all it needs, and its worker serves. */
static bool is_at_rest(const struct supervisor *supervisor, uint32_t index)
{
    const struct supervised_slot *slot = &supervisor->slots[index];
    const struct worker_slot *shared = region_slot(&supervisor->region, index);

    if (slot->pidfd < 0) {
        return index >= supervisor->image->workers;
    }
    return slot->keeper != 0 && !slot->replacing && shared->keeper_pid == (uint32_t)slot->keeper &&
           __atomic_load_n(&shared->state, __ATOMIC_ACQUIRE) == SLOT_SERVING;
}

/* The first slot for which it does not hold, or the number of slots. */
static uint32_t first_not(const struct supervisor *supervisor,
                          bool (*holds)(const struct supervisor *supervisor, uint32_t index))
{
    uint32_t count = supervisor->region.header->slot_count;

    for (uint32_t i = 0; i < count; i++) {
        if (!holds(supervisor, i)) {
            return i;
        }
    }
    return count;
}

static bool is_new(const struct supervisor *supervisor, uint32_t index)
{
    return supervisor->slots[index].pidfd < 0 || supervisor->slots[index].own;
}

static bool may_be_replaced(const struct supervisor *supervisor, uint32_t index)
{
    return !supervisor->slots[index].told;
}

/* Stops the slot's worker, so that it does not die by itself while it has no keeper. 0, or -ESRCH where there is none
 * just now: its keeper is replacing it. */
static int stop_worker(const struct supervisor *supervisor, uint32_t index)
{
    static struct kin found[KIN_MAX];
    struct kin_memory memory;
    int result = -ESRCH;

    if (kin_memory_of(supervisor->region.fds[SEGMENT_TABLES], &memory) < 0) {
        return 0;
    }
    int count = kin_find(&memory, found, KIN_MAX);
    for (int i = 0; i < count; i++) {
        if (found[i].role == KIN_WORKER && found[i].slot == index) {
            result = inherit_stop(&found[i]);
        }
        close(found[i].pidfd);
    }
    return result == -ESRCH ? result : 0;
}

/* The next keeper that is not ours goes; supervisor_watch_slots() does the rest. */
static void replace_next(struct supervisor *supervisor)
{
    struct region_header *header = supervisor->region.header;
    uint32_t next = first_not(supervisor, is_new);

    if (next < header->slot_count) {
        if (stop_worker(supervisor, next) < 0) {
            return; /* once it is replaced */
        }
        supervisor->slots[next].replacing = true;
        (void)kill(supervisor->slots[next].keeper, SIGKILL);
        return;
    }
    supervisor->upgrading = false;
    log_line(LOG_LEVEL_INFO, "event=upgraded version=%s", header->version);
    header->upgrades++;
    notify_ready();
}

void supervisor_follow_upgrade(struct supervisor *supervisor)
{
    uint32_t slots = supervisor->region.header->slot_count;

    if (!supervisor->upgrade_wanted && !supervisor->upgrading) {
        return;
    }
    if (supervisor->stopping) {
        fail(supervisor, "the instance ends", "");
    } else if (first_not(supervisor, may_be_replaced) < slots) {
        fail(supervisor, "a worker cannot be copied", "");
    } else if (first_not(supervisor, is_at_rest) == slots && !supervisor->reload_pending) {
        if (supervisor->upgrading) {
            replace_next(supervisor);
        } else {
            execute(supervisor);
        }
    }
}
