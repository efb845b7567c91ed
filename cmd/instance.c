#include "cmd/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CLAIM_TRIES = 50 };

/* The directory of the name files. */
static const char *directory(void)
{
    static char path[400];
    const char *home = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0 || home == NULL || home[0] != '/') {
        return "/run/penstock";
    }
    snprintf(path, sizeof(path), "%.350s/penstock", home);
    return path;
}

static void set_path(struct instance *instance, const char *name)
{
    snprintf(instance->path, sizeof(instance->path), "%s/%s.pid", directory(), name);
}

static int read_file(int fd, pid_t *pid, int *tables_fd)
{
    char text[64] = "";
    int process;

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || sscanf(text, "%d %d", &process, tables_fd) != 2) {
        return -EPROTO;
    }
    *pid = process;
    return 0;
}

/* One try to lock the file. -EAGAIN where it was removed meanwhile by an instance that ended, or somebody only looked
 * whether it is locked. */
static int claim_file(struct instance *instance)
{
    struct stat ours;
    struct stat now;
    struct timespec pause = {.tv_nsec = 5000000};
    int ignored;
    int fd = open(instance->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return -errno;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool runs = read_file(fd, &instance->pid, &ignored) == 0 && kill(instance->pid, 0) == 0;
        close(fd);
        nanosleep(&pause, NULL);
        return runs ? -EBUSY : -EAGAIN;
    }
    if (fstat(fd, &ours) != 0 || stat(instance->path, &now) != 0 || ours.st_ino != now.st_ino) {
        close(fd);
        return -EAGAIN;
    }
    instance->fd = fd;
    instance->pid = getpid();
    return 0;
}

int instance_claim(struct instance *instance, const char *name)
{
    *instance = (struct instance){.fd = -1};
    set_path(instance, name);
    if (mkdir(directory(), 0755) != 0 && errno != EEXIST) {
        return -errno;
    }
    int result = -EAGAIN;
    for (int i = 0; i < CLAIM_TRIES && result == -EAGAIN; i++) {
        result = claim_file(instance);
    }
    return result;
}

int instance_publish(const struct instance *instance, int tables_fd)
{
    char text[64];
    int length = snprintf(text, sizeof(text), "%d %d\n", instance->pid, tables_fd);

    if (ftruncate(instance->fd, 0) != 0 || pwrite(instance->fd, text, (size_t)length, 0) != length) {
        return -errno;
    }
    return 0;
}

void instance_release(struct instance *instance)
{
    if (instance->fd >= 0) {
        (void)unlink(instance->path);
        close(instance->fd);
        instance->fd = -1;
    }
}

/* Whether somebody holds the claim. */
static bool is_claimed(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        (void)flock(fd, LOCK_UN);
        return false;
    }
    return true;
}

static int map_tables(struct region *region, pid_t pid, int tables_fd)
{
    char path[64];
    int fds[SEGMENT_COUNT] = {-1, -1};

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, tables_fd);
    fds[SEGMENT_TABLES] = open(path, O_RDONLY | O_CLOEXEC);
    if (fds[SEGMENT_TABLES] < 0) {
        return -errno;
    }
    int result = region_attach(region, fds, false);
    close(fds[SEGMENT_TABLES]);
    region->fds[SEGMENT_TABLES] = -1;
    return result;
}

static int open_named(struct instance *instance, struct region *region, const char *name)
{
    int tables_fd;

    *instance = (struct instance){.fd = -1};
    set_path(instance, name);
    int fd = open(instance->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "penstock: no instance '%s' runs here (%s: %s)\n", name, instance->path,
                strerror(errno));
        return -1;
    }
    bool runs = is_claimed(fd) && read_file(fd, &instance->pid, &tables_fd) == 0;
    close(fd);
    if (!runs) {
        fprintf(stderr, "penstock: instance '%s' does not run; %s is left over from one that died\n", name,
                instance->path);
        return -1;
    }
    int result = map_tables(region, instance->pid, tables_fd);
    if (result < 0) {
        fprintf(stderr, "penstock: cannot read the memory of instance '%s' (process %d): %s\n", name,
                instance->pid,
                result == -EPROTO ? "it is of another version of Penstock" : strerror(-result));
        return -1;
    }
    return 0;
}

int instance_open(struct instance *instance, struct region *region, const struct command_options *options)
{
    if (options->name != NULL) {
        return open_named(instance, region, options->name);
    }
    struct image *image = command_load(options->config, false);
    if (image == NULL) {
        return -1;
    }
    int result = open_named(instance, region, image->name);
    free(image);
    return result;
}
