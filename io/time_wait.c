#include "io/time_wait.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/bpf/time_wait.skel.h"

enum {
    TCX_INGRESS = 46, /* enum bpf_attach_type, since Linux 6.6 */
    NO_INTERFACE = 0x7fffffff,
};

struct time_wait {
    struct time_wait_bpf *bpf;
    struct bpf_link *publisher;
    int responders[TIME_WAIT_INTERFACES_MAX];
    uint32_t interfaces;
    struct flow_table table;
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

static int attach(const struct time_wait_bpf *bpf, int interface)
{
    return bpf_link_create(bpf_program__fd(bpf->progs.responder), interface,
                           (enum bpf_attach_type)TCX_INGRESS, NULL);
}

/* A kernel that knows tcx misses the interface; one that does not, the attach type. */
static bool check_tcx(const struct time_wait_bpf *bpf, char why[TIME_WAIT_WHY_MAX])
{
    int link = attach(bpf, NO_INTERFACE);

    if (link >= 0) {
        close(link);
    }
    return link == -ENODEV || missing(why, "the kernel has no tcx (Linux 6.6)");
}

static void *map_array(const struct bpf_map *map)
{
    size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

    return address != MAP_FAILED ? address : NULL;
}

static void unmap_array(const struct bpf_map *map, void *address)
{
    if (address != NULL) {
        (void)munmap(address, (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map));
    }
}

static bool load(struct time_wait *time_wait, const struct time_wait_shape *shape,
                 char why[TIME_WAIT_WHY_MAX])
{
    struct time_wait_bpf *bpf = time_wait->bpf = time_wait_bpf__open();

    if (bpf == NULL) {
        return missing(why, "the programs cannot be read");
    }
    bpf->rodata->flow_groups = shape->groups;
    bpf->rodata->flow_seed = shape->seed;
    bpf->rodata->two_msl_ms = shape->two_msl_ms;
    bpf->rodata->ack_limit_ms = shape->ack_limit_ms;
    bpf->rodata->sole_owner = shape->sole_owner;
    int error = bpf_map__set_max_entries(bpf->maps.flow_tags, shape->groups);
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
    time_wait->table = (struct flow_table){
        .tags = map_array(bpf->maps.flow_tags),
        .entries = map_array(bpf->maps.flow_entries),
        .groups = shape->groups,
        .seed = shape->seed,
    };
    if (time_wait->table.tags == NULL || time_wait->table.entries == NULL) {
        return missing(why, "the table cannot be mapped");
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
    libbpf_print_fn_t print = libbpf_set_print(be_quiet);
    bool loaded = load(time_wait, shape, why);
    (void)libbpf_set_print(print);
    if (!loaded) {
        time_wait_destroy(time_wait);
        return NULL;
    }
    return time_wait;
}

bool time_wait_probe(char why[TIME_WAIT_WHY_MAX])
{
    struct time_wait *time_wait = time_wait_create(&(struct time_wait_shape){.groups = 1}, why);

    if (time_wait == NULL) {
        return false;
    }
    time_wait_destroy(time_wait);
    return true;
}

void time_wait_table(const struct time_wait *time_wait, struct flow_table *table)
{
    *table = time_wait->table;
}

int time_wait_publish(struct time_wait *time_wait, int cgroup_fd)
{
    if (time_wait->publisher != NULL) {
        return -EALREADY;
    }
    time_wait->publisher = bpf_program__attach_cgroup(time_wait->bpf->progs.publisher, cgroup_fd);
    return time_wait->publisher != NULL ? 0 : -errno;
}

/* The index of an interface whose packets begin with an Ethernet header. */
static int find_interface(const char *interface)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    strncpy(request.ifr_name, interface, sizeof(request.ifr_name) - 1);
    int result = ioctl(fd, SIOCGIFHWADDR, &request) != 0 ? -errno : 0;
    int type = request.ifr_hwaddr.sa_family;
    if (result == 0 && type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK) {
        result = -ENOTSUP;
    }
    if (result == 0) {
        result = ioctl(fd, SIOCGIFINDEX, &request) != 0 ? -errno : request.ifr_ifindex;
    }
    close(fd);
    return result;
}

int time_wait_answer(struct time_wait *time_wait, const char *interface)
{
    int index = find_interface(interface);

    if (index < 0) {
        return index;
    }
    if (time_wait->interfaces == TIME_WAIT_INTERFACES_MAX) {
        return -ENOSPC;
    }
    int link = attach(time_wait->bpf, index);
    if (link < 0) {
        return link;
    }
    time_wait->responders[time_wait->interfaces++] = link;
    return 0;
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

void time_wait_destroy(struct time_wait *time_wait)
{
    for (uint32_t i = 0; i < time_wait->interfaces; i++) {
        close(time_wait->responders[i]);
    }
    (void)bpf_link__destroy(time_wait->publisher);
    if (time_wait->bpf != NULL) {
        unmap_array(time_wait->bpf->maps.flow_tags, time_wait->table.tags);
        unmap_array(time_wait->bpf->maps.flow_entries, time_wait->table.entries);
    }
    time_wait_bpf__destroy(time_wait->bpf);
    free(time_wait);
}
