#include "io/time_wait.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "io/bpf/time_wait.skel.h"
#include "io/time_wait_attach.h"

enum {
    NO_INTERFACE = 0x7fffffff,
    OTHERS_WRITE = S_IWGRP | S_IWOTH,
    PIN_PATH_MAX = REGION_PINS_MAX + 64,
    SHAPE_VERSION = 1, /* another where an entry, its place or its states mean something else */
};

/* Pins of links. */
#define PUBLISHER "publisher:" /* and the inode of the cgroup */
#define RESPONDER "responder:" /* and the index of the interface */
#define GUARD     "guard:"     /* the same */

/* What is pinned beside the maps, so that another process places entries as the programs do. */
struct pinned_shape {
    uint32_t version;
    uint32_t groups;
    uint64_t seed;
};

/* Where note_published() puts what it is called with. */
struct published_batch {
    uint32_t *indexes;
    uint32_t count;
    uint32_t max;
};

struct responder {
    int interface;
    int link;
    int guard; /* of the program that sees what is sent */
};

struct time_wait {
    struct time_wait_bpf *bpf;
    char pins[REGION_PINS_MAX];
    uint64_t seed;
    struct ring_buffer *published;
    struct published_batch batch;
    int publisher;
    struct responder responders[TIME_WAIT_INTERFACES_MAX];
    uint32_t interfaces;
};

static int be_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level;
    (void)format;
    (void)arguments;
    return 0;
}

static bool has_capability(cap_value_t capability)
{
    cap_flag_value_t value = CAP_CLEAR;
    cap_t own = cap_get_proc();

    if (own != NULL) {
        (void)cap_get_flag(own, capability, CAP_EFFECTIVE, &value);
        cap_free(own);
    }
    return value == CAP_SET;
}

static bool missing(char why[TIME_WAIT_WHY_MAX], const char *what)
{
    snprintf(why, TIME_WAIT_WHY_MAX, "%s", what);
    return false;
}

static bool check_privileges(char why[TIME_WAIT_WHY_MAX])
{
    bool admin = has_capability(CAP_SYS_ADMIN);

    if (!has_capability(CAP_NET_ADMIN)) {
        return missing(why, "CAP_NET_ADMIN is missing");
    }
    if (!admin && !has_capability(CAP_BPF)) {
        return missing(why, "CAP_BPF is missing");
    }
    if (!admin && !has_capability(CAP_PERFMON)) {
        return missing(why, "CAP_PERFMON is missing");
    }
    if (access("/sys/kernel/btf/vmlinux", R_OK) != 0) {
        return missing(why, "the kernel tells no types (CONFIG_DEBUG_INFO_BTF)");
    }
    return true;
}

/* A kernel that knows tcx misses the interface; one that does not, the attach type. */
static bool check_tcx(const struct time_wait_bpf *bpf, char why[TIME_WAIT_WHY_MAX])
{
    int link = time_wait_attach_to(TIME_WAIT_TCX, bpf_program__fd(bpf->progs.responder), NO_INTERFACE);

    if (link >= 0) {
        close(link);
    }
    return link == -ENODEV || missing(why, "the kernel has no tcx (Linux 6.6)");
}

/* --- Pins ------------------------------------------------------------------------------------------------- */

