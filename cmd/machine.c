#include "cmd/machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/sock.h"

static uint64_t limit_of(__rlimit_resource_t resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) {
        return UINT64_MAX;
    }
    return limit.rlim_max;
}

/* A line "KEY:   N kB" of /proc/meminfo, in bytes; 0 where it is missing. */
static uint64_t meminfo(const char *key)
{
    char line[128];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL) {
        return 0;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t length = strlen(key);
        if (strncmp(line, key, length) == 0 && line[length] == ':' &&
            sscanf(line + length + 1, "%" SCNu64, &kib) == 1) {
            break;
        }
    }
    fclose(file);
    return kib * 1024;
}

/* What the control group allows, as a container sees it; UINT64_MAX: without limit. */
static uint64_t group_limit(void)
{
    uint64_t bytes = UINT64_MAX;
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");

    if (file == NULL) {
        return UINT64_MAX;
    }
    if (fscanf(file, "%" SCNu64, &bytes) != 1) { /* "max" */
        bytes = UINT64_MAX;
    }
    fclose(file);
    return bytes;
}

/* The first line of a file of /proc; "" where it cannot be read. */
static void read_names(const char *path, char *names, size_t size)
{
    FILE *file = fopen(path, "re");

    names[0] = '\0';
    if (file != NULL) {
        if (fgets(names, (int)size, file) == NULL) {
            names[0] = '\0';
        }
        fclose(file);
    }
}

static uint64_t read_number(const char *path)
{
    char text[32];

    read_names(path, text, sizeof(text));
    return strtoull(text, NULL, 10);
}

static bool has_capability(cap_value_t capability)
{
    cap_flag_value_t value = CAP_CLEAR;
    cap_t set = cap_get_proc();

    if (set != NULL) {
        (void)cap_get_flag(set, capability, CAP_EFFECTIVE, &value);
        (void)cap_free(set);
    }
    return value == CAP_SET;
}

uint32_t machine_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

int machine_cpu(uint32_t n)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) == 0) {
        return -1;
    }
    n %= (uint32_t)CPU_COUNT(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set) && n-- == 0) {
            return cpu;
        }
    }
    return -1;
}

void machine_read(struct machine_facts *facts, bool starting)
{
    uint64_t memory = meminfo("MemTotal");
    uint64_t group = group_limit();

    *facts = (struct machine_facts){
        .nofile_limit = limit_of(RLIMIT_NOFILE),
        .memlock_bytes = limit_of(RLIMIT_MEMLOCK),
        .memory_bytes = memory < group ? memory : group,
        .free_memory_bytes = starting ? meminfo("MemAvailable") : 0,
        .receive_buffer_bytes = read_number("/proc/sys/net/core/rmem_max"),
        .send_buffer_bytes = read_number("/proc/sys/net/core/wmem_max"),
        .cpus = machine_cpus(),
        .is_root = geteuid() == 0,
        .is_net_admin = has_capability(CAP_NET_ADMIN),
        .unprivileged_port_start = (uint32_t)read_number("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
    };
    sock_port_range(&facts->port_low, &facts->port_high);
    read_names("/proc/sys/net/ipv4/tcp_available_congestion_control", facts->congestion_available,
               sizeof(facts->congestion_available));
    read_names("/proc/sys/net/ipv4/tcp_allowed_congestion_control", facts->congestion_allowed,
               sizeof(facts->congestion_allowed));
}
