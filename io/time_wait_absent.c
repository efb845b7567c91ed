/* Stands in for io/time_wait.c in a build without clang, bpftool or libbpf: the kernel keeps TIME_WAIT. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/time_wait.h"

struct time_wait *time_wait_create(const struct time_wait_shape *shape, char why[TIME_WAIT_WHY_MAX])
{
    (void)shape;
    snprintf(why, TIME_WAIT_WHY_MAX, "built without BPF");
    return NULL;
}

uint64_t time_wait_seed(const struct time_wait *time_wait)
{
    (void)time_wait;
    return 0;
}

void time_wait_maps(const struct time_wait *time_wait, int fds[REGION_FLOW_MAPS])
{
    (void)time_wait;
    memset(fds, -1, REGION_FLOW_MAPS * sizeof(*fds));
}

int time_wait_publish(struct time_wait *time_wait, int cgroup_fd)
{
    (void)time_wait;
    (void)cgroup_fd;
    return -ENOTSUP;
}

int time_wait_answer(struct time_wait *time_wait, const int *interfaces, uint32_t count)
{
    (void)time_wait;
    (void)interfaces;
    (void)count;
    return -ENOTSUP;
}

uint32_t time_wait_interfaces(const struct time_wait *time_wait)
{
    (void)time_wait;
    return 0;
}

uint32_t time_wait_take_published(struct time_wait *time_wait, uint32_t *indexes, uint32_t max)
{
    (void)time_wait;
    (void)indexes;
    (void)max;
    return 0;
}

void time_wait_count(const struct time_wait *time_wait, struct time_wait_counters *counters)
{
    (void)time_wait;
    memset(counters, 0, sizeof(*counters));
}

int time_wait_responder(const struct time_wait *time_wait)
{
    (void)time_wait;
    return -1;
}

int time_wait_native_responder(const struct time_wait *time_wait)
{
    (void)time_wait;
    return -1;
}

int time_wait_guard(const struct time_wait *time_wait)
{
    (void)time_wait;
    return -1;
}

void time_wait_destroy(struct time_wait *time_wait)
{
    (void)time_wait;
}

int time_wait_open_maps(const char *pins, int fds[REGION_FLOW_MAPS])
{
    (void)pins;
    (void)fds;
    return -ENOTSUP;
}

int time_wait_unpin(const char *pins)
{
    (void)pins;
    return 0;
}

int time_wait_pin_number(const char *pins, const char *name, uint32_t number)
{
    (void)pins;
    (void)name;
    (void)number;
    return -ENOTSUP;
}

int time_wait_pinned_number(const char *pins, const char *name, uint32_t *number)
{
    (void)pins;
    (void)name;
    (void)number;
    return -ENOENT;
}
