/*
 * penstock sessions: the sessions there are now, or those that are chosen, as text or JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/exporter/sessions.h"
#include "cmd/instance.h"
#include "cmd/text.h"
#include "io/clock.h"

static int read_filter(struct session_filter *filter, const struct command_options *options)
{
    const char *const given[][2] = {
        {"listener", options->listener},     {"pool", options->pool},     {"state", options->state},
        {"older_than", options->older_than}, {"source", options->source},
    };

    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        const char *why = NULL;
        if (given[i][1] != NULL && session_filter_set(filter, given[i][0], given[i][1], &why) < 0) {
            fprintf(stderr, "penstock: '%s': %s\n", given[i][1], why);
            return -1;
        }
    }
    return 0;
}

static void print_one(const struct session_walk *walk, const struct session *session, uint64_t now_us)
{
    uint64_t age_ms = now_us > session->accepted_us ? (now_us - session->accepted_us) / 1000 : 0;
    uint64_t idle_ms = now_us / 1000 > session->active_ms ? now_us / 1000 - session->active_ms : 0;
    char texts[4][TEXT_NUMBER_MAX];
    struct session_names names;

    session_names_find(&names, walk->region, session);
    char name[32];
    snprintf(name, sizeof(name), "%u/%" PRIu64, walk->slot, session->serial);
    printf("%-12s %-10s %7s %7s %10s %10s  %-22s %-12s %s/%s\n", name, session_phase_text(session->phase),
           text_duration(texts[0], age_ms), text_duration(texts[1], idle_ms),
           text_bytes(texts[2], session->conn[SIDE_CLIENT].received_bytes),
           text_bytes(texts[3], session->conn[SIDE_SERVER].received_bytes), names.source, names.listener,
           names.pool, names.server);
}

static void print_text(const struct region *region, const struct session_filter *filter)
{
    uint64_t now_us = clock_now_us();
    struct session_walk walk;
    struct session session;

    printf("%-12s %-10s %7s %7s %10s %10s  %-22s %-12s %s\n", "SESSION", "STATE", "AGE", "IDLE", "UP", "DOWN",
           "SOURCE", "LISTENER", "POOL/SERVER");
    session_walk_begin(&walk, region);
    while (session_filter_next(filter, &walk, now_us, &session)) {
        print_one(&walk, &session, now_us);
    }
}

int command_sessions(const struct command_options *options)
{
    struct session_filter filter = {0};
    struct instance instance;
    struct region region;
    int status = EXIT_SUCCESS;

    if (read_filter(&filter, options) != 0) {
        return EXIT_USAGE;
    }
    if (instance_open(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    if (!options->json) {
        print_text(&region, &filter);
    } else if (json_list_print(stdout, session_json_list(&region, &filter, clock_now_us())) < 0) {
        fprintf(stderr, "penstock: out of memory\n");
        status = EXIT_FAILURE;
    }
    region_detach(&region);
    return status;
}