static const char *pin_path(const char *pins, const char *name)
{
    static char path[PIN_PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", pins, name);
    return path;
}

static bool is_ours(const struct stat *stat)
{
    return S_ISDIR(stat->st_mode) && (stat->st_uid == geteuid() || stat->st_uid == 0);
}

/* Whether nobody else can have made, or can change, what is pinned there: a BPF file system is often open to all, and a
 * program or a number of somebody else's, or a link to another directory, would be taken for ours. */
static bool is_safe(const char *pins)
{
    char above[PIN_PATH_MAX];
    struct stat outer;
    struct stat inner;

    snprintf(above, sizeof(above), "%s", pins);
    *strrchr(above, '/') = '\0';
    return lstat(above, &outer) == 0 && is_ours(&outer) &&
           ((outer.st_mode & OTHERS_WRITE) == 0 || (outer.st_mode & S_ISVTX) != 0) &&
           lstat(pins, &inner) == 0 && is_ours(&inner) && (inner.st_mode & OTHERS_WRITE) == 0;
}

static bool is_bpf(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && (uint64_t)fs.f_type == BPF_FS_MAGIC;
}

/* The directories that are missing. 0; -errno of a BPF file system; -ENODEV where that is what is missing. */
static int make_directories(const char *pins)
{
    char path[PIN_PATH_MAX] = "";

    for (const char *end = pins; end != NULL;) {
        bool bpf = is_bpf(path);
        end = strchr(end + 1, '/');
        snprintf(path, sizeof(path), "%.*s", end != NULL ? (int)(end - pins) : (int)strlen(pins), pins);
        if (mkdir(path, S_IRWXU) != 0 && errno != EEXIST) {
            return bpf ? -errno : -ENODEV;
        }
    }
    return is_bpf(pins) ? 0 : -ENODEV;
}

/* The directory, in a BPF file system that somebody has mounted. */
static bool make_pins(const char *pins, char why[TIME_WAIT_WHY_MAX])
{
    int result = make_directories(pins);
    const char *what = result == -ENODEV ? "no BPF file system is mounted there"
                       : result < 0      ? strerror(-result)
                                    : "it, or what it is in, belongs to others or is open to them; remove it";

    if (result == 0 && is_safe(pins)) {
        return true;
    }
    (void)rmdir(pins);
    snprintf(why, TIME_WAIT_WHY_MAX, "%s cannot be had: %s", pins, what);
    return false;
}

static int pinned_value(const char *pins, const char *name, void *value)
{
    uint32_t key = 0;
    int map = is_safe(pins) ? bpf_obj_get(pin_path(pins, name)) : -ENOENT;
    int result = map < 0 ? map : bpf_map_lookup_elem(map, &key, value);

    if (map >= 0) {
        close(map);
    }
    return result;
}

static int pin_value(const char *pins, const char *name, const void *value, uint32_t size)
{
    uint32_t key = 0;
    int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, sizeof(key), size, 1, NULL);
    int result = map < 0 ? map : bpf_map_update_elem(map, &key, value, BPF_ANY);

    if (result == 0) {
        result = bpf_obj_pin(map, pin_path(pins, name));
    }
    if (map >= 0) {
        close(map);
    }
    return result;
}

int time_wait_pin_number(const char *pins, const char *name, uint32_t number)
{
    return pin_value(pins, name, &number, sizeof(number));
}

int time_wait_pinned_number(const char *pins, const char *name, uint32_t *number)
{
    return pinned_value(pins, name, number);
}

/* Takes the table that is pinned, or makes room for another. */
static int use_pins(struct time_wait *time_wait, const struct time_wait_shape *shape)
{
    struct pinned_shape pinned = {0};
    struct pinned_shape wanted = {SHAPE_VERSION, shape->groups, shape->seed};
    struct bpf_map *map;
    int result = 0;

    if (pinned_value(shape->pins, "shape", &pinned) == 0 && pinned.version == wanted.version &&
        pinned.groups == wanted.groups) {
        time_wait->seed = pinned.seed;
    } else {
        (void)time_wait_unpin(shape->pins);
        (void)mkdir(shape->pins, S_IRWXU);
        result = pin_value(shape->pins, "shape", &wanted, sizeof(wanted));
    }
    bpf_object__for_each_map(map, time_wait->bpf->obj)
    {
        if (result == 0 && !bpf_map__is_internal(map)) {
            result = bpf_map__set_pin_path(map, pin_path(shape->pins, bpf_map__name(map)));
        }
    }
    return result;
}

/* The link that a process before us had pinned by this name, with our program in it: `native` where it is one of XDP.
 * -errno: none that still lives. */
