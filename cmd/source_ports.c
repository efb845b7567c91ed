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

/* Fibonacci hashing of what is left of an address: the table is at most a quarter full. */
static uint32_t place_of(const uint8_t address[16], uint16_t port)
{
    uint64_t words[2];

    memcpy(words, address, sizeof(words));
    uint64_t hash = (words[0] ^ words[1] ^ port) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(hash >> 52) % SOURCE_PORTS_PLACES;
}

/* The place of the address, or the empty one where it would be. */
static uint32_t find(const struct source_ports_map *map, const uint8_t address[16], uint16_t port)
{
    uint32_t place = place_of(address, port);
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

void source_ports_add(struct source_ports_map *map, const struct flow_entry *entry)
{
    uint16_t index = map->places[find(map, entry->remote, entry->remote_port)];

    if (index != 0) {
        map->used[index - 1].active += entry->state == FLOW_ACTIVE;
        map->used[index - 1].time_wait += entry->state == FLOW_TIME_WAIT;
    }
}

void source_ports_end(const struct source_ports_map *map, struct source_ports rows[IMAGE_SERVERS_MAX])
{
    uint8_t address[16];

    for (uint32_t i = 0; i < map->image->server_count; i++) {
        const struct image_server *server = image_server(map->image, i);
        if (flow_address(&server->address, address)) {
            uint16_t first = map->places[find(map, address, server->address.port)];
            rows[server->row % IMAGE_SERVERS_MAX] = map->used[first - 1];
        }
    }
}
