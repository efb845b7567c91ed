/*
 * Elder generations: keepers and workers whose region this supervisor cannot use, since it is of another layout.
 *
 * It takes their listening sockets, starts keepers and workers of its own on them, and tells the elder ones to let go
 * (RUN_HANDOVER). Both accept from the same queues for a moment, so no connection is lost. The elder ones end
 * when their last session has, or with this generation. All this goes by what is the same in every layout:
 * struct region_header.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/descriptors.h"
#include "cmd/supervisor.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/sock.h"

static int map_header(struct elder *elder, const struct kin *found, uint32_t count)
{
    int result = -ESRCH;

    for (uint32_t i = 0; i < count && result < 0; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", found[i].pid, FD_HEAD);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd >= 0) {
            result = region_map_header(fd, &elder->header);
            close(fd);
        }
    }
    return result;
}

static bool listens(int fd)
{
    int value = 0;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0;
}

/* What there is of the slot's listening sockets. */
static void take_sockets(struct supervised_slot *slot, const struct elder *elder, int pidfd)
{
    uint32_t places = elder->header->listener_places;

    for (uint32_t i = 0; i < places && i < IMAGE_BINDS_MAX; i++) {
        int fd = kin_copy_descriptor(pidfd, (int)(elder->header->fd_listeners + i));
        if (fd >= 0 && listens(fd) && slot->inherited[i] < 0) {
            slot->inherited[i] = fd;
        } else if (fd >= 0) {
            close(fd);
        }
    }
}

static int add_process(struct supervisor *supervisor, struct elder *elder, const struct kin *kin)
{
    int pidfd = fcntl(kin->pidfd, F_DUPFD_CLOEXEC, 0);

    if (pidfd < 0) {
        return -errno;
    }
    elder->pidfds[elder->count] = pidfd;
    elder->wakes[elder->count] = -1;
    if (kin->role == KIN_KEEPER) {
        int wake = kin_copy_descriptor(pidfd, (int)elder->header->fd_wake);
        if (wake == -EPERM) {
            close(pidfd);
            return wake;
        }
        elder->wakes[elder->count] = wake;
        if (elder->header->run_state == RUN_SERVE && kin->slot < IMAGE_WORKERS_MAX) {
            take_sockets(&supervisor->slots[kin->slot], elder, pidfd);
        }
    }
    elder->count++;
    return 0;
}

int supervisor_add_elder(struct supervisor *supervisor, const struct kin_memory *memory,
                         const struct kin *found, uint32_t count)
{
    struct elder *elder = &supervisor->elders[supervisor->elder_count];
    int result = supervisor->elder_count == ELDERS_MAX ? -EMFILE : map_header(elder, found, count);

    if (result < 0) {
        return result;
    }
    if (strcmp(elder->header->name, supervisor->image->name) != 0) {
        region_unmap_header(elder->header);
        return -EPROTO;
    }
    elder->memory = *memory;
    elder->count = 0;
    elder->letting_go = elder->header->run_state == RUN_HANDOVER;
    supervisor->elder_count++;
    for (uint32_t i = 0; i < count && result == 0; i++) {
        result = found[i].role == KIN_LOGGER ? 0 : add_process(supervisor, elder, &found[i]);
    }
    log_line(
        LOG_LEVEL_WARNING,
        "event=elder name=%s layout=%u version=%.*s processes=%u what=\"of another layout: hands over and "
        "ends with its last session\"",
        supervisor->image->name, elder->header->layout_version, REGION_VERSION_MAX - 1,
        elder->header->version, elder->count);
    return result;
}

