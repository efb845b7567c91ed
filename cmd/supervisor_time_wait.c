/*
 * TIME_WAIT in the supervisor: whether it is ours, and what has to be done for that beside serving.
 *
 * It is decided once, when an instance starts: all that it takes is there, or the kernel keeps TIME_WAIT as
 * ever and the region says why. What is attached is pinned, so a supervisor that takes over finds it; its own
 * programs take the place of the old ones. At the end the programs answer until the last entry has expired; a
 * process of its own waits for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "cmd/kin.h"
#include "cmd/leftover.h"
#include "cmd/supervisor.h"
#include "core/session.h"
#include "io/cgroup.h"
#include "io/clock.h"
#include "io/interface.h"
#include "io/log.h"
#include "io/time_wait.h"

enum {
    ACK_LIMIT_MS = 500, /* as net.ipv4.tcp_invalid_ratelimit */
    COUNT_EVERY_US = 1000000,
    LOOK_EVERY_US = 1000000, /* for interfaces that came or went */
    DESTROY_EVERY_MS = 50,
    DESTROY_BATCHES = 64, /* at once; workers and signals wait meanwhile, 30 ms */
    LOOKS_A_CLAIM = 10,   /* one in a second */
    LINGER_MAX = 4,       /* times 2MSL: segments that come again prolong an entry */
};

/* --- Interfaces --------------------------------------------------------------------------------------------- */

static int cannot_answer(const char *name, char why[REGION_WHY_MAX])
{
    snprintf(why, REGION_WHY_MAX,
             "interface %s is of a kind that cannot be answered at; time_wait.interfaces can name others",
             name);
    return -ENOTSUP;
}

static int find_all(int *indexes, uint32_t *count, char why[REGION_WHY_MAX])
{
    char name[IMAGE_INTERFACE_MAX];
    int found = interface_find_all(indexes, TIME_WAIT_INTERFACES_MAX, name);

    if (found < 0) {
        snprintf(why, REGION_WHY_MAX, "the interfaces cannot be listed: %s", strerror(-found));
        return found;
    }
    *count = (uint32_t)found;
    return name[0] != '\0' ? cannot_answer(name, why) : 0;
}

static int find_named(const struct image_time_wait *wanted, int *indexes, uint32_t *count,
                      char why[REGION_WHY_MAX])
{
    int result = 0;

    for (uint32_t i = 0; i < wanted->interface_count; i++) {
        int index = interface_find(wanted->interfaces[i]);
        if (index >= 0) {
            indexes[(*count)++] = index;
        } else if (index == -ENOTSUP) {
            result = cannot_answer(wanted->interfaces[i], why);
        } else {
            result = index;
            snprintf(why, REGION_WHY_MAX, "interface %s: %s", wanted->interfaces[i], strerror(-index));
        }
    }
    return result;
}

/* Attaches to all that connections may come through. 0, or -errno and why not to one of them. */
static int follow_interfaces(struct supervisor *supervisor, char why[REGION_WHY_MAX])
{
    const struct image_time_wait *wanted = &supervisor->image->time_wait;
    int indexes[TIME_WAIT_INTERFACES_MAX];
    uint32_t count = 0;
    int found = wanted->interface_count == 0 ? find_all(indexes, &count, why)
                                             : find_named(wanted, indexes, &count, why);

    if (found < 0 && count == 0) {
        return found;
    }
    int result = time_wait_answer(supervisor->time_wait.programs, indexes, count);
    if (result < 0) {
        snprintf(why, REGION_WHY_MAX, "a program cannot be attached to an interface: %s", strerror(-result));
    }
    return found < 0 ? found : result;
}

/* What is wrong with one by now is not the end of the others. */
static void look_at_interfaces(struct supervisor *supervisor)
{
    struct supervised_time_wait *own = &supervisor->time_wait;
    char why[REGION_WHY_MAX] = "";
    uint32_t before = time_wait_interfaces(own->programs);
    int result = follow_interfaces(supervisor, why);
    uint32_t now = time_wait_interfaces(own->programs);

    if (result < 0 && !own->told) {
        log_line(LOG_LEVEL_WARNING, "event=time_wait what=\"%s; TIME_WAITs there are not answered\"", why);
    }
    if (now != before) {
        log_line(LOG_LEVEL_INFO, "event=time_wait interfaces=%u", now);
    }
    own->told = result < 0;
    supervisor->region.header->time_wait.interfaces = now;
}

/* --- The kernel's own ------------------------------------------------------------------------------------- */

