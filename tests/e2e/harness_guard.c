#include "tests/e2e/harness_guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/e2e/harness.h"

enum { SHOWN_BYTES = 4096 }; /* of each file */

/* The line where a sanitizer's report begins; NULL: none. */
static const char *find_report(const char *text, size_t length)
{
    static const char *const marks[] = {"Sanitizer:", ": runtime error: "};
    const char *report = NULL;

    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]) && report == NULL; i++) {
        report = memmem(text, length, marks[i], strlen(marks[i]));
    }
    while (report != NULL && report > text && report[-1] != '\n') {
        report--;
    }
    return report;
}

/* A report, however much was logged after it; of a failure without one the end. */
static void show_text(const char *path, const char *text, size_t length, bool failed)
{
    const char *from = find_report(text, length);

    if (from == NULL && !failed) {
        return;
    }
    if (from == NULL) {
        from = text + (length > SHOWN_BYTES ? length - SHOWN_BYTES : 0);
    }
    size_t left = length - (size_t)(from - text);
    dprintf(STDERR_FILENO, "---- %s\n%.*s\n", path, (int)(left < SHOWN_BYTES ? left : SHOWN_BYTES), from);
}

static void show_file(const char *name, bool failed)
{
    char path[2 * PATH_BYTES];
    struct stat stat;

    snprintf(path, sizeof(path), "%s/%.100s", bed.dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return;
    }
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size > 0) {
        size_t length = (size_t)stat.st_size;
        char *text = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
        if (text != MAP_FAILED) {
            show_text(path, text, length, failed);
            (void)munmap(text, length);
        }
    }
    close(fd);
}

static void show_files(bool failed)
{
    DIR *dir = opendir(bed.dir);

    if (dir == NULL) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            show_file(entry->d_name, failed);
        }
    }
    closedir(dir);
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *place)
{
    (void)stat;
    (void)type;
    (void)place;
    (void)remove(path);
    return 0;
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
    show_files(passed == 0);
    (void)nftw(bed.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
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
