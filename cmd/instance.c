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
#include "cmd/leftover.h"
#include "io/time_wait.h"

#define HANDED "PENSTOCK_CLAIM" /* environment: the descriptor of a claim that is handed on */

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
    uint32_t count;
    struct kin_memory memories[INSTANCE_MEMORIES_MAX];
};

static int read_file(int fd, struct content *content)
{
    char text[1024] = "";
    unsigned long device;
    unsigned long inode;
    int used = 0;

    if (pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
        sscanf(text, "%d %d %d%n", &content->pid, &content->fds[SEGMENT_HEAD], &content->fds[SEGMENT_TABLES],
               &used) != 3) {
        return -EPROTO;
    }
    content->count = 0;
    for (const char *at = text + used; content->count < INSTANCE_MEMORIES_MAX &&
                                       sscanf(at, " memory %lu %lu%n", &device, &inode, &used) == 2;
         at += used) {
        content->memories[content->count++] = (struct kin_memory){.device = device, .inode = inode};
    }
    return content->count > 0 ? 0 : -EPROTO;
}

/* Whether the path still leads to what is open: an instance that ended removes it, one that publishes replaces it. */
static bool is_current(const struct instance *instance, int fd)
{
    struct stat ours;
    struct stat now;

    return fstat(fd, &ours) == 0 && stat(instance->path, &now) == 0 && ours.st_ino == now.st_ino &&
           ours.st_dev == now.st_dev;
}

static void set_claimed(struct instance *instance, int fd)
{
    struct content content = {0};

    instance->fd = fd;
    instance->pid = getpid();
    (void)read_file(fd, &content);
    instance->left_count = content.count;
    memcpy(instance->left, content.memories, sizeof(instance->left));
    instance->left_pid = content.pid;
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
    set_claimed(instance, fd);
    return 0;
}

/* The claim that this process had as another program. */
static bool claim_handed(struct instance *instance)
{
    const char *text = getenv(HANDED);
    int fd = text == NULL ? -1 : (int)strtol(text, NULL, 10);

    (void)unsetenv(HANDED);
    if (fd <= STDERR_FILENO || flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_current(instance, fd)) {
        return false;
    }
    set_claimed(instance, fd);
    instance->handed = true;
    return instance_hand_on(instance, false) == 0;
}

int instance_claim(struct instance *instance, const char *name)
{
    *instance = (struct instance){.fd = -1};
    set_path(instance, name);
    if (claim_handed(instance)) {
        return 0;
    }
    if (mkdir(directory(), 0755) != 0 && errno != EEXIST) {
        return -errno;
    }
    int result = -EAGAIN;
    for (int i = 0; i < CLAIM_TRIES && result == -EAGAIN; i++) {
        result = claim_file(instance);
    }
    return result;
}

static int write_file(int fd, const struct instance *instance, const struct region *region,
                      const struct kin_memory *memories, uint32_t count)
{
    int result =
        dprintf(fd, "%d %d %d\n", instance->pid, region->fds[SEGMENT_HEAD], region->fds[SEGMENT_TABLES]);

    for (uint32_t i = 0; i < count && result >= 0; i++) {
        result = dprintf(fd, "memory %lu %lu\n", (unsigned long)memories[i].device,
                         (unsigned long)memories[i].inode);
    }
    return result < 0 ? -errno : 0;
}

