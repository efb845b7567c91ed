#include "tests/unit/cmd/instance_make.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "io/clock.h"
#include "shm/image_box.h"
#include "shm/name_row.h"

struct region made;

static const char text[] = "name: made\n"
                           "workers: 2\n"
                           "limits: { sessions: 2000, buffers: 4MiB }\n"
                           "listeners:\n"
                           "  - { name: web, bind: 127.0.0.1:80, routes: [ { pool: app } ] }\n"
                           "  - { name: admin, bind: 127.0.0.1:81, routes: [ { pool: side } ] }\n"
                           "pools:\n"
                           "  - { name: app, servers: [ 127.0.0.1:9001, '" MADE_STRANGE_SERVER "' ] }\n"
                           "  - { name: side, servers: [ \"[::1]:9002\" ] }\n";

void instance_make(uint32_t sessions)
{
    static struct config_report report;
    struct config_options options = {.cpus = 2};
    struct image *image = NULL;
    struct region_shape shape = {
        .name = "made",
        .slots = 2,
        .sessions_per_slot = sessions,
        .flows = (uint64_t)sessions * 8,
        .bank_bytes = 4 << 20,
        .monotonic_us = clock_now_us() - 5000000,
        .realtime_us = 1700000000000000,
    };

    cr_assert_eq(config_parse_memory("made", text, sizeof(text) - 1, &options, &report, &image, NULL), 0);
    cr_assert_eq(region_create(&made, &shape), 0);
    image->generation = 3;
    cr_assert_eq(name_rows_assign(&made, image), 0);
    cr_assert_eq(image_box_publish(&made, image), 0);
    for (uint32_t i = 0; i < 2; i++) {
        region_slot(&made, i)->state = SLOT_SERVING;
        region_slot(&made, i)->pid = 100 + i;
        region_slot(&made, i)->beat_ms = clock_now_us() / 1000;
    }
    free(image);
}

struct session *instance_add_session(uint32_t slot, uint16_t listener_row, uint16_t server_row, uint8_t host,
                                     uint64_t age_us)
{
    struct session_slab slab;
    uint64_t now_us = clock_now_us();

    session_slab_open(&slab, &made, slot);
    uint32_t index = session_slab_acquire(&slab);
    cr_assert_neq(index, SESSION_NONE);
    struct session fresh = {.generation = slab.sessions[index].generation};
    session_init(&fresh, 5, 1, now_us - age_us);
    fresh.serial = index;
    fresh.listener_row = listener_row;
    fresh.pool_row = listener_row;
    fresh.server_row = server_row;
    fresh.source_family = ENDPOINT_V4;
    fresh.source_port = 40000;
    memcpy(fresh.source_address, (uint8_t[]){192, 0, 2, host}, 4);
    session_slab_publish(&slab, index, &fresh);
    region_slot(&made, slot)->sessions_active++;
    return &slab.sessions[index];
}

const struct summary *instance_summary(void)
{
    static struct summary summary;

    summary_read(&summary, &made);
    return &summary;
}