static int take_link(const struct time_wait *time_wait, const char *name, const struct bpf_program *program,
                     const struct bpf_program *native)
{
    int link = time_wait->pins[0] != '\0' ? bpf_obj_get(pin_path(time_wait->pins, name)) : -ENOENT;
    int result = link;

    if (link >= 0) {
        bool is_native = time_wait_attached(link) == TIME_WAIT_XDP;
        result = bpf_link_update(link, bpf_program__fd(is_native ? native : program), NULL);
    }

    if (link >= 0 && result < 0) {
        (void)unlink(pin_path(time_wait->pins, name));
        close(link);
    }
    return result < 0 ? result : link;
}

/* The link, pinned; or -errno. */
static int keep_link(const struct time_wait *time_wait, int link, const char *name)
{
    int result =
        link >= 0 && time_wait->pins[0] != '\0' ? bpf_obj_pin(link, pin_path(time_wait->pins, name)) : 0;

    if (result < 0) {
        close(link);
    }
    return result < 0 ? result : link;
}

int time_wait_open_maps(const char *pins, int fds[REGION_FLOW_MAPS])
{
    fds[0] = bpf_obj_get(pin_path(pins, "flow_tags"));
    if (fds[0] < 0) {
        return fds[0];
    }
    fds[1] = bpf_obj_get(pin_path(pins, "flow_entries"));
    if (fds[1] < 0) {
        close(fds[0]);
        return fds[1];
    }
    return 0;
}

int time_wait_unpin(const char *pins)
{
    struct dirent *entry;
    DIR *directory = opendir(pins);

    if (directory == NULL) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!is_safe(pins)) {
        closedir(directory);
        return -EPERM;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    closedir(directory);
    return rmdir(pins) == 0 ? 0 : -errno;
}

/* --- What was published --------------------------------------------------------------------------------- */

/* Negative: it is the last. */
static int note_published(void *context, void *record, size_t size)
{
    struct published_batch *batch = context;

    (void)size;
    memcpy(&batch->indexes[batch->count++], record, sizeof(uint32_t));
    return batch->count < batch->max ? 0 : -ENOBUFS;
}

uint32_t time_wait_take_published(struct time_wait *time_wait, uint32_t *indexes, uint32_t max)
{
    time_wait->batch = (struct published_batch){.indexes = indexes, .max = max};
    (void)ring_buffer__consume(time_wait->published);
    return time_wait->batch.count;
}

/* --- Loading ---------------------------------------------------------------------------------------------- */

static bool load(struct time_wait *time_wait, const struct time_wait_shape *shape,
                 char why[TIME_WAIT_WHY_MAX])
{
    struct time_wait_bpf *bpf = time_wait->bpf = time_wait_bpf__open();
    int error = 0;

    if (bpf == NULL) {
        return missing(why, "the programs cannot be read");
    }
    time_wait->seed = shape->seed;
    if (shape->pins != NULL) {
        if (!make_pins(shape->pins, why)) {
            return false;
        }
        snprintf(time_wait->pins, sizeof(time_wait->pins), "%s", shape->pins);
        error = use_pins(time_wait, shape);
    }
    bpf->rodata->flow_groups = shape->groups;
    bpf->rodata->flow_seed = time_wait->seed;
    bpf->rodata->two_msl_ms = shape->two_msl_ms;
    bpf->rodata->ack_limit_ms = shape->ack_limit_ms;
    bpf->rodata->sole_owner = shape->sole_owner;
    if (error == 0) {
        error = bpf_map__set_max_entries(bpf->maps.flow_tags, shape->groups);
    }
    if (error == 0) {
        error = bpf_map__set_max_entries(bpf->maps.flow_entries, shape->groups * FLOW_GROUP);
    }
    if (error == 0) {
        error = time_wait_bpf__load(bpf);
    }
    if (error != 0) {
        snprintf(why, TIME_WAIT_WHY_MAX, "the kernel does not take the programs: %s", strerror(-error));
        return false;
    }
    time_wait->published =
        ring_buffer__new(bpf_map__fd(bpf->maps.published), note_published, &time_wait->batch, NULL);
    if (time_wait->published == NULL) {
        return missing(why, "the ring buffer cannot be mapped");
    }
    return check_tcx(bpf, why);
}

