/*
 * A supervisor in the place of one that died: keepers and workers have served on, nothing is restarted.
 *
 * Those whose region has another layout become elders (cmd/supervisor_elders.c) and a new generation is started.
 *
 * The region is mapped through one of them, the head for writing; what the dead one shared with each slot, and the
 * listening sockets, are copied out of the keepers' descriptor tables. What it had begun is carried on or undone:
 *
 *     a drain or stop     the run state is in the region's header; carried on
 *     a reload            the current image counts; sockets on their way to workers for one that never came are closed
 *                         by them with the next image, and there is one; steering and filters are taken off
 *     starting a keeper   one that was not ready died with it; the slot's worker is replaced, or the slot begins anew
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cmd/descriptors.h"
#include "cmd/kin.h"
#include "cmd/supervisor.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/sock.h"
#include "shm/image_box.h"
#include "shm/worker_slot.h"

enum {
    SETTLE_MS = 10000,
    SOCKETS_MS = 2000, /* for sockets that are on their way; workers look once a second */
    DEATH_MS = 1000,   /* the number may be another process's by now */
};

static int fail(const struct supervisor *supervisor, int result)
{
    const char *what = "see the cause";

    if (result == -EPERM || result == -EACCES) {
        what =
            "keepers and workers of the supervisor that died serve on, but taking them over takes CAP_SYS_PTRACE "
            "(containers: cap_add SYS_PTRACE)";
    } else if (result == -EPROTO) {
        what =
            "keepers and workers of the supervisor that died serve on; they are of another version of Penstock: "
            "start that one";
    }
    log_line(LOG_LEVEL_ERROR, "event=takeover_failed name=%s error=\"%s\" what=\"%s\"",
             supervisor->image->name, strerror(-result), what);
    return result;
}

/* --- The region ------------------------------------------------------------------------------------------- */

static int open_segments(pid_t pid, int fds[SEGMENT_COUNT])
{
    static const int numbers[SEGMENT_COUNT] = {FD_HEAD, FD_TABLES, FD_BANK};
    char path[64];

    for (int i = 0; i < SEGMENT_COUNT; i++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, numbers[i]);
        fds[i] = open(path, O_RDWR | O_CLOEXEC);
        if (fds[i] < 0) {
            int error = errno;
            while (i-- > 0) {
                close(fds[i]);
            }
            return -error;
        }
    }
    return 0;
}

/* Through any of those who hold it. */
static int open_region(struct supervisor *supervisor, const struct kin *found, uint32_t count)
{
    int fds[SEGMENT_COUNT] = {-1, -1, -1};
    int result = -ESRCH;

    for (uint32_t i = 0; i < count && result < 0; i++) {
        result = open_segments(found[i].pid, fds);
    }
    if (result < 0) {
        return result;
    }
    result = region_take_over(&supervisor->region, fds);
    if (result == 0 && strcmp(supervisor->region.header->name, supervisor->image->name) != 0) {
        result = -ENOENT;
    }
    if (result == 0 && supervisor->region.header->run_state == RUN_HANDOVER) {
        result = -EPROTO; /* it has given its sockets away */
    }
    if (result < 0) {
        region_detach(&supervisor->region);
        for (int i = 0; i < SEGMENT_COUNT; i++) {
            close(fds[i]);
            supervisor->region.fds[i] = -1;
        }
    }
    return result;
}

static int copy_image(struct supervisor *supervisor)
{
    const struct image *current = image_box_current(&supervisor->region);
    struct image *image = malloc(current->size);

    if (image == NULL) {
        return -ENOMEM;
    }
    memcpy(image, current, current->size);
    free(supervisor->image);
    supervisor->image = image;
    log_set_level(image->log_level);
    return 0;
}

/* --- Slots ------------------------------------------------------------------------------------------------ */

/* The keeper of the slot, or its worker if that has none; NULL: both are dead. */
static const struct kin *holder_of(const struct kin *found, uint32_t count, uint32_t slot)
{
    const struct kin *holder = NULL;

    for (uint32_t i = 0; i < count; i++) {
        if (found[i].role != KIN_LOGGER && found[i].slot == slot &&
            (holder == NULL || (holder->role == KIN_WORKER && found[i].role == KIN_KEEPER))) {
            holder = &found[i];
        }
    }
    return holder;
}

static int take_slot(struct supervised_slot *slot, const struct kin *holder)
{
    int *const shared[] = {&slot->inbox, &slot->outbox, &slot->wake};
    static const int numbers[] = {FD_INBOX, FD_OUTBOX, FD_WAKE};

    for (int i = 0; i < 3; i++) {
        int fd = kin_copy_descriptor(holder->pidfd, numbers[i]);
        if (fd < 0) {
            return fd;
        }
        if (*shared[i] >= 0) { /* of another that died meanwhile: the same */
            close(*shared[i]);
        }
        *shared[i] = fd;
    }
    slot->pidfd = fcntl(holder->pidfd, F_DUPFD_CLOEXEC, 0);
    slot->keeper = holder->role == KIN_KEEPER ? holder->pid : 0;
    slot->orphan = holder->role == KIN_WORKER ? holder->pid : 0;
    if (slot->orphan != 0) {
        kin_continue(holder->pidfd);
    }
    return slot->pidfd < 0 ? -errno : 0;
}

