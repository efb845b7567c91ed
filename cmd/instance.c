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

#include "cmd/descriptors.h"

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

/* What the file says. */
struct content {
    pid_t pid;
    int fds[SEGMENT_COUNT]; /* the supervisor's */
    struct kin_memory memory;
};

static int read_file(int fd, struct content *content)
{
    char text[256] = "";
    unsigned long device;
    unsigned long inode;

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
        sscanf(text, "%d %d %d memory %lu %lu", &content->pid, &content->fds[SEGMENT_HEAD],
               &content->fds[SEGMENT_TABLES], &device, &inode) != 5) {
        return -EPROTO;
    }
    content->memory = (struct kin_memory){.device = device, .inode = inode};
    return 0;
}

/* Whether the path still leads to what is open: an instance that ended removes it, one that publishes replaces it. */
static bool is_current(const struct instance *instance, int fd)
{
    struct stat ours;
    struct stat now;

    return fstat(fd, &ours) == 0 && stat(instance->path, &now) == 0 && ours.st_ino == now.st_ino &&
           ours.st_dev == now.st_dev;
}

/* One try to lock the file. -EAGAIN where it was removed meanwhile by an instance that ended, or somebody only looked
 * whether it is locked. */
static int claim_file(struct instance *instance)
{
    struct timespec pause = {.tv_nsec = 5000000};
    struct content content = {0};
    int fd = open(instance->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        return -errno;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool runs = read_file(fd, &content) == 0 && kill(content.pid, 0) == 0;
        close(fd);
        nanosleep(&pause, NULL);
        instance->pid = content.pid;
        return runs ? -EBUSY : -EAGAIN;
    }
    if (!is_current(instance, fd)) {
        close(fd);
        return -EAGAIN;
    }
    instance->fd = fd;
    instance->pid = getpid();
    instance->has_left = read_file(fd, &content) == 0;
    instance->left = content.memory;
    instance->left_pid = content.pid;
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

int instance_publish(struct instance *instance, const struct region *region)
{
    char path[sizeof(instance->path) + 8];
    struct kin_memory memory;
    int result = kin_memory_of(region->fds[SEGMENT_TABLES], &memory);

    if (result < 0) {
        return result;
    }
    snprintf(path, sizeof(path), "%s.new", instance->path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    int length =
        dprintf(fd, "%d %d %d\nmemory %lu %lu\n", instance->pid, region->fds[SEGMENT_HEAD],
                region->fds[SEGMENT_TABLES], (unsigned long)memory.device, (unsigned long)memory.inode);
    if (length < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 || rename(path, instance->path) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    close(instance->fd);
    instance->fd = fd;
    return 0;
}

void instance_release(struct instance *instance, bool ended)
{
    if (instance->fd >= 0) {
        if (ended) {
            (void)unlink(instance->path);
        }
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

/* Opens the file while it is the current one. A descriptor or -errno. */
static int open_file(const struct instance *instance)
{
    for (int i = 0; i < CLAIM_TRIES; i++) {
        int fd = open(instance->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return -errno;
        }
        bool claimed = is_claimed(fd);
        if (claimed || is_current(instance, fd)) {
            return fd;
        }
        close(fd);
    }
    return -EAGAIN;
}

/* Through a keeper, or a worker that has lost its own. */
static int map_kin(struct region *region, const struct content *content)
{
    static const int numbers[SEGMENT_COUNT] = {FD_HEAD, FD_TABLES, FD_BANK};
    static struct kin found[KIN_MAX];
    int count = kin_find(&content->memory, found, KIN_MAX);
    int result = count < 0 ? count : -ESRCH;

    for (int i = 0; i < count; i++) {
        if (result < 0 && found[i].role != KIN_LOGGER) {
            result = map_region(region, found[i].pid, numbers);
        }
        close(found[i].pidfd);
    }
    return result;
}

static int map_instance(struct instance *instance, struct region *region, int fd)
{
    struct content content;
    int result = read_file(fd, &content);

    if (result < 0) {
        return -ESRCH;
    }
    instance->pid = is_claimed(fd) ? content.pid : 0;
    result = instance->pid != 0 ? map_region(region, content.pid, content.fds) : -ESRCH;
    /* A supervisor that is just taking over has not written its own numbers yet. */
    return result == 0 ? 0 : map_kin(region, &content);
}

static int open_named(struct instance *instance, struct region *region, const char *name)
{
    *instance = (struct instance){.fd = -1};
    set_path(instance, name);
    int fd = open_file(instance);
    if (fd < 0) {
        fprintf(stderr, "penstock: no instance '%s' runs here (%s: %s)\n", name, instance->path,
                strerror(-fd));
        return -1;
    }
    int result = map_instance(instance, region, fd);
    close(fd);
    if (result == -ESRCH) {
        fprintf(stderr, "penstock: instance '%s' does not run; %s is left over from one that died\n", name,
                instance->path);
    } else if (result < 0) {
        fprintf(stderr, "penstock: cannot read the memory of instance '%s' (process %d): %s\n", name,
                instance->pid,
                result == -EPROTO ? "it is of another version of Penstock" : strerror(-result));
    }
    return result < 0 ? -1 : 0;
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
