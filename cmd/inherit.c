#include "cmd/inherit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cmd/descriptors.h"
#include "core/check.h"

enum {
    FIRST = STDERR_FILENO + 1,
    STOP_TIMEOUT_MS = 5000,
    ROOM = 1024, /* the list grows by this */
};

/* Numbers of open descriptors, ascending. */
struct numbers {
    int *list;
    uint32_t count;
};

static int send_signal(const struct kin *worker, int signal)
{
    return syscall(SYS_pidfd_send_signal, worker->pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

/* The letter of proc(5), /proc/PID/stat; 0 where the process is gone. */
static char state_of(pid_t pid)
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

/* Stopped it opens and closes nothing. */
static int stop(const struct kin *worker)
{
    const struct timespec pause = {.tv_nsec = 100000};
    int result = send_signal(worker, SIGSTOP);

    for (int i = 0; result == 0 && i < STOP_TIMEOUT_MS * 10; i++) {
        char state = state_of(worker->pid);
        if (state == 'T' || state == 't') {
            return 0;
        }
        if (kin_has_ended(worker->pidfd)) {
            return -ESRCH;
        }
        nanosleep(&pause, NULL);
    }
    return result < 0 ? result : -ETIMEDOUT;
}

static int ascending(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

static int add(struct numbers *numbers, int number)
{
    if (numbers->count % ROOM == 0) {
        int *larger = realloc(numbers->list, (numbers->count + ROOM) * sizeof(*larger));
        if (larger == NULL) {
            return -ENOMEM;
        }
        numbers->list = larger;
    }
    numbers->list[numbers->count++] = number;
    return 0;
}

static int list(const struct kin *worker, struct numbers *numbers)
{
    char path[64];
    int result = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", worker->pid);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return -errno;
    }
    for (const struct dirent *entry; result == 0 && (entry = readdir(directory)) != NULL;) {
        int number = (int)strtol(entry->d_name, NULL, 10);
        if (entry->d_name[0] != '.' && number >= FIRST) {
            result = add(numbers, number);
        }
    }
    closedir(directory);
    if (result == 0 && numbers->count < FD_SESSIONS - FIRST) {
        return -ESRCH; /* a worker that lives has at least these */
    }
    if (result == 0) {
        qsort(numbers->list, numbers->count, sizeof(*numbers->list), ascending);
    }
    return result;
}

/* To the same number: what is free below is lower. */
static int copy(int pidfd, int number)
{
    int fd = kin_copy_descriptor(pidfd, number);

    if (fd < 0 || fd == number) {
        return fd < 0 ? fd : 0;
    }
    int result = dup3(fd, number, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return result;
}

/* The pidfd goes above all the others until it has served. */
static int copy_all(const struct kin *worker, const struct numbers *numbers)
{
    CHECK(numbers->list != NULL && numbers->count > 0);
    int pidfd = numbers->list[numbers->count - 1] + 1;

    if (worker->pidfd != pidfd && dup3(worker->pidfd, pidfd, O_CLOEXEC) < 0) {
        int error = errno;
        (void)send_signal(worker, SIGCONT);
        return -error;
    }
    (void)close_range(FIRST, (unsigned)pidfd - 1, 0);
    (void)close_range((unsigned)pidfd + 1, ~0u, 0);
    int result = 0;
    for (uint32_t i = 0; i < numbers->count && result == 0; i++) {
        result = copy(pidfd, numbers->list[i]);
    }
    const struct kin same = {.pid = worker->pid, .pidfd = pidfd};
    if (result == 0) {
        kin_unbind(); /* from here on this is the keeper */
        result = send_signal(&same, SIGKILL);
    }
    if (result == 0) {
        (void)kin_wait_end(pidfd, -1); /* its ring is frozen then */
    } else {
        (void)send_signal(&same, SIGCONT);
    }
    close(pidfd);
    return result;
}

int inherit_check(const struct kin *worker)
{
    int fd = kin_copy_descriptor(worker->pidfd, FD_WAKE);

    if (fd >= 0) {
        close(fd);
    }
    return fd < 0 ? fd : 0;
}

int inherit_descriptors(const struct kin *worker)
{
    struct numbers numbers = {0};
    int result = stop(worker);

    if (result == 0) {
        result = list(worker, &numbers);
    }
    if (result == 0) {
        result = copy_all(worker, &numbers);
    } else {
        (void)send_signal(worker, SIGCONT);
    }
    free(numbers.list);
    return result;
}