int instance_publish(struct instance *instance, const struct region *region, const struct kin_memory *elders,
                     uint32_t count)
{
    struct kin_memory memories[INSTANCE_MEMORIES_MAX];
    char path[sizeof(instance->path) + 8];
    uint32_t elders_max = INSTANCE_MEMORIES_MAX - 1;
    int result = kin_memory_of(region->fds[SEGMENT_TABLES], &memories[0]);

    if (result < 0) {
        return result;
    }
    count = count < elders_max ? count : elders_max;
    memcpy(memories + 1, elders, count * sizeof(*elders));
    snprintf(path, sizeof(path), "%s.new", instance->path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    result = write_file(fd, instance, region, memories, count + 1);
    if (result == 0 && (flock(fd, LOCK_EX | LOCK_NB) != 0 || rename(path, instance->path) != 0)) {
        result = -errno;
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    close(instance->fd);
    instance->fd = fd;
    return 0;
}

int instance_hand_on(const struct instance *instance, bool on)
{
    char text[16];

    snprintf(text, sizeof(text), "%d", instance->fd);
    int result = on ? setenv(HANDED, text, 1) : unsetenv(HANDED);
    return result == 0 && fcntl(instance->fd, F_SETFD, on ? 0 : FD_CLOEXEC) == 0 ? 0 : -errno;
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

static int open_theirs(pid_t pid, int fd, bool writable)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    int ours = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    return ours < 0 ? -errno : ours;
}

/* Where it cannot be had the region's own table stands in, which is empty. */
static void map_flows(struct region *region)
{
    const char *pins = region->header->time_wait.pins;
    int fds[REGION_FLOW_MAPS];
    int result = pins[0] == '\0' ? 0 : time_wait_open_maps(pins, fds);

    if (pins[0] != '\0' && result == 0) {
        result = region_use_flow_maps(region, fds, false);
        for (int i = 0; i < REGION_FLOW_MAPS; i++) {
            close(fds[i]);
        }
    }
    if (result < 0) {
        fprintf(stderr, "penstock: cannot read the flow table below %s: %s\n", pins, strerror(-result));
    }
}

static int map_region(struct region *region, pid_t pid, const int theirs[SEGMENT_COUNT], bool orders)
{
    int fds[SEGMENT_COUNT] = {-1, -1, -1};
    int result = 0;

    for (int i = 0; i < SEGMENT_BANK && result >= 0; i++) {
        result = fds[i] = open_theirs(pid, theirs[i], orders && i == SEGMENT_HEAD);
    }
    if (result >= 0) {
        result = region_attach(region, fds, false);
    }
    if (result >= 0 && orders) {
        result = region_write_head(region, fds[SEGMENT_HEAD]);
    }
    for (int i = 0; i < SEGMENT_BANK; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
        region->fds[i] = -1;
    }
    if (result >= 0) {
        map_flows(region);
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
static int map_kin(struct region *region, const struct kin_memory *memory, bool orders)
{
    static const int numbers[SEGMENT_COUNT] = {FD_HEAD, FD_TABLES, FD_BANK};
    static struct kin found[KIN_MAX];
    int count = kin_find(memory, found, KIN_MAX);
    int result = count < 0 ? count : -ESRCH;

    for (int i = 0; i < count; i++) {
        if (result < 0 && found[i].role != KIN_LOGGER) {
            result = map_region(region, found[i].pid, numbers, orders);
        }
        close(found[i].pidfd);
    }
    return result;
}

static int map_instance(struct instance *instance, struct region *region, int fd, bool orders)
{
    struct content content;
    int result = read_file(fd, &content);

    if (result < 0) {
        return -ESRCH;
    }
    instance->pid = is_claimed(fd) ? content.pid : 0;
    result = instance->pid != 0 ? map_region(region, content.pid, content.fds, orders) : -ESRCH;
    /* A supervisor that is just taking over has not written its own numbers yet. */
    return result == 0 ? 0 : map_kin(region, &content.memories[0], orders);
}

/* Whether programs are there that its end has left. */
static bool lingers(const char *name)
{
    char pins[REGION_PINS_MAX];

    leftover_pins(pins, name);
    return access(pins, F_OK) == 0;
}

static int open_named(struct instance *instance, struct region *region, const char *name, bool orders)
{
    *instance = (struct instance){.fd = -1};
    set_path(instance, name);
    int fd = open_file(instance);
    if (fd == -EACCES) {
        fprintf(stderr, "penstock: %s cannot be read; that takes root, or the user who runs instance '%s'\n",
                instance->path, name);
        return -1;
    }
    if (fd < 0) {
        fprintf(
            stderr, "penstock: no instance '%s' runs here (%s: %s)%s\n", name, instance->path, strerror(-fd),
            lingers(name) ? "; its last TIME_WAITs are answered still, `penstock stop --now` ends that" : "");
        return -1;
    }
    int result = map_instance(instance, region, fd, orders);
    close(fd);
    if (result == -ESRCH) {
        fprintf(stderr,
                "penstock: instance '%s' does not run; %s is left over from one that died: `penstock run` "
                "begins anew, `penstock stop --now` only cleans up\n",
                name, instance->path);
    } else if (result < 0) {
        fprintf(stderr, "penstock: cannot read the memory of instance '%s' (process %d): %s\n", name,
                instance->pid,
                result == -EPROTO ? "it is of another version of Penstock" : strerror(-result));
    }
    return result < 0 ? -1 : 0;
}

static int open_chosen(struct instance *instance, struct region *region,
                       const struct command_options *options, bool orders)
{
    if (options->name != NULL) {
        return open_named(instance, region, options->name, orders);
    }
    struct image *image = command_load(options->config, false);
    if (image == NULL) {
        return -1;
    }
    int result = open_named(instance, region, image->name, orders);
    free(image);
    return result;
}

int instance_open(struct instance *instance, struct region *region, const struct command_options *options)
{
    return open_chosen(instance, region, options, false);
}

int instance_open_for_orders(struct instance *instance, struct region *region,
                             const struct command_options *options)
{
    return open_chosen(instance, region, options, true);
}
