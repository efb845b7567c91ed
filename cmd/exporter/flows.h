/*
 * Lists of flow entries for people and machines: `penstock flows` and the exporter's /api/flows.
 */
#ifndef PENSTOCK_CMD_EXPORTER_FLOWS_H
#define PENSTOCK_CMD_EXPORTER_FLOWS_H

#include <stdio.h>

#include "cmd/exporter/json_list.h"
#include "core/endpoint.h"
#include "core/session.h"
#include "shm/flow_table.h"

/* Which entries are meant. All zero: all. */
struct flow_filter {
    uint32_t state; /* FLOW_FREE: any */
    uint64_t limit; /* 0: none */
};

/* Sets what `key` (state, limit) says. 0, or -EINVAL and in *why what would be right. */
int flow_filter_set(struct flow_filter *filter, const char *key, const char *value, const char **why);

/* An entry and whose it is. */
struct flow_view {
    enum flow_state state;
    uint32_t worker; /* ACTIVE: the session's */
    bool has_session;
    bool has_age; /* not where the session is gone and TIME_WAIT has not begun */
    enum side side;
    uint64_t age_ms;  /* of the session; of FIN_WAIT2 or TIME_WAIT, which what is answered may renew */
    uint64_t left_ms; /* until an entry that is not ACTIVE ends */
    uint64_t serial;  /* of the session */
    char local[ENDPOINT_TEXT_MAX];
    char remote[ENDPOINT_TEXT_MAX];
};

struct flow_list {
    const struct region *region;
    struct flow_filter filter;
    struct flow_table table;
    struct flow_walk walk;
    uint64_t now_us; /* CLOCK_MONOTONIC */
    uint64_t passed;
};

void flow_list_begin(struct flow_list *list, const struct region *region, const struct flow_filter *filter,
                     uint64_t now_us);

/* The next entry that passes the filter; false at the end. */
bool flow_list_next(struct flow_list *list, struct flow_view *view);

/* One object, without a newline. */
void flow_print_json(FILE *out, const struct flow_view *view);

/* Those that pass, as a list. NULL without memory. */
struct json_list *flow_json_list(const struct region *region, const struct flow_filter *filter,
                                 uint64_t now_us);

#endif
