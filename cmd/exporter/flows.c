#include "cmd/exporter/flows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/exporter/json.h"
#include "shm/session_slab.h"

static bool read_state(const char *value, uint32_t *state)
{
    for (uint32_t i = FLOW_ACTIVE; i <= FLOW_TIME_WAIT; i++) {
        if (strcmp(flow_state_text((enum flow_state)i), value) == 0) {
            *state = i;
            return true;
        }
    }
    return false;
}

static bool read_limit(const char *value, uint64_t *limit)
{
    char rest;

    return value[0] >= '0' && value[0] <= '9' && sscanf(value, "%" SCNu64 "%c", limit, &rest) == 1 &&
           *limit > 0;
}

int flow_filter_set(struct flow_filter *filter, const char *key, const char *value, const char **why)
{
    if (strcmp(key, "state") == 0) {
        *why = "a state is active, orphaned, fin_wait2 or time_wait";
        return read_state(value, &filter->state) ? 0 : -EINVAL;
    }
    if (strcmp(key, "limit") == 0) {
        *why = "a limit is a whole number, 1 or more";
        return read_limit(value, &filter->limit) ? 0 : -EINVAL;
    }
    *why = "flow entries can be chosen by state and limit";
    return -EINVAL;
}

static void format_address(char text[ENDPOINT_TEXT_MAX], const uint8_t address[16], uint16_t port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* IPv4: core/flow.h */
    struct endpoint endpoint = {.family = ENDPOINT_V6, .port = port};

    memcpy(endpoint.bytes, address, 16);
    if (memcmp(address, mapped, sizeof(mapped)) == 0) {
        endpoint.family = ENDPOINT_V4;
        memcpy(endpoint.bytes, address + sizeof(mapped), 4);
    }
    (void)endpoint_format(&endpoint, text, ENDPOINT_TEXT_MAX);
}

/* The session that the entry names, if that refers to the entry. What a worker wrote is not believed. */
static void find_session(struct flow_view *view, const struct flow_list *list, uint32_t index,
                         const struct flow_entry *entry)
{
    const struct region *region = list->region;
    struct session session;

    view->worker = entry->tos;
    if (entry->tos >= region_slots_used(region) ||
        entry->session_index >= region->header->sessions_per_slot ||
        !session_slab_read(region, entry->tos, entry->session_index, &session)) {
        return;
    }
    for (int side = 0; side < SIDE_COUNT; side++) {
        if (session.conn[side].flow == index) {
            view->has_session = true;
            view->has_age = true;
            view->side = (enum side)side;
            view->serial = session.serial;
            view->age_ms =
                list->now_us > session.accepted_us ? (list->now_us - session.accepted_us) / 1000 : 0;
        }
    }
}

static void count_time_wait(struct flow_view *view, const struct flow_list *list,
                            const struct flow_entry *entry)
{
    int32_t left_ms = (int32_t)(entry->expire_ms - (uint32_t)(list->now_us / 1000));
    int64_t age_ms = (int64_t)list->table.two_msl_ms - left_ms;

    view->left_ms = left_ms > 0 ? (uint64_t)left_ms : 0;
    view->has_age = entry->state != FLOW_ORPHANED; /* which ends later than that */
    view->age_ms = view->has_age && age_ms > 0 ? (uint64_t)age_ms : 0;
}

void flow_list_begin(struct flow_list *list, const struct region *region, const struct flow_filter *filter,
                     uint64_t now_us)
{
    *list = (struct flow_list){.region = region, .filter = *filter, .now_us = now_us};
    flow_table_open(&list->table, region);
}

bool flow_list_next(struct flow_list *list, struct flow_view *view)
{
    const struct flow_filter *filter = &list->filter;
    struct flow_entry entry;

    if (filter->limit != 0 && list->passed == filter->limit) {
        return false;
    }
    do {
        if (!flow_walk_next(&list->walk, &list->table, &entry)) {
            return false;
        }
    } while (filter->state != FLOW_FREE && entry.state != filter->state);
    uint32_t index = list->walk.next - 1;
    list->passed++;
    *view = (struct flow_view){.state = (enum flow_state)entry.state};
    format_address(view->local, entry.local, entry.local_port);
    format_address(view->remote, entry.remote, entry.remote_port);
    if (entry.state == FLOW_ACTIVE) {
        find_session(view, list, index, &entry);
    } else {
        count_time_wait(view, list, &entry);
    }
    return true;
}

void flow_print_json(FILE *out, const struct flow_view *view)
{
    fprintf(out, "{\"state\":\"%s\",\"local\":", flow_state_text(view->state));
    json_string(out, view->local);
    fprintf(out, ",\"remote\":");
    json_string(out, view->remote);
    if (view->state == FLOW_ACTIVE) {
        fprintf(out, ",\"worker\":%u", view->worker);
    }
    if (view->has_session) {
        fprintf(out, ",\"serial\":%" PRIu64 ",\"side\":\"%s\"", view->serial,
                view->side == SIDE_CLIENT ? "client" : "server");
    }
    if (view->has_age) {
        fprintf(out, ",\"age_ms\":%" PRIu64, view->age_ms);
    }
    if (view->state != FLOW_ACTIVE) {
        fprintf(out, ",\"left_ms\":%" PRIu64, view->left_ms);
    }
    fprintf(out, "}");
}

static bool print_next(FILE *out, void *context)
{
    struct flow_view view;

    if (!flow_list_next(context, &view)) {
        return false;
    }
    flow_print_json(out, &view);
    return true;
}

struct json_list *flow_json_list(const struct region *region, const struct flow_filter *filter,
                                 uint64_t now_us)
{
    struct flow_list *list = calloc(1, sizeof(*list));

    if (list != NULL) {
        flow_list_begin(list, region, filter, now_us);
    }
    return json_list_create(print_next, list);
}
