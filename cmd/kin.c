#include "cmd/kin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/descriptors.h"

enum { LOGGER_MS = 2000 };

int kin_memory_of(int tables_fd, struct kin_memory *memory)
{
    struct stat stat;

    if (fstat(tables_fd, &stat) != 0) {
        return -errno;
    }
    *memory = (struct kin_memory){.device = stat.st_dev, .inode = stat.st_ino};
    return 0;
}

int kin_open(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : fd;
}

/* By the process's name: what it would be if it is one of ours. */
static bool read_role(struct kin *kin)
{
    char path[64];
    char name[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", kin->pid);
    file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(name, sizeof(name), file) != NULL;
    fclose(file);
    if (!read) {
        return false;
    }
    kin->slot = 0;
    if (strcmp(name, "logger\n") == 0) {
        kin->role = KIN_LOGGER;
        return true;
    }
    kin->role = name[0] == 'k' ? KIN_KEEPER : KIN_WORKER;
    return sscanf(name, kin->role == KIN_KEEPER ? "keeper.%u" : "worker.%u", &kin->slot) == 1;
}

/* 0, -ENOENT where it does not hold the memory, or -EACCES where we may not look. */
static int holds(pid_t pid, const struct kin_memory *memory)
{
    struct stat stat_of;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, FD_TABLES);
    if (stat(path, &stat_of) != 0) {
        return errno == EACCES || errno == EPERM ? -EACCES : -ENOENT;
    }
    return stat_of.st_dev == memory->device && stat_of.st_ino == memory->inode ? 0 : -ENOENT;
}

/* 0: the process is one of ours, and `kin` is filled. -ENOENT, or -EACCES where only its name is right. The
 * pidfd that is still alive at the end makes sure that all that was looked at was the same process. */
static int identify(pid_t pid, const struct kin_memory *memory, struct kin *kin)
{
    kin->pid = pid;
    if (!read_role(kin)) {
        return -ENOENT;
    }
    kin->pidfd = kin_open(pid);
    if (kin->pidfd < 0) {
        return -ENOENT;
    }
    int result = read_role(kin) ? holds(pid, memory) : -ENOENT;
    if (result != -ENOENT && !kin_has_ended(kin->pidfd)) {
        return result;
    }
    close(kin->pidfd);
    return -ENOENT;
}

static bool is_anybody(const struct kin *found, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (found[i].role != KIN_LOGGER) {
            return true;
        }
    }
    return false;
}

int kin_find(const struct kin_memory *memory, struct kin *found, uint32_t max)
{
    DIR *directory = opendir("/proc");
    uint32_t count = 0;
    bool denied = false;

    if (directory == NULL) {
        return -errno;
    }
    for (const struct dirent *entry; count < max && (entry = readdir(directory)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        int result = pid > 0 && pid != getpid() ? identify(pid, memory, &found[count]) : -ENOENT;
        if (result == -EACCES) {
            close(found[count].pidfd);
            denied = true;
        }
        count += result == 0;
    }
    closedir(directory);
    if (!denied || is_anybody(found, count)) {
        return (int)count;
    }
    while (count > 0) {
        close(found[--count].pidfd);
    }
    return -EPERM;
}

/* One that hangs on a terminal that nobody reads is not waited for. */
static void end_logger(const struct kin *logger)
{
    (void)kill(logger->pid, SIGTERM);
    if (!kin_wait_end(logger->pidfd, LOGGER_MS)) {
        (void)kill(logger->pid, SIGKILL);
        (void)kin_wait_end(logger->pidfd, -1);
    }
}

static void reopen_log(const struct kin *logger)
{
    (void)kill(logger->pid, SIGUSR1);
}

static void for_loggers(const struct kin_memory *memory, void (*act)(const struct kin *logger))
{
    static struct kin found[KIN_MAX];
    int count = kin_find(memory, found, KIN_MAX);

    for (int i = 0; i < count; i++) {
        if (found[i].role == KIN_LOGGER) {
            act(&found[i]);
        }
        close(found[i].pidfd);
    }
}

void kin_end_loggers(const struct kin_memory *memory)
{
    for_loggers(memory, end_logger);
}

void kin_reopen_logs(const struct kin_memory *memory)
{
    for_loggers(memory, reopen_log);
}

int kin_find_worker(const struct kin_memory *memory, uint32_t slot, pid_t hint, struct kin *worker)
{
    DIR *directory = opendir("/proc");
    bool found = false;

    if (directory == NULL) {
        return -errno;
    }
    for (const struct dirent *entry; !found && (entry = readdir(directory)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        int result = pid > 0 && pid != getpid() ? identify(pid, memory, worker) : -ENOENT;
        /* Just cloned, a worker bears its keeper's name. */
        found = (result == 0 || (result == -EACCES && pid == hint)) && worker->slot == slot &&
                worker->role != KIN_LOGGER;
        if (result != -ENOENT && !found) {
            close(worker->pidfd);
        }
    }
    closedir(directory);
    return found ? 0 : -ESRCH;
}

void kin_bind(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent) {
        _exit(EXIT_FAILURE);
    }
}

void kin_unbind(void)
{
    (void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

int kin_copy_descriptor(int pidfd, int number)
{
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);

    return fd < 0 ? -errno : fd;
}

void kin_continue(int pidfd)
{
    (void)syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
}

char kin_state(pid_t pid)
{
    char text[128] = "";
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    const char *name_end = got > 0 ? strrchr(text, ')') : NULL;
    return name_end != NULL && name_end[1] == ' ' ? name_end[2] : '\0';
}

bool kin_wait_end(int pidfd, int timeout_ms)
{
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    int ready;

    do {
        ready = poll(&end, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    return ready == 1;
}

bool kin_has_ended(int pidfd)
{
    return kin_wait_end(pidfd, 0);
}
