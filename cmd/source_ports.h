/*
 * Source ports in use towards each server: a connection to it takes one, and goes on taking it through
 * TIME_WAIT. And the same for each address that connections to it come from.
 *
 * Found by the servers' addresses in the flow table. Servers of the same address share their ports, so each
 * has them all.
 */
#ifndef PENSTOCK_CMD_SOURCE_PORTS_H
#define PENSTOCK_CMD_SOURCE_PORTS_H

#include "core/flow.h"
#include "core/image.h"

enum {
    SOURCE_PORTS_PLACES = 4 * IMAGE_SERVERS_MAX,
    SOURCE_PAIRS_MAX = 2048, /* those that come later are counted by server only */
    SOURCE_PAIRS_PLACES = 2 * SOURCE_PAIRS_MAX,
};

struct ports_used {
    uint64_t active;
    uint64_t time_wait;
};

struct source_pair {
    uint8_t source[16];
    uint16_t server; /* index in the image; at the end its row */
    struct ports_used used;
};

struct source_pairs {
    uint32_t count;
    struct source_pair pairs[SOURCE_PAIRS_MAX];
};

/* Servers by address: a hash table with linear probing. */
struct source_ports_map {
    const struct image *image;
    uint16_t places[SOURCE_PORTS_PLACES];      /* index of the first server of the address and 1; 0: none */
    struct ports_used used[IMAGE_SERVERS_MAX]; /* by that index */
    uint16_t pair_places[SOURCE_PAIRS_PLACES]; /* index of a pair and 1; likewise */
    struct source_pairs by_source;
};

void source_ports_begin(struct source_ports_map *map, const struct image *image);

/* Counts an entry of the flow table if it is a connection to a server. */
void source_ports_add(struct source_ports_map *map, const struct flow_entry *entry);

/* Stores what was counted by the servers' rows, and by source and server in the order of the first entries. */
void source_ports_end(const struct source_ports_map *map, struct ports_used rows[IMAGE_SERVERS_MAX],
                      struct source_pairs *by_source);

#endif
