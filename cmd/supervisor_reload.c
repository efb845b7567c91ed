/*
 * Reload: a new configuration image is checked, published, and taken by the workers between two batches.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/notify.h"
#include "cmd/supervisor.h"
#include "io/log.h"
#include "shm/image_box.h"
#include "shm/name_row.h"

static bool same_binds(const struct image *a, const struct image *b)
{
    if (a->listener_count != b->listener_count || a->bind_count != b->bind_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->listener_count; i++) {
        if (strcmp(image_listener(a, i)->name, image_listener(b, i)->name) != 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < a->bind_count; i++) {
        const struct image_bind *x = image_bind(a, i);
        const struct image_bind *y = image_bind(b, i);
        if (x->listener != y->listener || !endpoint_equal(&x->endpoint, &y->endpoint)) {
            return false;
        }
    }
    return true;
}

/* What of the new configuration needs a restart in this version; NULL: nothing. */
static const char *needs_restart(const struct supervisor *supervisor, const struct image *image)
{
    const struct image *old = supervisor->image;

    if (strcmp(old->name, image->name) != 0) {
        return "name";
    }
    if (old->workers != image->workers) {
        return "workers";
    }
    if (strcmp(old->user, image->user) != 0) {
        return "user";
    }
    if (old->buffer_bytes_limit != image->buffer_bytes_limit) {
        return "limits.buffers";
    }
    if (image->sessions_limit > supervisor->region.header->sessions_per_slot) {
        return "limits.sessions (raised beyond what was reserved at start)";
    }
    return same_binds(old, image) ? NULL : "listeners and their binds";
}

static void refuse(struct supervisor *supervisor, const char *what)
{
    supervisor->region.header->reloads_failed++;
    log_line(LOG_LEVEL_ERROR, "event=reload_failed what=\"%s\" kept=\"the configuration that runs\"", what);
    notify_ready();
}

/* The sockets come first, so that all is in effect when the workers say that they have taken the image. */
static int publish(struct supervisor *supervisor, struct image *image)
{
    int result = image_box_taken(&supervisor->region) ? name_rows_assign(&supervisor->region, image) : -EBUSY;

    if (result < 0) {
        return result;
    }
    result = supervisor_set_congestion(supervisor, image, supervisor->image);
    if (result == 0) {
        result = image_box_publish(&supervisor->region, image);
    }
    if (result < 0) {
        (void)supervisor_set_congestion(supervisor, supervisor->image, image);
    }
    return result;
}

void supervisor_reload(struct supervisor *supervisor)
{
    if (supervisor->stopping) {
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
    int result = publish(supervisor, image);
    if (result < 0) {
        refuse(supervisor,
               result == -EBUSY ? "a worker has not yet taken the last one; try again" : strerror(-result));
        free(image);
        return;
    }
    free(supervisor->image);
    supervisor->image = image;
    log_set_level(image->log_level);
    supervisor->reload_pending = true;
    supervisor_wake_all(supervisor);
}
