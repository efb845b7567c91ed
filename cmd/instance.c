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

/* `fds` gets the supervisor's numbers of what readers map. */
static int read_file(int fd, pid_t *pid, int fds[SEGMENT_COUNT])
{
    char text[64] = "";

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
        sscanf(text, "%d %d %d", pid, &fds[SEGMENT_HEAD], &fds[SEGMENT_TABLES]) != 3) {
        return -EPROTO;
    }
    return 0;
}

/* One try to lock the file. -EAGAIN where it was removed meanwhile by an instance that ended, or somebody only looked
 * whether it is locked. */
static int claim_file(struct instance *instance)
{
    struct stat ours;
    struct stat now;
    struct timespec pause = {.tv_nsec = 5000000};
    int ignored[SEGMENT_COUNT];
    int fd = open(instance->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return -errno;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool runs = read_file(fd, &instance->pid, ignored) == 0 && kill(instance->pid, 0) == 0;
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

int instance_publish(const struct instance *instance, const struct region *region)
{
    char text[64];
    int length = snprintf(text, sizeof(text), "%d %d %d\n", instance->pid, region->fds[SEGMENT_HEAD],
                          region->fds[SEGMENT_TABLES]);

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

static int open_theirs(pid_t pid, int fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    int ours = open(path, O_RDONLY | O_CLOEXEC);
    return ours < 0 ? -errno : ours;
}

static int map_region(struct region *region, pid_t pid, const int theirs[SEGMENT_COUNT])
{
    int fds[SEGMENT_COUNT] = {-1, -1, -1};
    int result = 0;

    for (int i = 0; i < SEGMENT_BANK && result >= 0; i++) {
        result = fds[i] = open_theirs(pid, theirs[i]);
    }
    if (result >= 0) {
        result = region_attach(region, fds, false);
    }
    for (int i = 0; i < SEGMENT_BANK; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
        region->fds[i] = -1;
    }
    return result;
}

static int open_named(struct instance *instance, struct region *region, const char *name)
{
    int theirs[SEGMENT_COUNT];

    *instance = (struct instance){.fd = -1};
    set_path(instance, name);
    int fd = open(instance->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "penstock: no instance '%s' runs here (%s: %s)\n", name, instance->path,
                strerror(errno));
        return -1;
    }
    bool runs = is_claimed(fd) && read_file(fd, &instance->pid, theirs) == 0;
    close(fd);
    if (!runs) {
        fprintf(stderr, "penstock: instance '%s' does not run; %s is left over from one that died\n", name,
                instance->path);
        return -1;
    }
    int result = map_region(region, instance->pid, theirs);
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