/* The keeper died just now: its worker. 0, -ESRCH where that is dead, too, or another -errno. */
static int take_orphan(struct supervisor *supervisor, uint32_t index)
{
    const struct worker_slot *shared = region_slot(&supervisor->region, index);
    struct kin_memory memory;
    struct kin worker = {.pidfd = -1};
    int result = kin_memory_of(supervisor->region.fds[SEGMENT_TABLES], &memory);

    if (result == 0) {
        result = kin_find_worker(&memory, index, (pid_t)shared->pid, &worker);
    }
    if (result == 0) {
        result = take_slot(&supervisor->slots[index], &worker);
        close(worker.pidfd);
    }
    return result == -EBADF ? -ESRCH : result;
}

static int take_slots(struct supervisor *supervisor, const struct kin *found, uint32_t count)
{
    int result = 0;

    for (uint32_t i = 0; i < supervisor->region.header->slot_count && result == 0; i++) {
        const struct kin *holder = holder_of(found, count, i);
        uint32_t state = __atomic_load_n(&region_slot(&supervisor->region, i)->state, __ATOMIC_ACQUIRE);

        result = holder == NULL ? -ESRCH : take_slot(&supervisor->slots[i], holder);
        if (result == -ESRCH || result == -EBADF) {
            result = take_orphan(supervisor, i);
        }
        if (result == -ESRCH) {
            if (state == SLOT_ADOPTING || state == SLOT_SERVING) {
                supervisor_lose_slot(supervisor, i);
            }
            result = 0;
        }
    }
    return result;
}

/* --- Listening sockets ------------------------------------------------------------------------------------ */

static bool has_socket(const struct supervisor *supervisor, uint32_t slot, uint32_t place)
{
    const struct slot_listener *theirs = &region_slot(&supervisor->region, slot)->listeners[place];

    return __atomic_load_n(&theirs->state, __ATOMIC_RELAXED) != SLOT_LISTENER_NONE;
}

/* Whether every worker has the sockets of the current image. */
static bool sockets_are_there(const struct supervisor *supervisor)
{
    const struct image *image = supervisor->image;

    for (uint32_t i = 0; i < image->workers; i++) {
        for (uint32_t k = 0; k < image->bind_count && supervisor->slots[i].pidfd >= 0; k++) {
            if (!has_socket(supervisor, i, image_bind(image, k)->place)) {
                return false;
            }
        }
    }
    return true;
}

/* One that is what it should be; from here on it takes everybody again. */
static int take_socket(struct supervised_slot *slot, const struct image_bind *bind)
{
    int none = 0;
    int fd = kin_copy_descriptor(slot->pidfd, FD_LISTENERS + (int)bind->place);

    if (fd >= 0 && !sock_listens_at(fd, &bind->endpoint)) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)); /* where there is one */
        (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof(none));
    }
    return fd < 0 ? -1 : fd;
}

static void take_sockets(struct supervisor *supervisor)
{
    const struct image *image = supervisor->image;

    for (uint32_t i = 0; i < image->workers; i++) {
        struct supervised_slot *slot = &supervisor->slots[i];
        for (uint32_t k = 0; k < image->bind_count && slot->pidfd >= 0; k++) {
            const struct image_bind *bind = image_bind(image, k);
            slot->listeners[bind->place] = take_socket(slot, bind);
            slot->handed[bind->place] = slot->listeners[bind->place] >= 0;
        }
    }
}

/* --- All together ----------------------------------------------------------------------------------------- */

/* Looks after the slots until `condition` holds, for some time at most. */
static bool wait_until(struct supervisor *supervisor, bool (*condition)(const struct supervisor *),
                       uint32_t ms)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    uint64_t until_us = clock_now_us() + ms * 1000ull;

    while (!condition(supervisor)) {
        if (clock_now_us() > until_us) {
            return false;
        }
        supervisor_watch_slots(supervisor);
        nanosleep(&pause, NULL);
    }
    return true;
}

static int take_all(struct supervisor *supervisor, const struct kin_memory *memory, const struct kin *found,
                    uint32_t count)
{
    int result = open_region(supervisor, found, count);

    if (result == 0) {
        result = copy_image(supervisor);
    }
    if (result == 0) {
        result = take_slots(supervisor, found, count);
    }
    if (result < 0) {
        return result;
    }
    supervisor_take_over_time_wait(supervisor);
    supervisor->region.header->supervisor_pid = (uint32_t)getpid();
    snprintf(supervisor->region.header->version, REGION_VERSION_MAX, "%s", penstock_version());
    supervisor->stopping = supervisor->region.header->run_state != RUN_SERVE;
    supervisor->upgrading = supervisor->instance.handed && !supervisor->stopping;
    kin_end_loggers(memory); /* one of ours takes its place */
    return supervisor_start_logger(supervisor);
}

