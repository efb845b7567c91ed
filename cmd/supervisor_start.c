/*
 * What the supervisor's children are started with, and the logger. Keepers: cmd/supervisor_slots.c.
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

#include "cmd/descriptors.h"
#include "cmd/kin.h"
#include "cmd/logger.h"
#include "cmd/supervisor.h"
#include "io/log.h"

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

int supervisor_start_logger(struct supervisor *supervisor)
{
    pid_t self = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        kin_bind(self);
        /* Listening sockets held here too would keep accepting into nothing. The region is mapped. */
        int result = region_confine(&supervisor->region);
        if (result < 0) {
            log_line(LOG_LEVEL_ERROR,
                     "event=logger_failed what=\"opening the region's head read-only\" error=\"%s\"",
                     strerror(-result));
            _exit(EXIT_FAILURE);
        }
        (void)dup2(supervisor->region.fds[SEGMENT_TABLES], FD_TABLES); /* shows whose it is: cmd/kin.h */
        (void)close_range(3, FD_TABLES - 1, 0);
        (void)close_range(FD_TABLES + 1, ~0u, 0);
        logger_main(&supervisor->region);
    }
    if (pid < 0) {
        return -errno;
    }
    supervisor->logger = pid;
    supervisor->logger_pidfd = kin_open(pid);
    return supervisor->logger_pidfd < 0 ? -errno : 0;
}