static bool is_published(void *context, const struct flow_key *key)
{
    const struct flow_table *table = context;
    struct flow_key same;
    uint32_t index = flow_table_find(table, key);

    return index != FLOW_NONE && flow_table_key(table, index, &same);
}

/* Some may have been missed: those that the ring buffer had no room for, or that a dead supervisor had taken out. */
static int destroy_missed(struct supervisor *supervisor)
{
    struct supervised_time_wait *own = &supervisor->time_wait;
    uint64_t overruns = supervisor->region.header->time_wait.counters.publish_overruns;

    if (own->overruns == overruns) {
        return 0;
    }
    int destroyed = sock_destroy_all(&own->destroy, is_published, &own->table);
    if (destroyed >= 0 && destroyed < SOCK_DESTROY_ALL_MAX) {
        own->overruns = overruns;
    }
    return destroyed;
}

static int destroy_published(struct supervisor *supervisor)
{
    struct supervised_time_wait *own = &supervisor->time_wait;
    uint32_t indexes[SOCK_DESTROY_BATCH];
    struct flow_key keys[SOCK_DESTROY_BATCH];
    uint32_t taken = SOCK_DESTROY_BATCH;
    int destroyed = 0;

    for (int i = 0; i < DESTROY_BATCHES && taken == SOCK_DESTROY_BATCH; i++) {
        uint32_t count = 0;
        taken = time_wait_take_published(own->programs, indexes, SOCK_DESTROY_BATCH);
        for (uint32_t k = 0; k < taken; k++) {
            count += flow_table_key(&own->table, indexes[k], &keys[count]);
        }
        int result = sock_destroy_tuples(&own->destroy, keys, count);
        if (result < 0) {
            own->overruns = UINT64_MAX; /* some may be left */
            return result;
        }
        destroyed += result;
    }
    return destroyed;
}

static void note_destroyed(struct supervisor *supervisor, int result)
{
    if (result > 0) {
        supervisor->region.header->time_wait.destroyed += (uint64_t)result;
    } else if (result < 0 && !supervisor->time_wait.told_destroy) {
        log_line(
            LOG_LEVEL_WARNING,
            "event=time_wait what=\"the kernel's own sockets are not removed; both keep it\" error=\"%s\"",
            strerror(-result));
        supervisor->time_wait.told_destroy = true;
    }
}

static int open_destroy(struct supervisor *supervisor, char why[REGION_WHY_MAX])
{
    struct supervised_time_wait *own = &supervisor->time_wait;
    int result = 0;

    own->destroy.fd = -1;
    own->overruns = UINT64_MAX;
    if (!supervisor->image->time_wait.no_buckets) {
        result = sock_destroy_open(&own->destroy);
    }
    if (result < 0) {
        snprintf(why, REGION_WHY_MAX, "the kernel removes none of its sockets (CONFIG_INET_DIAG_DESTROY): %s",
                 strerror(-result));
    }
    return result;
}

/* --- Owning ------------------------------------------------------------------------------------------------- */

static int publish(struct supervisor *supervisor, char why[REGION_WHY_MAX])
{
    const char *path = supervisor->image->time_wait.cgroup;
    int cgroup = cgroup_open(path);

    if (cgroup < 0) {
        const char *what = cgroup == -ENODEV   ? "no cgroup2 file system is mounted"
                           : cgroup == -EPROTO ? "it is no directory of a cgroup2 file system"
                           : cgroup == -EXDEV  ? "Penstock does not run in it"
                                               : strerror(-cgroup);
        snprintf(why, REGION_WHY_MAX, "cgroup %.80s: %s", path[0] != '\0' ? path : "auto", what);
        return cgroup;
    }
    int result = time_wait_publish(supervisor->time_wait.programs, cgroup);
    close(cgroup);
    if (result < 0) {
        snprintf(why, REGION_WHY_MAX, "a program cannot be attached to the cgroup: %s", strerror(-result));
    }
    return result;
}

