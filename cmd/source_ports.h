/*
 * Source ports in use towards each server: a connection to it takes one, and goes on taking it through TIME_WAIT.
 *
 * Found by the servers' addresses in the flow table. Servers of the same address share their ports, so each has them all.
 */
#ifndef PENSTOCK_CMD_SOURCE_PORTS_H
#define PENSTOCK_CMD_SOURCE_PORTS_H

#include "core/flow.h"
#include "core/image.h"

enum { SOURCE_PORTS_PLACES = 4 * IMAGE_SERVERS_MAX };

struct source_ports {
    uint64_t active;
    uint64_t time_wait;
};

/* Servers by address: a hash table with linear probing. */
struct source_ports_map {
    const struct image *image;
    uint16_t places[SOURCE_PORTS_PLACES];        /* index of the first server of the address and 1; 0: none */
    struct source_ports used[IMAGE_SERVERS_MAX]; /* by that index */
};

void source_ports_begin(struct source_ports_map *map, const struct image *image);

/* Counts an entry of the flow table if it is a connection to a server. */
void source_ports_add(struct source_ports_map *map, const struct flow_entry *entry);

/* Stores what was counted by the servers' rows. */
void source_ports_end(const struct source_ports_map *map, struct source_ports rows[IMAGE_SERVERS_MAX]);

#endif
