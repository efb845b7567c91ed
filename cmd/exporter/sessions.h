/*
 * Lists of sessions for people and machines: `penstock sessions|top` and the exporter's /api/sessions.
 */
#ifndef PENSTOCK_CMD_EXPORTER_SESSIONS_H
#define PENSTOCK_CMD_EXPORTER_SESSIONS_H

#include <stdio.h>

#include "cmd/exporter/json_list.h"
#include "shm/session_slab.h"

/* Which sessions are meant. All zero: all. */
struct session_filter {
    const char *listener; /* NULL: any */
    const char *pool;
    uint32_t phase; /* SESSION_FREE: any */
    uint32_t older_than_ms;
    struct endpoint source; /* ENDPOINT_NONE: any; the port does not matter */
};

/* Sets what `key` (listener, pool, state, older_than, source) says. `value` must outlive the filter. 0, or -EINVAL and
 * in *why what would be right. */
int session_filter_set(struct session_filter *filter, const char *key, const char *value, const char **why);

/* The next session of the walk that passes the filter; false at the end. `now_us` is CLOCK_MONOTONIC. */
bool session_filter_next(const struct session_filter *filter, struct session_walk *walk, uint64_t now_us,
                         struct session *session);

/* What a session refers to, as names; "-" where there is none. */
struct session_names {
    const char *listener;
    const char *pool;
    const char *server;
    char source[ENDPOINT_TEXT_MAX];
};

void session_names_find(struct session_names *names, const struct region *region,
                        const struct session *session);

/* One object, without a newline; `walk` has just returned the session. */
void session_print_json(FILE *out, const struct session_walk *walk, const struct session *session,
                        uint64_t now_us);

/* Those that pass, as a list. `filter` is copied; its texts must live as long as the list. NULL without memory. */
struct json_list *session_json_list(const struct region *region, const struct session_filter *filter,
                                    uint64_t now_us);

#endif