/* Loads and attaches everything. 0, or -errno and why, with nothing left behind that was not there. */
static int load_and_attach(struct supervisor *supervisor, char why[REGION_WHY_MAX])
{
    struct region_header *header = supervisor->region.header;
    struct time_wait_shape shape = {
        .pins = header->time_wait.pins,
        .groups = header->flow_groups,
        .seed = header->flow_seed,
        .two_msl_ms = header->time_wait.two_msl_ms,
        .ack_limit_ms = ACK_LIMIT_MS,
        .sole_owner = supervisor->image->time_wait.no_buckets,
    };
    int maps[REGION_FLOW_MAPS];

    supervisor->time_wait.programs = time_wait_create(&shape, why);
    if (supervisor->time_wait.programs == NULL) {
        return -ENOTSUP;
    }
    int result = open_destroy(supervisor, why);
    if (result == 0) {
        result = publish(supervisor, why);
    }
    if (result == 0) {
        result = follow_interfaces(supervisor, why);
        result = header->time_wait.owned ? 0 : result; /* look_at_interfaces() says what one lacks by now */
    }
    if (result == 0) {
        time_wait_maps(supervisor->time_wait.programs, maps);
        result = region_use_flow_maps(&supervisor->region, maps, true);
    }
    header->time_wait.interfaces = time_wait_interfaces(supervisor->time_wait.programs);
    return result;
}

static void disown(struct supervisor *supervisor)
{
    struct region_time_wait *state = &supervisor->region.header->time_wait;

    region_leave_flow_maps(&supervisor->region);
    if (supervisor->time_wait.programs != NULL) {
        time_wait_destroy(supervisor->time_wait.programs);
        supervisor->time_wait.programs = NULL;
    }
    if (supervisor->time_wait.destroy.fd >= 0) {
        sock_destroy_close(&supervisor->time_wait.destroy);
    }
    (void)leftover_remove(state->pins);
    state->pins[0] = '\0';
    state->owned = false;
    state->interfaces = 0;
}

static void tell(const struct supervisor *supervisor)
{
    const struct region_time_wait *state = &supervisor->region.header->time_wait;

    if (state->owned) {
        log_line(LOG_LEVEL_INFO, "event=time_wait mode=owned two_msl=%ums interfaces=%u pins=%s",
                 state->two_msl_ms, state->interfaces, state->pins);
    } else {
        log_line(LOG_LEVEL_INFO, "event=time_wait mode=kernel why=\"%s\"", state->why);
    }
}

/* One that no elder has. */
static uint32_t next_mark(const struct supervisor *supervisor)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < supervisor->elder_count; i++) {
        uint32_t mark = supervisor->elders[i].header->flow_mark;
        next = mark >= next ? mark + 1 : next;
    }
    return next;
}

int supervisor_choose_time_wait(struct supervisor *supervisor)
{
    const struct image_time_wait *wanted = &supervisor->image->time_wait;
    struct region_header *header = supervisor->region.header;
    struct region_time_wait *state = &header->time_wait;
    int result = -ENOTSUP;

    state->two_msl_ms = wanted->two_msl_ms;
    leftover_pins(state->pins, supervisor->image->name);
    leftover_restore_buckets(state->pins); /* of an end that was not waited for */
    snprintf(state->why, sizeof(state->why), "time_wait.mode is kernel");
    if (wanted->mode != TIME_WAIT_KERNEL) {
        result = load_and_attach(supervisor, state->why);
    }
    if (result == 0 && wanted->no_buckets) {
        result = leftover_take_buckets(state->pins);
        if (result < 0) {
            snprintf(state->why, sizeof(state->why), "net.ipv4.tcp_max_tw_buckets cannot be set: %s",
                     strerror(-result));
        }
    }
    if (result == 0) {
        header->flow_seed = time_wait_seed(supervisor->time_wait.programs);
        header->flow_mark = next_mark(supervisor);
        state->owned = true;
        state->why[0] = '\0';
        flow_table_open(&supervisor->time_wait.table, &supervisor->region);
        if (supervisor->elder_count == 0) {
            flow_table_disown(&supervisor->time_wait.table, clock_now_us() / 1000);
        }
    } else {
        disown(supervisor);
        state->two_msl_ms = IMAGE_TWO_MSL_MS;
    }
    if (result < 0 && wanted->mode == TIME_WAIT_OWNED) {
        log_line(LOG_LEVEL_ERROR, "event=time_wait what=\"it cannot be owned\" why=\"%s\"", state->why);
        return result;
    }
    tell(supervisor);
    return 0;
}

void supervisor_take_over_time_wait(struct supervisor *supervisor)
{
    struct region_header *header = supervisor->region.header;
    char why[REGION_WHY_MAX] = "what was pinned is not there any more";

    if (!header->time_wait.owned) {
        return;
    }
    if (load_and_attach(supervisor, why) != 0 ||
        time_wait_seed(supervisor->time_wait.programs) != header->flow_seed) {
        disown(supervisor);
        memcpy(header->time_wait.why, why, sizeof(why));
    } else {
        flow_table_open(&supervisor->time_wait.table, &supervisor->region);
    }
    tell(supervisor);
}

