/* Stands in for io/time_wait.c in a build without clang, bpftool or libbpf: the kernel keeps TIME_WAIT. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/time_wait.h"

bool time_wait_probe(char why[TIME_WAIT_WHY_MAX])
{
    snprintf(why, TIME_WAIT_WHY_MAX, "built without BPF");
    return false;
}

struct time_wait *time_wait_create(const struct time_wait_shape *shape, char why[TIME_WAIT_WHY_MAX])
{
    (void)shape;
    (void)time_wait_probe(why);
    return NULL;
}

void time_wait_table(const struct time_wait *time_wait, struct flow_table *table)
{
    (void)time_wait;
    *table = (struct flow_table){0};
}

int time_wait_publish(struct time_wait *time_wait, int cgroup_fd)
{
    (void)time_wait;
    (void)cgroup_fd;
    return -ENOTSUP;
}

int time_wait_answer(struct time_wait *time_wait, const char *interface)
{
    (void)time_wait;
    (void)interface;
    return -ENOTSUP;
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

void time_wait_destroy(struct time_wait *time_wait)
{
    (void)time_wait;
}
