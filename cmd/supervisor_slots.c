/*
 * The supervisor's slots: a keeper for each, started, watched, and started again.
 *
 * When a keeper dies its worker goes on. A new keeper takes the worker's descriptors and replaces it
 * (cmd/inherit.h), so a slot is without a keeper for some milliseconds only. Only when both are dead are the
 * slot's connections lost.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/inherit.h"
#include "cmd/keeper.h"
#include "cmd/machine.h"
#include "cmd/supervisor.h"
#include "io/clock.h"
#include "io/log.h"
#include "shm/worker_slot.h"

enum {
    START_EVERY_US = 1000000,
    ASK_EVERY_US = 60000000, /* whether we may copy descriptors by now */
};

/* Forks the slot's keeper: for a worker that has lost its own, or for the slot to begin anew. */
static int fork_keeper(struct supervisor *supervisor, uint32_t index, const struct kin *orphan)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    bool pinned = supervisor->image->workers <= machine_cpus();
    struct keeper_setup setup = {
        .region = &supervisor->region,
        .supervisor = getpid(),
        .slot = index,
        .inbox = slot->inbox,
        .outbox = slot->outbox,
        .wake = slot->wake,
        .orphan = orphan,
        .cpu = pinned ? machine_cpu(index) : -1,
    };
    int result = privileges_resolve(supervisor->image->user, &setup.identity);

    if (result < 0) {
        return result;
    }
    pid_t pid = fork();
    if (pid == 0) {
        keeper_main(&setup);
    }
    if (pid < 0) {
        return -errno;
    }
    int pidfd = kin_open(pid);
    if (pidfd < 0) { /* no descriptors left: not to be watched, so not to be had */
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return pidfd;
    }
    if (slot->pidfd >= 0) {
        close(slot->pidfd);
    }
    slot->keeper = pid;
    slot->own = true;
    slot->orphan = 0;
    slot->pidfd = pidfd;
    return 0;
}

static int replace_keeper(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    const struct kin orphan = {.role = KIN_WORKER, .slot = index, .pid = slot->orphan, .pidfd = slot->pidfd};
    int result = inherit_check(&orphan);

    if (result != -EPERM) {
        slot->told = false;
        result = result < 0 ? result : fork_keeper(supervisor, index, &orphan);
        if (result < 0) {
            kin_continue(orphan.pidfd);
        }
        return result;
    }
    kin_continue(orphan.pidfd);
    slot->start_after_us = clock_now_us() + ASK_EVERY_US;
    if (!slot->told) {
        log_line(
            LOG_LEVEL_ERROR,
            "event=keeper_missing slot=%u error=\"%s\" what=\"its worker serves on, but is not replaced "
            "when it dies; copying its descriptors takes CAP_SYS_PTRACE (containers: cap_add SYS_PTRACE)\"",
            index, strerror(-result));
        slot->told = true;
    }
    return result;
}

static int tend_slot(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    bool wanted = slot->pidfd < 0 && index < supervisor->image->workers && !supervisor->stopping;
    bool ends = supervisor->region.header->run_state == RUN_STOP; /* by itself */
    bool orphaned = slot->pidfd >= 0 && slot->keeper == 0 && !ends;
    uint64_t now_us = clock_now_us();

    if ((!wanted && !orphaned) || now_us < slot->start_after_us) {
        return 0;
    }
    slot->start_after_us = now_us + START_EVERY_US;
    if (orphaned) {
        return replace_keeper(supervisor, index);
    }
    int result = supervisor_hand_listeners(supervisor, supervisor->image);
    return result < 0 ? result : fork_keeper(supervisor, index, NULL);
}

int supervisor_tend_slots(struct supervisor *supervisor)
{
    int result = 0;

    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        int tended = tend_slot(supervisor, i);
        result = result < 0 ? result : tended;
    }
    return result;
}

/* Keeper and worker are dead: the connections are lost. The slot begins anew, with the listening sockets as
 * they are. */
void supervisor_lose_slot(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    struct worker_slot *shared = region_slot(&supervisor->region, index);

    log_line(LOG_LEVEL_ERROR,
             "event=slot_lost slot=%u sessions=%u what=\"keeper and worker died; it begins anew\"", index,
             shared->sessions_active);
    __atomic_store_n(&shared->sessions_active, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->state, (uint32_t)SLOT_DONE, __ATOMIC_RELEASE);
    memset(slot->handed, 0, sizeof(slot->handed));
}

/* Finds the worker of a keeper that died; it is watched from here on. */
static void find_orphan(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    const struct worker_slot *shared = region_slot(&supervisor->region, index);
    struct kin_memory memory;
    struct kin worker = {.pidfd = -1};
    int result = kin_memory_of(supervisor->region.fds[SEGMENT_TABLES], &memory);

    if (result == 0) {
        result = kin_find_worker(&memory, index, (pid_t)shared->pid, &worker);
    }
    if (result < 0) {
        supervisor_lose_slot(supervisor, index);
        return;
    }
    if (slot->replacing) {
        slot->start_after_us = 0; /* it was stopped for its next keeper */
    } else {
        kin_continue(worker.pidfd);
    }
    slot->orphan = worker.pid;
    slot->pidfd = worker.pidfd;
}

static void reap_keeper(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    const struct worker_slot *shared = region_slot(&supervisor->region, index);
    int status = -1;
    bool ours = waitpid(slot->keeper, &status, 0) == slot->keeper; /* not one that was taken over */
    bool done = ours ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                     : __atomic_load_n(&shared->state, __ATOMIC_ACQUIRE) == SLOT_DONE;

    slot->keeper = 0;
    close(slot->pidfd);
    slot->pidfd = -1;
    if (done) { /* with it what it was handed for an image that it did not live to see */
        memset(slot->handed, 0, sizeof(slot->handed));
        return;
    }
    if (!slot->replacing) {
        log_line(LOG_LEVEL_ERROR, "event=keeper_died slot=%u status=%d what=\"its worker serves on\"", index,
                 status);
    }
    find_orphan(supervisor, index);
    slot->replacing = false;
}

static void reap_slot(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];

    if (slot->keeper != 0) {
        reap_keeper(supervisor, index);
        return;
    }
    close(slot->pidfd);
    slot->pidfd = -1;
    slot->orphan = 0;
    if (slot->told) { /* not to wait until we would ask again */
        slot->told = false;
        slot->start_after_us = 0;
    }
    if (__atomic_load_n(&region_slot(&supervisor->region, index)->state, __ATOMIC_ACQUIRE) != SLOT_DONE) {
        supervisor_lose_slot(supervisor, index);
    }
}

void supervisor_watch_slots(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        if (supervisor->slots[i].pidfd >= 0 && kin_has_ended(supervisor->slots[i].pidfd)) {
            reap_slot(supervisor, i);
        }
    }
    (void)supervisor_tend_slots(supervisor);
}