struct time_wait *time_wait_create(const struct time_wait_shape *shape, char why[TIME_WAIT_WHY_MAX])
{
    if (!check_privileges(why)) {
        return NULL;
    }
    struct time_wait *time_wait = calloc(1, sizeof(*time_wait));
    if (time_wait == NULL) {
        missing(why, "no memory");
        return NULL;
    }
    time_wait->publisher = -1;
    libbpf_print_fn_t print = libbpf_set_print(be_quiet);
    bool loaded = load(time_wait, shape, why);
    (void)libbpf_set_print(print);
    if (!loaded) {
        time_wait_destroy(time_wait);
        return NULL;
    }
    return time_wait;
}

uint64_t time_wait_seed(const struct time_wait *time_wait)
{
    return time_wait->seed;
}

void time_wait_maps(const struct time_wait *time_wait, int fds[REGION_FLOW_MAPS])
{
    fds[0] = bpf_map__fd(time_wait->bpf->maps.flow_tags);
    fds[1] = bpf_map__fd(time_wait->bpf->maps.flow_entries);
}

/* --- Attaching -------------------------------------------------------------------------------------------- */

/* Calls `visit` for what is pinned and has a name that begins with `prefix`, and the number after it. */
static void each_pin(const struct time_wait *time_wait, const char *prefix,
                     void (*visit)(const struct time_wait *, const char *name, unsigned long number, void *),
                     void *context)
{
    size_t length = strlen(prefix);
    struct dirent *entry;
    DIR *directory = time_wait->pins[0] != '\0' ? opendir(time_wait->pins) : NULL;

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, prefix, length) == 0) {
            visit(time_wait, entry->d_name, strtoul(entry->d_name + length, NULL, 10), context);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

static void renew_publisher(const struct time_wait *time_wait, const char *name, unsigned long number,
                            void *context)
{
    const struct bpf_program *program = time_wait->bpf->progs.publisher;
    int link = take_link(time_wait, name, program, program);

    (void)number;
    (void)context;
    if (link >= 0) {
        close(link);
    }
}

int time_wait_publish(struct time_wait *time_wait, int cgroup_fd)
{
    const struct bpf_program *program = time_wait->bpf->progs.publisher;
    char name[48];
    struct stat cgroup;

    if (fstat(cgroup_fd, &cgroup) != 0) {
        return -errno;
    }
    each_pin(time_wait, PUBLISHER, renew_publisher, NULL);
    snprintf(name, sizeof(name), PUBLISHER "%lu", (unsigned long)cgroup.st_ino);
    int link = take_link(time_wait, name, program, program);
    if (link < 0) {
        link = bpf_link_create(bpf_program__fd(program), cgroup_fd, BPF_CGROUP_SOCK_OPS, NULL);
        link = keep_link(time_wait, link, name);
    }
    time_wait->publisher = link;
    return link < 0 ? link : 0;
}

static const char *interface_pin(const char *prefix, int interface)
{
    static char name[32];

    snprintf(name, sizeof(name), "%s%d", prefix, interface);
    return name;
}

static bool answers_at(const struct time_wait *time_wait, int interface)
{
    for (uint32_t i = 0; i < time_wait->interfaces; i++) {
        if (time_wait->responders[i].interface == interface) {
            return true;
        }
    }
    return false;
}

static int attach_responder(const struct time_wait *time_wait, int interface)
{
    const struct bpf_program *tcx = time_wait->bpf->progs.responder;
    const struct bpf_program *native = time_wait->bpf->progs.native_responder;
    const char *name = interface_pin(RESPONDER, interface);
    int link = take_link(time_wait, name, tcx, native);

    if (link < 0) {
        link = time_wait_attach(bpf_program__fd(tcx), bpf_program__fd(native), interface);
        link = keep_link(time_wait, link, name);
    }
    return link;
}

static int attach_guard(const struct time_wait *time_wait, int interface)
{
    const struct bpf_program *guard = time_wait->bpf->progs.guard;
    const char *name = interface_pin(GUARD, interface);
    int link = take_link(time_wait, name, guard, guard);

    if (link < 0) {
        link = time_wait_attach_to(TIME_WAIT_TCX_OUT, bpf_program__fd(guard), interface);
        link = keep_link(time_wait, link, name);
    }
    return link;
}

static int answer_at(struct time_wait *time_wait, int interface)
{
    struct responder responder = {.interface = interface};

    if (answers_at(time_wait, interface)) {
        return 0;
    }
    if (time_wait->interfaces == TIME_WAIT_INTERFACES_MAX) {
        return -ENOSPC;
    }
    responder.guard = attach_guard(time_wait, interface);
    if (responder.guard < 0) {
        return responder.guard;
    }
    responder.link = attach_responder(time_wait, interface);
    if (responder.link < 0) {
        close(responder.guard);
        return responder.link;
    }
    time_wait->responders[time_wait->interfaces++] = responder;
    return 0;
}

static void leave(const struct responder *responder)
{
    close(responder->link);
    close(responder->guard);
}

static bool is_among(int interface, const int *interfaces, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (interfaces[i] == interface) {
            return true;
        }
    }
    return false;
}

