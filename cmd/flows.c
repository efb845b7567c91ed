/*
 * penstock flows: the entries of the flow table, as text or JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/exporter/flows.h"
#include "cmd/instance.h"
#include "cmd/text.h"
#include "cmd/time_wait_view.h"
#include "io/clock.h"

static int read_filter(struct flow_filter *filter, const struct command_options *options)
{
    const char *const given[][2] = {{"state", options->state}, {"limit", options->limit}};

    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        const char *why = NULL;
        if (given[i][1] != NULL && flow_filter_set(filter, given[i][0], given[i][1], &why) < 0) {
            fprintf(stderr, "penstock: '%s': %s\n", given[i][1], why);
            return -1;
        }
    }
    return 0;
}

/* Whose a living one is; how long another still stands. */
static void print_owner(const struct flow_view *view)
{
    char left[TEXT_NUMBER_MAX];

    if (view->has_session) {
        printf("session %u/%" PRIu64 " %s\n", view->worker, view->serial,
               view->side == SIDE_CLIENT ? "client" : "server");
    } else if (view->state == FLOW_ACTIVE) {
        printf("worker %u\n", view->worker);
    } else {
        printf("ends in %s\n", text_duration(left, view->left_ms));
    }
}

static void print_text(const struct region *region, const struct flow_filter *filter)
{
    struct time_wait_view time_wait;
    struct flow_list list;
    struct flow_view view;
    char text[TIME_WAIT_TEXT_MAX];
    char age[TEXT_NUMBER_MAX];

    time_wait_view_read(&time_wait, region);
    printf("TIME_WAIT: %s\n\n", time_wait_describe(text, &time_wait));
    flow_list_begin(&list, region, filter, clock_now_us());
    printf("%-10s %-24s %-24s %7s  %s\n", "STATE", "LOCAL", "REMOTE", "AGE", "OWNER");
    while (flow_list_next(&list, &view)) {
        printf("%-10s %-24s %-24s %7s  ", flow_state_text(view.state), view.local, view.remote,
               view.has_age ? text_duration(age, view.age_ms) : "-");
        print_owner(&view);
    }
}

int command_flows(const struct command_options *options)
{
    struct flow_filter filter = {0};
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
    } else if (json_list_print(stdout, flow_json_list(&region, &filter, clock_now_us())) < 0) {
        fprintf(stderr, "penstock: out of memory\n");
        status = EXIT_FAILURE;
    }
    region_detach(&region);
    return status;
}
