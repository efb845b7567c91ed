#include "tests/e2e/harness_guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/harness.h"

enum { SHOWN_BYTES = 4096 }; /* the end of each file */

static bool has_report(const char *text)
{
    return strstr(text, "Sanitizer") != NULL || strstr(text, ": runtime error: ") != NULL;
}

static void show_file(const char *name, bool failed)
{
    static char text[SHOWN_BYTES + 1];
    char path[2 * PATH_BYTES];
    struct stat stat;

    snprintf(path, sizeof(path), "%s/%.100s", bed.dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        return;
    }
    off_t from = stat.st_size > SHOWN_BYTES ? stat.st_size - SHOWN_BYTES : 0;
    ssize_t length = pread(fd, text, SHOWN_BYTES, from);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    if (length > 0 && (failed || has_report(text))) {
        dprintf(STDERR_FILENO, "---- %s\n%s", path, text);
    }
}

static void for_each_file(void (*handle)(const char *name, bool failed), bool failed)
{
    DIR *dir = opendir(bed.dir);

    if (dir == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            handle(entry->d_name, failed);
        }
    }
    closedir(dir);
}

static void remove_file(const char *name, bool failed)
{
    char path[2 * PATH_BYTES];

    (void)failed;
    snprintf(path, sizeof(path), "%s/%.100s", bed.dir, name);
    (void)unlink(path);
}

/* The group's leader does nothing: while it is not reaped, the group's number is nobody else's. */
static pid_t start_leader(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)close_range(0, ~0u, 0);
        for (;;) {
            pause();
        }
    }
    (void)setpgid(pid, pid);
    return pid;
}

/* An instance that was killed leaves its name behind. */
static void remove_name(void)
{
    const char *home = getenv("XDG_RUNTIME_DIR");
    char path[2 * PATH_BYTES];

    snprintf(path, sizeof(path), "%.100s/penstock/%s.pid", geteuid() == 0 || home == NULL ? "/run" : home,
             bed.name);
    (void)unlink(path);
}

static _Noreturn void guard_main(int from_test, int to_test)
{
    char passed = 0;
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    (void)setpgid(0, 0);
    (void)dup2(from_test, STDIN_FILENO);
    (void)dup2(to_test, STDOUT_FILENO);
    (void)close_range(3, ~0u, 0); /* nobody waits for the end of a file that the guard holds */
    pid_t leader = start_leader();
    if (write(STDOUT_FILENO, &leader, sizeof(leader)) != (ssize_t)sizeof(leader)) {
        _exit(EXIT_FAILURE);
    }
    close(STDOUT_FILENO);
    while (read(STDIN_FILENO, &passed, 1) > 0 || errno == EINTR) {
        errno = 0;
    }
    (void)kill(-leader, SIGKILL);
    (void)waitpid(leader, NULL, 0);
    for_each_file(show_file, passed == 0);
    for_each_file(remove_file, false);
    (void)rmdir(bed.dir);
    remove_name();
    _exit(EXIT_SUCCESS);
}

bool guard_start(void)
{
    int down[2];
    int up[2];

    if (pipe2(down, O_CLOEXEC) != 0) {
        return false;
    }
    if (pipe2(up, O_CLOEXEC) != 0) {
        return false;
    }
    bed.guard = fork();
    if (bed.guard == 0) {
        guard_main(down[0], up[1]);
    }
    close(down[0]);
    close(up[1]);
    bed.guard_fd = down[1];
    bool started = bed.guard > 0 && read(up[0], &bed.group, sizeof(bed.group)) == (ssize_t)sizeof(bed.group);
    close(up[0]);
    return started;
}

void guard_tell_passed(void)
{
    char passed = 1;

    cr_assert_eq(write(bed.guard_fd, &passed, 1), 1);
}