int supervisor_time_wait_ms(const struct supervisor *supervisor)
{
    const struct supervised_time_wait *own = &supervisor->time_wait;

    return own->programs == NULL || own->destroy.fd < 0 ? -1 : DESTROY_EVERY_MS;
}

void supervisor_watch_time_wait(struct supervisor *supervisor)
{
    struct supervised_time_wait *own = &supervisor->time_wait;
    uint64_t now_us = clock_now_us();

    if (own->programs == NULL) {
        return;
    }
    if (own->destroy.fd >= 0) {
        note_destroyed(supervisor, destroy_published(supervisor));
    }
    if (now_us >= own->count_after_us) {
        own->count_after_us = now_us + COUNT_EVERY_US;
        time_wait_count(own->programs, &supervisor->region.header->time_wait.counters);
        if (own->destroy.fd >= 0) {
            note_destroyed(supervisor, destroy_missed(supervisor));
        }
    }
    if (now_us >= own->look_after_us) {
        own->look_after_us = now_us + LOOK_EVERY_US;
        look_at_interfaces(supervisor);
    }
}

/* --- The end ------------------------------------------------------------------------------------------------ */

static bool any_waits(const struct region *region)
{
    struct flow_table table;
    struct flow_walk walk = {0};
    struct flow_entry entry;
    uint32_t now_ms = (uint32_t)(clock_now_us() / 1000);

    flow_table_open(&table, region);
    while (flow_walk_next(&walk, &table, &entry)) {
        if (entry.state >= FLOW_FIN_WAIT2 && (int32_t)(entry.expire_ms - now_ms) > 0) {
            return true;
        }
    }
    return false;
}

/* Holds nothing that somebody might wait for. */
static void detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)setsid();
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && null >= 0; fd++) {
        (void)dup2(null, fd);
    }
    (void)close_range(STDERR_FILENO + 1, ~0u, 0);
}

/* Whether the instance has run again, and runs perhaps; then everything is its own. */
static bool runs_again(const char *name, bool remove, const char *pins)
{
    struct instance instance;

    if (instance_claim(&instance, name) != 0) {
        return true;
    }
    bool again = instance.left_count > 0;
    if (remove && !again) {
        (void)leftover_remove(pins);
    }
    instance_release(&instance, !again);
    return again;
}

/* Whether a signal asks to end, or somebody has removed the pins; waits for that. */
static bool is_told_to_end(const char *pins)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    return sigtimedwait(&signals, NULL, &pause) > 0 || access(pins, F_OK) != 0;
}

/* Waits until the last entry has expired or somebody asks to end, then removes the programs. */
static _Noreturn void linger(struct supervisor *supervisor, int parent)
{
    const struct region_time_wait *state = &supervisor->region.header->time_wait;
    const char *name = supervisor->image->name;
    uint64_t until_us = clock_now_us() + (uint64_t)LINGER_MAX * state->two_msl_ms * 1000;

    (void)prctl(PR_SET_NAME, "time_wait", 0, 0, 0);
    (void)kin_wait_end(parent, -1);                   /* it has the claim until then */
    (void)region_confine_reader(&supervisor->region); /* buffers are nobody's any more */
    detach();
    for (int i = 1;
         any_waits(&supervisor->region) && clock_now_us() < until_us && !is_told_to_end(state->pins); i++) {
        if (i % LOOKS_A_CLAIM == 0 && runs_again(name, false, state->pins)) {
            _exit(EXIT_SUCCESS);
        }
    }
    (void)runs_again(name, true, state->pins);
    _exit(EXIT_SUCCESS);
}

static bool start_lingering(struct supervisor *supervisor)
{
    int self = kin_open(getpid());
    pid_t pid = self < 0 ? -1 : fork();

    if (pid == 0) {
        linger(supervisor, self);
    }
    if (self >= 0) {
        close(self);
    }
    if (pid > 0) {
        log_line(LOG_LEVEL_INFO,
                 "event=time_wait what=\"process %d answers until the last entry has expired\"", pid);
    }
    return pid > 0;
}

void supervisor_leave_time_wait(struct supervisor *supervisor)
{
    bool at_once = supervisor->time_wait.at_once || getpid() == 1; /* then nobody is left to wait */

    if (supervisor->region.header == NULL || !supervisor->region.header->time_wait.owned) {
        return;
    }
    if (at_once || !any_waits(&supervisor->region) || !start_lingering(supervisor)) {
        disown(supervisor);
    }
}