static void leave_others(struct time_wait *time_wait, const int *interfaces, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < time_wait->interfaces; i++) {
        struct responder responder = time_wait->responders[i];
        if (is_among(responder.interface, interfaces, count)) {
            time_wait->responders[kept++] = responder;
        } else {
            leave(&responder);
        }
    }
    time_wait->interfaces = kept;
}

struct interfaces {
    const int *indexes;
    uint32_t count;
};

/* One that a process before us had left as well. */
static void unpin_other(const struct time_wait *time_wait, const char *name, unsigned long number,
                        void *context)
{
    const struct interfaces *wanted = context;

    if (!is_among((int)number, wanted->indexes, wanted->count)) {
        (void)unlink(pin_path(time_wait->pins, name));
    }
}

int time_wait_answer(struct time_wait *time_wait, const int *interfaces, uint32_t count)
{
    struct interfaces wanted = {interfaces, count};
    int result = 0;

    leave_others(time_wait, interfaces, count);
    each_pin(time_wait, RESPONDER, unpin_other, &wanted);
    each_pin(time_wait, GUARD, unpin_other, &wanted);
    for (uint32_t i = 0; i < count; i++) {
        int answered = answer_at(time_wait, interfaces[i]);
        result = result < 0 ? result : answered;
    }
    return result;
}

uint32_t time_wait_interfaces(const struct time_wait *time_wait)
{
    return time_wait->interfaces;
}

void time_wait_count(const struct time_wait *time_wait, struct time_wait_counters *counters)
{
    uint64_t sums[TIME_WAIT_COUNTERS] = {0};
    int cpus = libbpf_num_possible_cpus();
    uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

    for (uint32_t i = 0; i < TIME_WAIT_COUNTERS && values != NULL; i++) {
        if (bpf_map_lookup_elem(bpf_map__fd(time_wait->bpf->maps.counters), &i, values) == 0) {
            for (int cpu = 0; cpu < cpus; cpu++) {
                sums[i] += values[cpu];
            }
        }
    }
    free(values);
    memcpy(counters, sums, sizeof(*counters));
}

int time_wait_responder(const struct time_wait *time_wait)
{
    return bpf_program__fd(time_wait->bpf->progs.responder);
}

int time_wait_native_responder(const struct time_wait *time_wait)
{
    return bpf_program__fd(time_wait->bpf->progs.native_responder);
}

int time_wait_guard(const struct time_wait *time_wait)
{
    return bpf_program__fd(time_wait->bpf->progs.guard);
}

void time_wait_destroy(struct time_wait *time_wait)
{
    for (uint32_t i = 0; i < time_wait->interfaces; i++) {
        leave(&time_wait->responders[i]);
    }
    if (time_wait->publisher >= 0) {
        close(time_wait->publisher);
    }
    ring_buffer__free(time_wait->published);
    time_wait_bpf__destroy(time_wait->bpf);
    free(time_wait);
}
