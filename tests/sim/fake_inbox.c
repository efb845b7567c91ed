#include "tests/sim/fake_inbox.h"

#include <string.h>

#include "io/inbox.h"
#include "tests/sim/crew.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/store_hook.h"

struct inbox {
    struct inbox_message waiting;
    bool placed[SIM_LISTENERS_MAX];
};

static struct inbox inboxes[SIM_CREW_MAX];

void inbox_world_init(void)
{
    memset(inboxes, 0, sizeof(inboxes));
}

void inbox_hand(uint32_t number, uint32_t sockets, uint64_t generation)
{
    struct inbox *inbox = &inboxes[number];

    SIM_CHECK(inbox->waiting.count == 0, "worker %u has not looked into its inbox", number);
    inbox->waiting = (struct inbox_message){.generation = generation, .count = sockets};
    for (uint32_t i = 0; i < sockets; i++) {
        inbox->waiting.places[i] = i;
        net_queue(crew.members[number].index, i)->open = true;
    }
}

void inbox_begin(uint32_t number)
{
    memset(inboxes[number].placed, 0, sizeof(inboxes[number].placed));
}

int inbox_look(int fd, int base, struct inbox_message *message)
{
    struct inbox *inbox = &inboxes[sim.at];

    (void)fd;
    (void)base;
    *message = inbox->waiting;
    for (uint32_t i = 0; i < inbox->waiting.count; i++) {
        inbox->placed[i] = true;
        store_point();
    }
    return inbox->waiting.count > 0;
}

void inbox_drop(int fd)
{
    (void)fd;
    inboxes[sim.at].waiting.count = 0;
}

bool inbox_is_placed(uint32_t place)
{
    return place < SIM_LISTENERS_MAX && inboxes[sim.at].placed[place];
}

bool inbox_is_empty(uint32_t number)
{
    bool any = inboxes[number].waiting.count > 0;

    for (int i = 0; i < SIM_LISTENERS_MAX; i++) {
        any = any || inboxes[number].placed[i];
    }
    return !any;
}

/* Whether anybody has the queue's socket. */
static bool is_held(const struct net_queue *queue, uint32_t place)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        bool held = inboxes[i].placed[place] || inboxes[i].waiting.count > 0;
        if (held && net_queue(crew.members[i].index, place) == queue) {
            return true;
        }
    }
    return false;
}

void inbox_retire(uint32_t place)
{
    struct net_queue *queue = net_queue(sim.index, place);

    if (!inbox_is_placed(place)) {
        return;
    }
    inboxes[sim.at].placed[place] = false;
    queue->open = is_held(queue, place);
    SIM_CHECK(queue->open || queue->count == 0 || sim.region->header->run_state == RUN_STOP,
              "a listening socket is closed with %u connections waiting", queue->count);
}