void supervisor_use_inherited(struct supervisor *supervisor, const struct image *image)
{
    for (uint32_t i = 0; i < IMAGE_WORKERS_MAX; i++) {
        struct supervised_slot *slot = &supervisor->slots[i];
        for (uint32_t k = 0; k < IMAGE_BINDS_MAX; k++) {
            for (uint32_t b = 0; i < image->workers && slot->inherited[k] >= 0 && b < image->bind_count;
                 b++) {
                const struct image_bind *bind = image_bind(image, b);
                if (slot->listeners[bind->place] < 0 &&
                    sock_listens_at(slot->inherited[k], &bind->endpoint)) {
                    slot->listeners[bind->place] = slot->inherited[k];
                    slot->inherited[k] = -1;
                }
            }
            if (slot->inherited[k] >= 0) {
                close(slot->inherited[k]);
                slot->inherited[k] = -1;
            }
        }
    }
}

static void tell(struct elder *elder, enum run_state state)
{
    uint64_t one = 1;

    elder->header->run_state_since_ms = clock_now_us() / 1000;
    __atomic_store_n(&elder->header->run_state, (uint32_t)state,
                     __ATOMIC_RELEASE); /* pairs with follow_run_state() */
    for (uint32_t i = 0; i < elder->count; i++) {
        ssize_t ignored = elder->wakes[i] < 0 ? 0 : write(elder->wakes[i], &one, sizeof(one));
        (void)ignored;
    }
}

void supervisor_hand_over(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->elder_count; i++) {
        struct elder *elder = &supervisor->elders[i];
        if (elder->header->run_state == RUN_SERVE) {
            tell(elder, RUN_HANDOVER);
            elder->letting_go = true;
        }
    }
}

void supervisor_tell_elders(struct supervisor *supervisor, enum run_state state)
{
    for (uint32_t i = 0; i < supervisor->elder_count; i++) {
        tell(&supervisor->elders[i], state);
    }
}

void supervisor_reopen_elder_logs(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->elder_count; i++) {
        kin_reopen_logs(&supervisor->elders[i].memory);
    }
}

static bool has_let_go(const struct elder *elder)
{
    for (uint32_t i = 0; i < elder->count; i++) {
        for (uint32_t k = 0; k < elder->header->listener_places && k < IMAGE_BINDS_MAX; k++) {
            int fd = kin_copy_descriptor(elder->pidfds[i], (int)(elder->header->fd_listeners + k));
            bool open = fd >= 0 && listens(fd);
            if (fd >= 0) {
                close(fd);
            }
            if (open) {
                return false;
            }
        }
    }
    return true;
}

/* One that lets go may have taken the wake-up of a connection that waits now: ours look once more. */
static void follow_letting_go(struct supervisor *supervisor, struct elder *elder)
{
    if (!elder->letting_go || !has_let_go(elder)) {
        return;
    }
    elder->letting_go = false;
    __atomic_fetch_add(&supervisor->region.header->accept_kick, 1, __ATOMIC_RELAXED);
    supervisor_wake_all(supervisor);
    elder->header->upgrades++; /* `penstock upgrade` waits for it there */
}

bool supervisor_is_handing_over(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->elder_count; i++) {
        if (supervisor->elders[i].letting_go) {
            return true;
        }
    }
    return false;
}

/* Those who have ended are forgotten. */
static void watch_elder(struct elder *elder)
{
    for (uint32_t i = 0; i < elder->count;) {
        if (!kin_has_ended(elder->pidfds[i])) {
            i++;
            continue;
        }
        close(elder->pidfds[i]);
        if (elder->wakes[i] >= 0) {
            close(elder->wakes[i]);
        }
        elder->count--;
        elder->pidfds[i] = elder->pidfds[elder->count];
        elder->wakes[i] = elder->wakes[elder->count];
    }
}

void supervisor_watch_elders(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->elder_count;) {
        struct elder *elder = &supervisor->elders[i];
        watch_elder(elder);
        follow_letting_go(supervisor, elder);
        if (elder->count > 0) {
            i++;
            continue;
        }
        kin_end_loggers(&elder->memory); /* it does not end by itself */
        region_unmap_header(elder->header);
        log_line(LOG_LEVEL_INFO, "event=elder_ended name=%s", supervisor->image->name);
        *elder = supervisor->elders[--supervisor->elder_count];
    }
}
