#include "tests/sim/fake_inbox.h"

#include <string.h>

#include "io/inbox.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/store_hook.h"

static struct inbox_message waiting;
static bool placed[SIM_LISTENERS_MAX];

void inbox_fill(uint32_t sockets)
{
    memset(placed, 0, sizeof(placed));
    waiting = (struct inbox_message){.generation = 1, .count = sockets};
    for (uint32_t i = 0; i < sockets; i++) {
        waiting.places[i] = i;
    }
}

int inbox_look(int fd, int base, struct inbox_message *message)
{
    (void)fd;
    (void)base;
    *message = waiting;
    for (uint32_t i = 0; i < waiting.count; i++) {
        placed[i] = true;
        store_point();
    }
    return waiting.count > 0;
}

void inbox_drop(int fd)
{
    (void)fd;
    waiting.count = 0;
}

bool inbox_is_placed(uint32_t place)
{
    return place < SIM_LISTENERS_MAX && placed[place];
}

void inbox_retire(uint32_t place)
{
    if (!inbox_is_placed(place)) {
        return;
    }
    placed[place] = false;
    net.queues[place].open = waiting.count > 0;
}
