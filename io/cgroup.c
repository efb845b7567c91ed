#include "io/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The cgroup of this process, as the hierarchy's root sees it: "/system.slice/penstock.service". */
static bool read_own(char own[PATH_MAX])
{
    char line[PATH_MAX + 8];
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        found = strncmp(line, "0::/", 4) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    snprintf(own, PATH_MAX, "%.*s", PATH_MAX - 1, found ? line + 3 : "");
    return found;
}

/* Where a cgroup2 file system is mounted, and which cgroup stands there: proc(5), mountinfo. */
static bool find_mount(char root[PATH_MAX], char point[PATH_MAX])
{
    char line[2 * PATH_MAX + 256];
    FILE *file = fopen("/proc/self/mountinfo", "re");
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        found = strstr(line, " - cgroup2 ") != NULL &&
                sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) == 2;
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* Whether `path` is `directory` or below it; what is below. */
static const char *below(const char *path, const char *directory)
{
    size_t length = strcmp(directory, "/") == 0 ? 0 : strlen(directory);

    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0')
               ? path + length
               : NULL;
}

static int own_directory(char path[PATH_MAX])
{
    static char own[PATH_MAX];
    static char root[PATH_MAX];
    static char point[PATH_MAX];
    static char joined[2 * PATH_MAX];

    if (!read_own(own) || !find_mount(root, point)) {
        return -ENODEV;
    }
    const char *rest = below(own, root);
    if (rest == NULL) {
        return -ENODEV;
    }
    snprintf(joined, sizeof(joined), "%s%s", point, rest);
    return realpath(joined, path) != NULL ? 0 : -errno;
}

/* Whether it is `own`, which is real, or above it, through whatever mount it was reached. */
static bool leads_to(int directory, const char *own)
{
    static char path[PATH_MAX];
    struct stat wanted;
    struct stat first;
    struct stat at;
    char *slash = path;

    snprintf(path, sizeof(path), "%s", own);
    if (fstat(directory, &wanted) != 0 || stat(own, &first) != 0) {
        return false;
    }
    while (slash != NULL && stat(path, &at) == 0 && at.st_dev == first.st_dev) {
        if (at.st_ino == wanted.st_ino) {
            return true;
        }
        slash = strrchr(path, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
    }
    return false;
}

/* Whether the directory lists this process, for one whose path cannot be told. */
static bool lists_us(int directory)
{
    char line[32];
    int fd = openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "re") : NULL;
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        found = strtol(line, NULL, 10) == getpid();
    }
    if (file != NULL) {
        fclose(file);
    } else if (fd >= 0) {
        close(fd);
    }
    return found;
}

int cgroup_open(const char *path)
{
    static char own[PATH_MAX];
    static char real[PATH_MAX];
    struct statfs fs;
    int result = own_directory(own);

    if (path[0] == '\0' && result < 0) {
        return result;
    }
    if (realpath(path[0] == '\0' ? own : path, real) == NULL) {
        return -errno;
    }
    int fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (fstatfs(fd, &fs) != 0 || (uint64_t)fs.f_type != CGROUP2_SUPER_MAGIC) {
        result = -EPROTO;
    } else {
        result = (result == 0 && leads_to(fd, own)) || lists_us(fd) ? 0 : -EXDEV;
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}
