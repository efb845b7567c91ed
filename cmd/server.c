/*
 * penstock server: takes a server out of the choice and back, or gives it another weight. Holds for new sessions, at
 * once and for every worker, until it is changed: shm/order.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/instance.h"
#include "shm/name_row.h"
#include "shm/order.h"

enum { NO_WEIGHT = UINT32_MAX };

struct order {
    enum admin_state state;
    uint32_t weight; /* 0: the file's; NO_WEIGHT: the order is of the state */
};

static bool read_weight(const char *text, uint32_t *weight)
{
    char rest;

    if (strcmp(text, "file") == 0) {
        *weight = 0;
        return true;
    }
    return text[0] >= '0' && text[0] <= '9' && sscanf(text, "%u%c", weight, &rest) == 1 && *weight >= 1 &&
           *weight <= IMAGE_WEIGHT_MAX;
}

static bool read_order(const char *const words[COMMAND_WORDS_MAX], struct order *order)
{
    *order = (struct order){.weight = NO_WEIGHT};
    if (words[2] == NULL && admin_state_read(words[1], &order->state)) {
        return true;
    }
    if (words[2] != NULL && strcmp(words[1], "weight") == 0 && read_weight(words[2], &order->weight)) {
        return true;
    }
    fprintf(stderr,
            "penstock: a server can be told: up, drain, down, weight N (1 to %d), weight file (that of the "
            "configuration)\n",
            IMAGE_WEIGHT_MAX);
    return false;
}

/* POOL/SERVER; names of pools have no slash. ROW_NONE: there is none, or the configuration does not name it
 * any more. */
static uint16_t find(const struct region *region, const char *name)
{
    for (uint32_t row = 0; row < IMAGE_SERVERS_MAX; row++) {
        const struct name_row *entry = region_name(region, NAME_SERVER, (uint16_t)row);
        size_t length = strnlen(entry->pool, sizeof(entry->pool));
        if (!__atomic_load_n(&entry->used, __ATOMIC_ACQUIRE)) {
            break;
        }
        if (entry->current && strncmp(name, entry->pool, length) == 0 && name[length] == '/' &&
            strcmp(name + length + 1, entry->name) == 0) {
            return (uint16_t)row;
        }
    }
    return ROW_NONE;
}

static void tell(const struct region *region, uint16_t row, const char *name)
{
    uint16_t word = order_server(region, row);
    uint32_t weight = admin_weight_of(word);

    printf("%s: %s%s", name, admin_state_text(admin_state_of(word)),
           admin_state_of(word) == ADMIN_UP ? "" : ", gets no new sessions; those it has go on");
    if (weight != 0) {
        printf(", weight %u instead of the file's", weight);
    }
    printf("\n");
}

static int give_order(const struct region *region, const char *name, const struct order *order)
{
    uint16_t row = find(region, name);

    if (row == ROW_NONE) {
        fprintf(stderr, "penstock: there is no server %s; `penstock servers` lists them as POOL and SERVER\n",
                name);
        return EXIT_FAILURE;
    }
    if (order->weight == NO_WEIGHT) {
        order_server_state(region, row, order->state);
    } else {
        order_server_weight(region, row, order->weight);
    }
    tell(region, row, name);
    return EXIT_SUCCESS;
}

int command_server(const struct command_options *options)
{
    struct instance instance;
    struct region region;
    struct order order;

    if (!read_order(options->words, &order)) {
        return EXIT_USAGE;
    }
    if (instance_open_for_orders(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    int status = give_order(&region, options->words[0], &order);
    region_detach(&region);
    return status;
}
