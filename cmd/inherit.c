#include "cmd/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cmd/descriptors.h"

enum {
    FIRST = STDERR_FILENO + 1,
    STOP_TIMEOUT_MS = 5000,
};

static int send_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

int inherit_stop(const struct kin *worker)
{
    const struct timespec pause = {.tv_nsec = 100000};
    int result = send_signal(worker->pidfd, SIGSTOP);

    for (int i = 0; result == 0 && i < STOP_TIMEOUT_MS * 10; i++) {
        char state = kin_state(worker->pid);
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

/* One more than the highest number that may be open. Listing /proc/PID/fd would make an entry of the kernel's
 * for each. */
static int numbers_of(const struct kin *worker)
{
    struct rlimit limit = {.rlim_cur = INT_MAX};
    char path[64];
    char line[128];
    int size = -ESRCH;

    snprintf(path, sizeof(path), "/proc/%d/status", worker->pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -errno;
    }
    while (size < 0 && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "FDSize: %d", &size);
    }
    fclose(file);
    /* A table is larger than what may be open; the last number is free: DESCRIPTORS_SPARE. */
    getrlimit(RLIMIT_NOFILE, &limit);
    return size < 0 || (rlim_t)size < limit.rlim_cur ? size : (int)limit.rlim_cur - 1;
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

/* What is not open is left out; but one that lives has all below the sessions'. If it dies meanwhile, what
 * was copied is saved. */
static int copy_all(int pidfd, int end)
{
    int result = 0;

    for (int number = FIRST; number < end && result == 0; number++) {
        result = copy(pidfd, number);
        if (number >= FD_SESSIONS && (result == -EBADF || result == -ESRCH)) {
            result = 0;
        }
    }
    return result;
}

/* The pidfd goes above all the others until it has served. */
static int copy_and_end(const struct kin *worker, int end)
{
    if (worker->pidfd != end && dup3(worker->pidfd, end, O_CLOEXEC) < 0) {
        int error = errno;
        kin_continue(worker->pidfd);
        return -error;
    }
    (void)close_range(FIRST, (unsigned)end - 1, 0);
    (void)close_range((unsigned)end + 1, ~0u, 0);
    int result = copy_all(end, end);
    if (result == 0) {
        kin_unbind(); /* from here on this is the keeper */
        (void)send_signal(end, SIGKILL);
        (void)kin_wait_end(end, -1); /* its ring is frozen then */
    } else {
        kin_continue(end);
    }
    close(end);
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
    int result = inherit_stop(worker);

    if (result == 0) {
        result = numbers_of(worker);
    }
    if (result > FD_SESSIONS) {
        return copy_and_end(worker, result);
    }
    kin_continue(worker->pidfd);
    return result < 0 ? result : -ESRCH;
}
