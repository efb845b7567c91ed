#include "shm/name_row.h"

#include <errno.h>
#include <string.h>

#include "shm/order.h"
#include "shm/worker_slot.h"

static const uint32_t kind_rows[NAME_KINDS] = {
    [NAME_LISTENER] = IMAGE_LISTENERS_MAX,
    [NAME_POOL] = IMAGE_POOLS_MAX,
    [NAME_SERVER] = IMAGE_SERVERS_MAX,
};

uint32_t name_rows_max(enum name_kind kind)
{
    return kind_rows[kind];
}

static struct name_row *row_at(const struct region *region, enum name_kind kind, uint16_t row)
{
    static const uint32_t first_rows[NAME_KINDS] = {
        [NAME_LISTENER] = 0,
        [NAME_POOL] = IMAGE_LISTENERS_MAX,
        [NAME_SERVER] = IMAGE_LISTENERS_MAX + IMAGE_POOLS_MAX,
    };

    return region_row(region, TABLE_NAMES, first_rows[kind] + row);
}

struct name_row *region_name(const struct region *region, enum name_kind kind, uint16_t row)
{
    return row < kind_rows[kind] ? row_at(region, kind, row) : NULL;
}

/* Whether a session may still refer to the row. Sessions refer to listeners and pools too, but only servers come and
 * go while Penstock runs in numbers that matter, so only their rows are counted. */
static bool row_is_idle(const struct region *region, enum name_kind kind, uint16_t row)
{
    if (kind != NAME_SERVER) {
        return false;
    }
    for (uint32_t slot = 0; slot < region_slots_used(region); slot++) {
        const struct server_counters *counters = region_server_counters(region, slot, row);
        if (__atomic_load_n(&counters->sessions, __ATOMIC_RELAXED) != 0) {
            return false;
        }
    }
    return true;
}

static void take_row(const struct region *region, enum name_kind kind, uint16_t row, const char *pool,
                     const char *name)
{
    struct name_row *entry = row_at(region, kind, row);

    if (kind == NAME_SERVER) {
        order_server_state(region, row, ADMIN_UP);
        order_server_weight(region, row, 0);
    }
    for (uint32_t slot = 0; kind == NAME_SERVER && entry->used && slot < region_slots_used(region); slot++) {
        struct server_counters *counters = region_server_counters(region, slot, row);
        if (counters->connects > 0) { /* else its page need not even be there */
            memset(region_connect_times(region, slot, row), 0, sizeof(struct time_histogram));
        }
        memset(counters, 0, sizeof(*counters));
    }
    memset(entry->pool, 0, sizeof(entry->pool));
    memset(entry->name, 0, sizeof(entry->name));
    strncpy(entry->pool, pool, sizeof(entry->pool) - 1);
    strncpy(entry->name, name, sizeof(entry->name) - 1);
    __atomic_store_n(&entry->used, 1u, __ATOMIC_RELEASE); /* pairs with readers' acquire */
}

/* The row of (pool, name), -1 where it has none; then *free_row is a fresh one, or one that nobody needs, or -1. */
static int known_row(const struct region *region, enum name_kind kind, const char *pool, const char *name,
                     int *free_row)
{
    int stale = -1;

    for (uint16_t row = 0; row < kind_rows[kind]; row++) {
        const struct name_row *entry = row_at(region, kind, row);
        if (!entry->used) {
            *free_row = row;
            return -1;
        }
        if (strcmp(entry->name, name) == 0 && strcmp(entry->pool, pool) == 0) {
            return row;
        }
        if (stale < 0 && !entry->current && row_is_idle(region, kind, row)) {
            stale = row;
        }
    }
    *free_row = stale;
    return -1;
}

/* What a walk over an image does with each name. First all that are known are marked as current, so that no newcomer
 * takes their rows; then all get theirs. */
enum walk { WALK_MARK, WALK_ASSIGN };

/* The row of (pool, name) at WALK_ASSIGN; -ENOSPC when there is none. */
static int visit(const struct region *region, enum walk walk, enum name_kind kind, const char *pool,
                 const char *name)
{
    int free_row = -1;
    int row = known_row(region, kind, pool, name, &free_row);

    if (row < 0 && walk == WALK_ASSIGN) {
        if (free_row < 0) {
            return -ENOSPC;
        }
        row = free_row;
        take_row(region, kind, (uint16_t)row, pool, name);
    }
    if (row < 0) {
        return 0;
    }
    row_at(region, kind, (uint16_t)row)->current = 1;
    return row;
}

/* Marks rows that are in the table but perhaps no longer in the file. */
static void forget_current(const struct region *region)
{
    for (int kind = 0; kind < NAME_KINDS; kind++) {
        for (uint16_t row = 0; row < kind_rows[kind]; row++) {
            struct name_row *entry = row_at(region, kind, row);
            if (!entry->used) {
                break;
            }
            entry->current = 0;
        }
    }
}

static int walk_pool(const struct region *region, enum walk walk, const struct image *image,
                     struct image_pool *pool)
{
    int row = visit(region, walk, NAME_POOL, "", pool->name);

    if (row < 0) {
        return row;
    }
    pool->row = (uint32_t)row;
    for (uint32_t i = 0; i < pool->server_count; i++) {
        struct image_server *server = (struct image_server *)image_server(image, pool->server_first + i);
        char text[ENDPOINT_TEXT_MAX];
        row = visit(region, walk, NAME_SERVER, pool->name,
                    endpoint_format(&server->address, text, sizeof(text)));
        if (row < 0) {
            return row;
        }
        server->row = (uint16_t)row;
    }
    return 0;
}

static int walk_image(const struct region *region, enum walk walk, const struct image *image)
{
    for (uint32_t i = 0; i < image->listener_count; i++) {
        struct image_listener *listener = (struct image_listener *)image_listener(image, i);
        int row = visit(region, walk, NAME_LISTENER, "", listener->name);
        if (row < 0) {
            return row;
        }
        listener->row = (uint32_t)row;
    }
    for (uint32_t i = 0; i < image->pool_count; i++) {
        int result = walk_pool(region, walk, image, (struct image_pool *)image_pool(image, i));
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

int name_rows_assign(const struct region *region, struct image *image)
{
    forget_current(region);
    (void)walk_image(region, WALK_MARK, image);
    return walk_image(region, WALK_ASSIGN, image);
}
