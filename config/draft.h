/*
 * A configuration while it is read: the image's rows in tables of their greatest size, each with the places of what
 * may turn out wrong only when all is known. Lives on the heap from config_parse_memory's begin to its end.
 */
#ifndef PENSTOCK_CONFIG_DRAFT_H
#define PENSTOCK_CONFIG_DRAFT_H

#include "config/config.h"
#include "config/tree.h"

struct draft_listener {
    struct image_listener row;
    struct config_place name_place;
    struct config_place pool_place;
    struct config_place congestion_place;
    struct config_buffer_places buffer_places;
    struct config_place zero_copy_place;
    char pool_name[IMAGE_NAME_MAX]; /* "" where none could be read */
};

struct draft_bind {
    struct image_bind row; /* family ENDPOINT_NONE: could not be read */
    struct config_place place;
};

struct draft_pool {
    struct image_pool row;
    struct config_place name_place;
    struct config_place servers_place;
    struct config_place congestion_place;
    struct config_buffer_places buffer_places;
    struct config_place zero_copy_place;
    struct config_place source_place; /* line 0: not written */
    struct config_place source_ports_place;
    struct config_place source_places[IMAGE_SOURCES_MAX];
};

struct draft_server {
    struct image_server row; /* family ENDPOINT_NONE: could not be read */
    struct config_place place;
};

/* Line 0 where the file leaves them out. */
struct draft_time_wait_places {
    struct config_place two_msl, buckets, interfaces, cgroup;
};

struct config_draft {
    struct image head; /* its counts and offsets are set last */
    struct config_positions positions;
    struct config_place exporter_place;
    struct draft_time_wait_places time_wait_places;
    uint32_t listener_count, bind_count, pool_count, server_count;
    struct draft_listener listeners[IMAGE_LISTENERS_MAX];
    struct draft_bind binds[IMAGE_BINDS_MAX];
    struct draft_pool pools[IMAGE_POOLS_MAX];
    struct draft_server servers[IMAGE_SERVERS_MAX];
};

/* config/keys.c: sets the defaults, then reads the tree into the draft. */
void config_draft_read(struct config_draft *draft, const struct config_node *root,
                       const struct config_options *options, struct config_report *report);

/* config/rules.c: what no single value shows: names and addresses given twice, pools that do not exist. Completes the
 * listeners' pool indices. */
void config_rules_check(struct config_draft *draft, struct config_report *report);

#endif
