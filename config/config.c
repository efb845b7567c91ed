/*
 * Loading: from a file to its characters, a tree, a draft, the image. Runs in the supervisor and on the command line.
 */
#include "config/config.h"
#include "config/draft.h"
#include "config/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct config_place no_place = {0, 0};

/* Copies the rows that the draft holds together. Returns NULL without memory. */
static struct image *image_create(const struct config_draft *draft)
{
    struct image head = draft->head;
    struct image *image;
    char *base;

    image_layout(&head, draft->listener_count, draft->bind_count, draft->pool_count, draft->server_count);
    image = calloc(1, head.size);
    if (!image)
        return NULL;
    *image = head;
    base = (char *)image;
    for (uint32_t i = 0; i < head.listener_count; i++)
        ((struct image_listener *)(base + head.listener_offset))[i] = draft->listeners[i].row;
    for (uint32_t i = 0; i < head.bind_count; i++)
        ((struct image_bind *)(base + head.bind_offset))[i] = draft->binds[i].row;
    for (uint32_t i = 0; i < head.pool_count; i++)
        ((struct image_pool *)(base + head.pool_offset))[i] = draft->pools[i].row;
    for (uint32_t i = 0; i < head.server_count; i++)
        ((struct image_server *)(base + head.server_offset))[i] = draft->servers[i].row;
    return image;
}

static void positions_fill(const struct config_draft *draft, struct config_positions *positions)
{
    *positions = draft->positions;
    for (uint32_t i = 0; i < draft->listener_count; i++) {
        positions->listener_congestion[i] = draft->listeners[i].congestion_place;
        positions->listener_buffers[i] = draft->listeners[i].buffer_places;
    }
    for (uint32_t i = 0; i < draft->pool_count; i++) {
        positions->pool_congestion[i] = draft->pools[i].congestion_place;
        positions->pool_buffers[i] = draft->pools[i].buffer_places;
        positions->pool_source_ports[i] = draft->pools[i].source_ports_place;
    }
}

/* From a tree to an image; mistakes of the tree may be in the report already. */
static int image_build(const struct config_tree *tree, const struct config_options *options,
                       struct config_report *report, struct image **image, struct config_positions *positions)
{
    struct config_draft *draft = calloc(1, sizeof(*draft));

    if (!draft) {
        config_report_add(report, no_place, "out of memory");
        return -1;
    }
    config_draft_read(draft, tree->root, options, report);
    config_rules_check(draft, report);
    if (report->count == 0) {
        *image = image_create(draft);
        if (!*image)
            config_report_add(report, no_place, "out of memory");
        else if (positions)
            positions_fill(draft, positions);
    }
    free(draft);
    return *image ? 0 : -1;
}

/* config_parse_memory with the report begun. */
static int bytes_parse(const char *bytes, size_t size, const struct config_options *options,
                       struct config_report *report, struct image **image, struct config_positions *positions)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    struct config_tree tree;
    int result = -1;

    if (size > CONFIG_BYTES_MAX) {
        config_report_add(report, no_place, "is larger than 1 MiB; a configuration is far smaller");
        return -1;
    }
    if (size >= 3 && memcmp(bytes, byte_order_mark, 3) == 0) {
        bytes += 3;
        size -= 3;
    }
    if (config_text_check(bytes, size, report) < 0)
        return -1;
    if (config_tree_parse(&tree, bytes, size, report) == 0)
        result = image_build(&tree, options, report, image, positions);
    config_tree_fini(&tree);
    return result;
}

int config_parse_memory(const char *name, const char *bytes, size_t size,
                        const struct config_options *options, struct config_report *report,
                        struct image **image, struct config_positions *positions)
{
    *image = NULL;
    config_report_init(report, name);
    return bytes_parse(bytes, size, options, report, image, positions);
}

/* Reads what `path` gives, at most one byte more than a configuration may have, so that too much shows. Pipes are
 * fine. Returns the bytes, for the caller to free, or NULL and errno. */
static char *file_read(const char *path, size_t *size)
{
    size_t capacity = CONFIG_BYTES_MAX + 1;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *bytes = NULL;
    ssize_t got = -1;
    int error;

    if (file < 0)
        return NULL;
    bytes = malloc(capacity);
    *size = 0;
    while (bytes && *size < capacity) {
        got = read(file, bytes + *size, capacity - *size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        *size += (size_t)got;
    }
    error = bytes ? errno : ENOMEM;
    close(file);
    if (got < 0) {
        free(bytes);
        bytes = NULL;
    }
    errno = error;
    return bytes;
}

int config_load(const char *path, const struct config_options *options, struct config_report *report,
                struct image **image, struct config_positions *positions)
{
    size_t size = 0;
    char *bytes;
    int result;

    *image = NULL;
    config_report_init(report, path);
    bytes = file_read(path, &size);
    if (!bytes) {
        config_report_add(report, no_place, "cannot be read: %s", strerror(errno));
        return -1;
    }
    result = bytes_parse(bytes, size, options, report, image, positions);
    free(bytes);
    return result;
}
