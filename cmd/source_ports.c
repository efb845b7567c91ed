#include "cmd/source_ports.h"

#include <string.h>

/* An address as the flow table has it: IPv6, IPv4 as ::ffff:a.b.c.d. False for unix sockets, which have no ports. */
static bool flow_address(const struct endpoint *endpoint, uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (endpoint->family == ENDPOINT_V6) {
        memcpy(address, endpoint->bytes, 16);
        return true;
    }
    memcpy(address, mapped, sizeof(mapped));
    memcpy(address + sizeof(mapped), endpoint->bytes, 4);
    return endpoint->family == ENDPOINT_V4;
}

/* Fibonacci hashing of what is left of an address: the tables are at most a quarter and half full. */
static uint32_t hash_of(const uint8_t address[16], uint16_t more)
{
    uint64_t words[2];

    memcpy(words, address, sizeof(words));
    uint64_t hash = (words[0] ^ words[1] ^ more) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(hash >> 52);
}

/* The place of the address, or the empty one where it would be. */
static uint32_t find(const struct source_ports_map *map, const uint8_t address[16], uint16_t port)
{
    uint32_t place = hash_of(address, port) % SOURCE_PORTS_PLACES;
    uint8_t other[16];

    while (map->places[place] != 0) {
        const struct endpoint *server = &image_server(map->image, map->places[place] - 1u)->address;
        if (server->port == port && flow_address(server, other) && memcmp(other, address, 16) == 0) {
            break;
        }
        place = (place + 1) % SOURCE_PORTS_PLACES;
    }
    return place;
}

void source_ports_begin(struct source_ports_map *map, const struct image *image)
{
    uint8_t address[16];

    memset(map, 0, sizeof(*map));
    map->image = image;
    for (uint32_t i = 0; i < image->server_count; i++) {
        const struct endpoint *server = &image_server(image, i)->address;
        if (flow_address(server, address)) {
            uint16_t *place = &map->places[find(map, address, server->port)];
            *place = *place != 0 ? *place : (uint16_t)(i + 1);
        }
    }
}

/* The pair of the source and the server; NULL where there are too many. */
static struct source_pair *find_pair(struct source_ports_map *map, const uint8_t source[16], uint16_t server)
{
    uint32_t place = hash_of(source, server) % SOURCE_PAIRS_PLACES;
    struct source_pairs *all = &map->by_source;

    while (map->pair_places[place] != 0) {
        struct source_pair *pair = &all->pairs[map->pair_places[place] - 1];
        if (pair->server == server && memcmp(pair->source, source, 16) == 0) {
            return pair;
        }
        place = (place + 1) % SOURCE_PAIRS_PLACES;
    }
    if (all->count == SOURCE_PAIRS_MAX) {
        return NULL;
    }
    struct source_pair *pair = &all->pairs[all->count++];
    map->pair_places[place] = (uint16_t)all->count;
    pair->server = server;
    memcpy(pair->source, source, sizeof(pair->source));
    return pair;
}

static void count(struct ports_used *used, const struct flow_entry *entry)
{
    used->active += entry->state == FLOW_ACTIVE;
    used->time_wait += entry->state == FLOW_TIME_WAIT;
}

void source_ports_add(struct source_ports_map *map, const struct flow_entry *entry)
{
    uint16_t index = map->places[find(map, entry->remote, entry->remote_port)];

    if (index != 0) {
        struct source_pair *pair = find_pair(map, entry->local, (uint16_t)(index - 1));
        count(&map->used[index - 1], entry);
        if (pair != NULL) {
            count(&pair->used, entry);
        }
    }
}

void source_ports_end(const struct source_ports_map *map, struct ports_used rows[IMAGE_SERVERS_MAX],
                      struct source_pairs *by_source)
{
    uint8_t address[16];

    for (uint32_t i = 0; i < map->image->server_count; i++) {
        const struct image_server *server = image_server(map->image, i);
        if (flow_address(&server->address, address)) {
            uint16_t first = map->places[find(map, address, server->address.port)];
            rows[server->row % IMAGE_SERVERS_MAX] = map->used[first - 1];
        }
    }
    by_source->count = map->by_source.count;
    for (uint32_t i = 0; i < by_source->count; i++) {
        by_source->pairs[i] = map->by_source.pairs[i];
        by_source->pairs[i].server =
            image_server(map->image, by_source->pairs[i].server)->row % IMAGE_SERVERS_MAX;
    }
}
