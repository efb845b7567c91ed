/*
 * Reload: a new configuration image is checked, published, and taken by the workers between two batches.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/notify.h"
#include "cmd/supervisor.h"
#include "io/clock.h"
#include "io/log.h"
#include "shm/buffer_bank.h"
#include "shm/image_box.h"
#include "shm/name_row.h"
#include "shm/worker_slot.h"

enum {
    BEGIN_MS = 5000,
    RELOAD_WITHIN_US = 8000000, /* less than `penstock reload` waits */
};

void supervisor_adapt(const struct supervisor *supervisor, struct image *image)
{
    if (!supervisor->has_zero_copy && image_clear_zero_copy(image)) {
        log_line(LOG_LEVEL_WARNING,
                 "event=zero_copy_off what=\"the kernel has no such sends that report (since Linux 6.2); it "
                 "copies\"");
    }
}

/* Whether as much is reserved for every worker as the image gives it of the bank. */
static bool bank_suffices(const struct supervisor *supervisor, const struct image *image)
{
    const struct region_header *header = supervisor->region.header;
    uint32_t large;
    uint32_t small;

    buffer_bank_divide(image->buffer_bytes_limit / image->workers, &large, &small);
    return large <= header->large_per_slot && small <= header->small_per_slot;
}

/* Programs are attached where interfaces come and go; all else of TIME_WAIT is settled at start. */
static const char *time_wait_needs_restart(const struct image_time_wait *old,
                                           const struct image_time_wait *time_wait)
{
    if (old->mode != time_wait->mode) {
        return "time_wait.mode";
    }
    if (old->two_msl_ms != time_wait->two_msl_ms) {
        return "time_wait.two_msl";
    }
    if (strcmp(old->cgroup, time_wait->cgroup) != 0) {
        return "time_wait.cgroup";
    }
    return old->no_buckets != time_wait->no_buckets ? "time_wait.tcp_max_tw_buckets" : NULL;
}

/* What of the new configuration needs a restart in this version; NULL: nothing. */
static const char *needs_restart(const struct supervisor *supervisor, const struct image *image)
{
    const struct image *old = supervisor->image;

    if (strcmp(old->name, image->name) != 0) {
        return "name";
    }
    if (image->workers > supervisor->region.header->slot_count) {
        return "workers (raised beyond what was reserved at start)";
    }
    if (strcmp(old->user, image->user) != 0) {
        return "user";
    }
    if (!bank_suffices(supervisor, image)) {
        return "limits.buffers (raised beyond what was reserved at start)";
    }
    if (old->flows_limit != image->flows_limit) {
        return "limits.flows";
    }
    if (image->sessions_limit > supervisor->region.header->sessions_per_slot) {
        return "limits.sessions (raised beyond what was reserved at start)";
    }
    return time_wait_needs_restart(&old->time_wait, &image->time_wait);
}

static void refuse(struct supervisor *supervisor, const char *what)
{
    supervisor->reload_by_us = 0;
    supervisor->region.header->reloads_failed++;
    log_line(LOG_LEVEL_ERROR, "event=reload_failed what=\"%s\" kept=\"the configuration that runs\"", what);
    notify_ready();
}

/* Whether the image takes away a slot whose worker has not begun to serve by the last one: who waits in the queues that
 * it was to take from would be reset. One that does not come is not waited for long. */
static bool is_too_soon(const struct supervisor *supervisor, const struct image *image)
{
    const struct image *old = supervisor->image;

    if (clock_now_us() / 1000 > supervisor->region.header->image_since_ms + BEGIN_MS) {
        return false;
    }
    for (uint32_t i = image->workers; i < old->workers; i++) {
        const struct worker_slot *slot = region_slot(&supervisor->region, i);
        uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
        bool serves = state == SLOT_SERVING || state == SLOT_ADOPTING;
        if (!serves || __atomic_load_n(&slot->image_generation, __ATOMIC_ACQUIRE) != old->generation) {
            return true;
        }
    }
    return false;
}

/* New sockets are open before old ones go, and all is in effect when the workers say that they have taken the image.
 * 0, -EBUSY, or another -errno with a message. */
static int carry_out(struct supervisor *supervisor, struct image *image)
{
    bool grows = image->workers > supervisor->image->workers;

    if (!image_box_is_free(&supervisor->region) || (grows && supervisor->steered) ||
        is_too_soon(supervisor, image)) {
        return -EBUSY;
    }
    int result = supervisor_place_listeners(supervisor, image);
    if (result == 0) {
        result = name_rows_assign(&supervisor->region, image);
    }
    if (result == 0) {
        result = supervisor_open_exporter(supervisor, image);
    }
    if (result == 0) {
        result = supervisor_open_listeners(supervisor, image);
    }
    if (result == 0) {
        result = supervisor_hand_listeners(supervisor, image);
    }
    if (result < 0) {
        (void)supervisor_set_options(supervisor, supervisor->image);
        (void)supervisor_open_exporter(supervisor, supervisor->image);
        return result;
    }
    supervisor_leave_listeners(supervisor, supervisor->image, image);
    supervisor->region.header->image_since_ms = clock_now_us() / 1000;
    return image_box_publish(&supervisor->region, image);
}

void supervisor_reload(struct supervisor *supervisor)
{
    supervisor->reload_by_us = clock_now_us() + RELOAD_WITHIN_US;
}

void supervisor_follow_reload(struct supervisor *supervisor)
{
    bool late = clock_now_us() >= supervisor->reload_by_us;

    if (supervisor->reload_by_us == 0 || supervisor->stopping ||
        (!late && !image_box_is_free(&supervisor->region))) {
        return;
    }
    notify_reloading();
    struct image *image = command_load(supervisor->config_path, false);
    if (image == NULL) {
        refuse(supervisor, "the file is wrong, see above");
        return;
    }
    const char *key = needs_restart(supervisor, image);
    if (key != NULL) {
        log_line(LOG_LEVEL_ERROR, "event=reload_refused key=\"%s\" what=\"a change of it needs a restart\"",
                 key);
        refuse(supervisor, "a key changed that needs a restart");
        free(image);
        return;
    }
    supervisor_adapt(supervisor, image);
    image->generation = supervisor->image->generation + 1;
    int result = carry_out(supervisor, image);
    if (result == -EBUSY && !late) { /* once more, with what the file says then */
        free(image);
        return;
    }
    if (result < 0) {
        refuse(supervisor,
               result == -EBUSY ? "the last reload is still being carried out" : strerror(-result));
        free(image);
        return;
    }
    supervisor->reload_by_us = 0;
    free(supervisor->image);
    supervisor->image = image;
    log_set_level(image->log_level);
    supervisor_follow_exporter(supervisor);
    supervisor->reload_pending = true;
    supervisor_wake_all(supervisor);
}
