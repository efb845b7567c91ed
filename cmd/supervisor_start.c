/*
 * The supervisor's children: keepers and the logger.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/keeper.h"
#include "cmd/logger.h"
#include "cmd/machine.h"
#include "cmd/supervisor.h"
#include "io/log.h"

static int open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* What a slot shares with its keeper, whoever that is. 0 or -errno. */
static int open_slot(struct supervised_slot *slot)
{
    int pair[2];

    if (slot->wake >= 0) {
        return 0;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    slot->inbox = pair[0];
    slot->outbox = pair[1];
    slot->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return slot->wake < 0 ? -errno : 0;
}

int supervisor_open_slots(struct supervisor *supervisor, const struct image *image)
{
    int result = 0;

    for (uint32_t i = 0; i < image->workers && result == 0; i++) {
        result = open_slot(&supervisor->slots[i]);
    }
    return result;
}

int supervisor_start_keeper(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    bool pinned = supervisor->image->workers <= machine_cpus();
    struct keeper_setup setup = {
        .region = &supervisor->region,
        .slot = index,
        .inbox = slot->inbox,
        .outbox = slot->outbox,
        .wake = slot->wake,
        .cpu = pinned ? machine_cpu(index) : -1,
    };
    int resolved = privileges_resolve(supervisor->image->user, &setup.identity);

    if (resolved < 0) {
        return resolved;
    }
    pid_t pid = fork();
    if (pid == 0) {
        keeper_main(&setup);
    }
    if (pid < 0) {
        return -errno;
    }
    slot->keeper = pid;
    slot->pidfd = open_pidfd(pid);
    return slot->pidfd < 0 ? -errno : 0;
}

int supervisor_start_logger(struct supervisor *supervisor)
{
    pid_t pid = fork();

    if (pid == 0) {
        /* Listening sockets held here too would keep accepting into nothing. The region is mapped. */
        int result = region_confine(&supervisor->region);
        if (result < 0) {
            log_line(LOG_LEVEL_ERROR,
                     "event=logger_failed what=\"opening the region's head read-only\" error=\"%s\"",
                     strerror(-result));
            _exit(EXIT_FAILURE);
        }
        (void)close_range(3, ~0u, 0);
        logger_main(&supervisor->region);
    }
    if (pid < 0) {
        return -errno;
    }
    supervisor->logger = pid;
    supervisor->logger_pidfd = open_pidfd(pid);
    return supervisor->logger_pidfd < 0 ? -errno : 0;
}