/* All the listening sockets of the image, and slots that have none begin anew with others. */
static int take_listeners(struct supervisor *supervisor)
{
    static const struct image nothing;

    supervisor_wake_all(supervisor); /* the dead one may not have come to it */
    if (supervisor->stopping) {
        supervisor_use_inherited(supervisor, &nothing);
        return 0;
    }
    int result = supervisor_open_slots(supervisor, supervisor->image); /* of slots that are lost */
    if (result < 0) {
        return result;
    }
    (void)wait_until(supervisor, sockets_are_there, SOCKETS_MS);
    take_sockets(supervisor);
    supervisor_use_inherited(supervisor, supervisor->image);
    supervisor->steered = true; /* to be looked at: workers of slots that leave */
    if (supervisor_open_listeners(supervisor, supervisor->image) != 0) {
        return -EADDRINUSE;
    }
    return supervisor_hand_listeners(supervisor, supervisor->image);
}

/* The lock on the name is given up some moments before a process has ended, and with its end keepers that it had just
 * forked end, too. */
static void wait_for_death(const struct supervisor *supervisor)
{
    pid_t pid = supervisor->instance.left_pid;
    int pidfd = pid == getpid() ? -1 : kin_open(pid);

    if (pidfd >= 0) {
        (void)kin_wait_end(pidfd, DEATH_MS);
        close(pidfd);
    }
}

static bool is_anybody(const struct kin *found, int count)
{
    for (int i = 0; i < count; i++) {
        if (found[i].role != KIN_LOGGER) {
            return true;
        }
    }
    return false;
}

/* One generation, the newest first. 1: it is ours now; 0: it is an elder one, or nobody is left of it; or -errno. */
static int take_generation(struct supervisor *supervisor, const struct kin_memory *memory, bool newest)
{
    static struct kin found[KIN_MAX];
    int count = kin_find(memory, found, KIN_MAX);
    int result = count < 0 ? count : 0;

    if (is_anybody(found, count)) {
        result = newest ? take_all(supervisor, memory, found, (uint32_t)count) : -EPROTO;
        if (result == -EPROTO) {
            result = supervisor_add_elder(supervisor, memory, found, (uint32_t)count);
        } else {
            result = result < 0 ? result : 1;
        }
    } else {
        kin_end_loggers(memory);
    }
    for (int i = 0; i < count; i++) {
        close(found[i].pidfd);
    }
    return result;
}

int supervisor_take_over(struct supervisor *supervisor)
{
    const struct instance *instance = &supervisor->instance;
    uint64_t started_us = clock_now_us();
    int result = 0;
    bool taken = false;

    if (instance->left_count == 0) {
        return 0;
    }
    wait_for_death(supervisor);
    for (uint32_t i = 0; i < instance->left_count && result >= 0; i++) {
        result = take_generation(supervisor, &instance->left[i], !taken && supervisor->elder_count == 0);
        taken = taken || result == 1;
    }
    if (result >= 0 && taken) {
        result = supervisor_publish(supervisor);
    }
    if (result >= 0 && taken) {
        result = take_listeners(supervisor);
    }
    if (result < 0) {
        return fail(supervisor, result);
    }
    if (taken) {
        log_line(LOG_LEVEL_WARNING, "event=taken_over name=%s took_us=%lu", supervisor->image->name,
                 (unsigned long)(clock_now_us() - started_us));
    }
    return taken;
}

static bool image_is_free(const struct supervisor *supervisor)
{
    return image_box_is_free(&supervisor->region);
}

static bool image_is_taken(const struct supervisor *supervisor)
{
    return image_box_taken(&supervisor->region);
}

void supervisor_follow_file(struct supervisor *supervisor)
{
    bool settled = false;

    if (supervisor->stopping) {
        return;
    }
    if (wait_until(supervisor, image_is_free, SETTLE_MS)) {
        supervisor->image->generation++;
        supervisor->region.header->image_since_ms = clock_now_us() / 1000;
        if (image_box_publish(&supervisor->region, supervisor->image) == 0) {
            supervisor_wake_all(supervisor);
            settled = wait_until(supervisor, image_is_taken, SETTLE_MS);
        }
    }
    if (!settled) {
        log_line(LOG_LEVEL_ERROR,
                 "event=takeover_unsettled what=\"workers have not taken the configuration; what "
                 "runs is kept, the file is followed with the next reload\"");
        return;
    }
    supervisor_reload(supervisor);
    supervisor_follow_reload(supervisor);
    (void)wait_until(supervisor, image_is_taken, SETTLE_MS);
}
