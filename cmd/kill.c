/*
 * penstock kill: resets one session. The order lies in the region; the session's worker carries it out: shm/order.h.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/instance.h"
#include "shm/order.h"
#include "shm/session_slab.h"

enum { TIMEOUT_MS = 10000 }; /* a worker looks at least once a second */

/* What the command line names. */
struct wanted {
    bool any_worker;
    uint32_t slot;
    uint64_t serial;
};

struct found {
    uint32_t count;
    uint32_t slot, index;
    struct session session;
};

static bool read_wanted(const char *text, struct wanted *wanted)
{
    char rest;

    *wanted = (struct wanted){0};
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    if (sscanf(text, "%" SCNu32 "/%" SCNu64 "%c", &wanted->slot, &wanted->serial, &rest) == 2) {
        return true;
    }
    wanted->any_worker = true;
    return sscanf(text, "%" SCNu64 "%c", &wanted->serial, &rest) == 1;
}

static void find(const struct region *region, const struct wanted *wanted, struct found *found)
{
    struct session_walk walk;
    struct session session;

    *found = (struct found){0};
    session_walk_begin(&walk, region);
    while (session_walk_next(&walk, &session)) {
        if (session.serial == wanted->serial && (wanted->any_worker || walk.slot == wanted->slot)) {
            found->count++;
            found->slot = walk.slot;
            found->index = walk.index;
            found->session = session;
        }
    }
}

/* Gives the order as soon as no other waits, then waits until it is carried out. Whether it is. */
static bool carry_out(const struct instance *instance, const struct region *region, const struct found *found)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    uint32_t generation = found->session.generation;
    bool given = false;

    for (int i = 0; i < TIMEOUT_MS; i++) {
        if (!given && order_kill(region, found->slot, found->index, generation)) {
            given = true;
            if (instance->pid != 0) { /* else the worker looks by itself, a second later at most */
                (void)kill(instance->pid, SIGCONT);
            }
        }
        if (given && order_kill_is_done(region, found->slot, found->index, generation)) {
            return true;
        }
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "penstock: worker %u did not answer within 10 s; %s\n", found->slot,
            given ? "the session ends when it does" : "nothing was done");
    return false;
}

static int kill_session(const struct instance *instance, const struct region *region,
                        const struct command_options *options)
{
    struct wanted wanted;
    struct found found;

    if (!read_wanted(options->words[0], &wanted)) {
        fprintf(stderr,
                "penstock: '%s': a session is WORKER/SERIAL, as in 0/544; `penstock sessions` lists them\n",
                options->words[0]);
        return EXIT_USAGE;
    }
    find(region, &wanted, &found);
    if (found.count == 0) {
        fprintf(stderr, "penstock: there is no session %s; `penstock sessions` lists them\n",
                options->words[0]);
        return EXIT_FAILURE;
    }
    if (found.count > 1) {
        fprintf(stderr, "penstock: %u workers have a session %s; say which: WORKER/%s\n", found.count,
                options->words[0], options->words[0]);
        return EXIT_FAILURE;
    }
    if (!carry_out(instance, region, &found)) {
        return EXIT_FAILURE;
    }
    printf("session %u/%" PRIu64 " has ended\n", found.slot, found.session.serial);
    return EXIT_SUCCESS;
}

int command_kill(const struct command_options *options)
{
    struct instance instance;
    struct region region;

    if (instance_open_for_orders(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    int status = kill_session(&instance, &region, options);
    region_detach(&region);
    return status;
}
