/* Which directories are the test's cgroup, in a mount namespace of its own. */
#include "io/cgroup.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64]; /* of a cgroup2 file system */
static char home[PATH_MAX];

/* Where the test is, below `root`. */
static void find_home(void)
{
    char line[PATH_MAX];
    FILE *file = fopen("/proc/self/cgroup", "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL && strncmp(line, "0::", 3) != 0) {
    }
    cr_assert_not_null(file);
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    snprintf(home, sizeof(home), "%s%.2000s", root, line + 3);
}

static void begin(void)
{
    snprintf(root, sizeof(root), "/tmp/penstock-cgroup-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", root, "cgroup2", 0, NULL) != 0) {
        (void)rmdir(root);
        cr_skip("needs the right to mount cgroup2");
    }
    find_home();
}

static void end(void)
{
    (void)umount2(root, MNT_DETACH);
    (void)rmdir(root);
}

TestSuite(cgroup, .init = begin, .fini = end);

/* Whether the descriptor, which is closed, is of the directory. */
static bool is_directory(int fd, const char *path)
{
    struct stat opened;
    struct stat named;
    bool is = fd >= 0 && fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino;

    if (fd >= 0) {
        close(fd);
    }
    return is;
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text), "%s: %s", path, strerror(errno));
    close(fd);
}

Test(cgroup, is_the_own_one)
{
    cr_expect(is_directory(cgroup_open(""), home));
    cr_expect(is_directory(cgroup_open(home), home));
    cr_expect(is_directory(cgroup_open(root), root), "all are in the root");
}

Test(cgroup, is_one_that_the_process_is_in)
{
    char child[sizeof(root) + 32];

    snprintf(child, sizeof(child), "%s/penstock-unit-%d", root, getpid());
    cr_assert_eq(mkdir(child, 0755), 0, "%s: %s", child, strerror(errno));
    int outside = cgroup_open(child);
    write_file(child, "cgroup.procs", "0");
    bool inside = is_directory(cgroup_open(child), child) && is_directory(cgroup_open(""), child);
    bool above = is_directory(cgroup_open(root), root);
    write_file(home, "cgroup.procs", "0");
    cr_expect_eq(rmdir(child), 0);
    cr_expect_eq(outside, -EXDEV);
    cr_expect(inside);
    cr_expect(above);
}

Test(cgroup, is_no_other_directory)
{
    cr_expect_eq(cgroup_open("/tmp"), -EPROTO);
    cr_expect_eq(cgroup_open("/nowhere"), -ENOENT);
    cr_expect_eq(cgroup_open("/etc/passwd"), -ENOTDIR);
}

Test(cgroup, is_none_where_none_is_mounted)
{
    cr_assert_eq(umount2(root, MNT_DETACH), 0);
    (void)umount2("/sys/fs/cgroup/unified", MNT_DETACH);
    (void)umount2("/sys/fs/cgroup", MNT_DETACH);
    cr_expect_eq(cgroup_open(""), -ENODEV);
}
