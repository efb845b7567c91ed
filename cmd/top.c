/*
 * penstock top: rates and the largest sessions, every second: on the whole screen, or as lines where there is none.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/exporter/health.h"
#include "cmd/exporter/sessions.h"
#include "cmd/instance.h"
#include "cmd/screen.h"
#include "cmd/text.h"
#include "cmd/top_rows.h"
#include "io/clock.h"

enum {
    EVERY_US = 1000000,
    HEADER_LINES = 8,
    SHOWN_MAX = 512,
    BUSY_PERMILLE = 900, /* a worker with hardly any CPU time left */
};

struct top {
    struct region region;
    pid_t supervisor;
    enum top_order order;
    struct summary summaries[2];
    struct top_rows rows[2];
    unsigned newest; /* of both */
};

/* What counters gained, a second. */
struct rates {
    uint64_t accepts;
    uint64_t client_bytes;
    uint64_t server_bytes;
};

static uint64_t per_second(uint64_t now, uint64_t before, uint64_t span_us)
{
    return now > before && span_us > 0 ? (now - before) * 1000000 / span_us : 0;
}

static void count_rates(struct rates *rates, const struct top *top)
{
    const struct summary *now = &top->summaries[top->newest];
    const struct summary *before = &top->summaries[top->newest ^ 1];
    uint64_t span_us = before->read_us > 0 ? now->read_us - before->read_us : 0;

    *rates = (struct rates){
        .accepts = per_second(now->stats.accepted, before->stats.accepted, span_us),
        .client_bytes = per_second(now->client_bytes, before->client_bytes, span_us),
        .server_bytes = per_second(now->server_bytes, before->server_bytes, span_us),
    };
}

/* Entries of connections that have ended for us. */
static uint64_t flows_waiting(const struct summary *summary)
{
    return summary->flows[FLOW_ORPHANED] + summary->flows[FLOW_FIN_WAIT2] + summary->flows[FLOW_TIME_WAIT];
}

/* How unevenly workers are busy: the least, and the most and whose that is. Of those that serve. */
struct spread {
    uint32_t least;
    uint32_t most;
    uint32_t worker;
};

static void spread_add(struct spread *spread, uint32_t worker, uint32_t value)
{
    spread->least = value < spread->least ? value : spread->least;
    if (value >= spread->most) {
        spread->most = value;
        spread->worker = worker;
    }
}

static void find_spreads(struct spread *permille, struct spread *sessions, const struct summary *summary)
{
    const struct spread nobody = {.least = UINT32_MAX};

    *permille = *sessions = nobody;
    for (uint32_t i = 0; i < summary->slots; i++) {
        if (summary->worker[i].state == SLOT_SERVING) {
            spread_add(permille, i, summary->worker[i].busy_permille);
            spread_add(sessions, i, summary->worker[i].sessions);
        }
    }
    if (permille->least == UINT32_MAX) {
        permille->least = sessions->least = 0;
    }
}

static void draw_workers(const struct summary *now)
{
    struct spread permille;
    struct spread sessions;

    find_spreads(&permille, &sessions, now);
    screen_set_colour(permille.most > BUSY_PERMILLE ? SCREEN_WARN : SCREEN_PLAIN);
    screen_line("workers busy %u.%u%% to %u.%u%% (worker %u)   with %u to %u sessions (worker %u)",
                permille.least / 10, permille.least % 10, permille.most / 10, permille.most % 10,
                permille.worker, sessions.least, sessions.most, sessions.worker);
}

static void draw_flows(const struct top *top)
{
    const struct summary *now = &top->summaries[top->newest];
    const struct summary *before = &top->summaries[top->newest ^ 1];
    uint64_t span_us = before->read_us > 0 ? now->read_us - before->read_us : 0;
    uint64_t acks = per_second(now->time_wait.counters.acks, before->time_wait.counters.acks, span_us);
    char answered[TEXT_NUMBER_MAX + 24] = "";

    if (now->time_wait.owned) {
        snprintf(answered, sizeof(answered), ", %" PRIu64 " ACKs/s", acks);
    }
    screen_set_colour(SCREEN_PLAIN);
    screen_line("flow entries %" PRIu64 " active, %" PRIu64 " waiting, of %" PRIu64
                "   TIME_WAIT is kept by %s%s",
                now->flows[FLOW_ACTIVE], flows_waiting(now), now->flow_capacity,
                now->time_wait.owned ? "Penstock" : "the kernel", answered);
}

static const char *order_text(enum top_order order)
{
    static const char *const texts[] = {
        [TOP_BY_BYTES] = "bytes",
        [TOP_BY_AGE] = "age",
        [TOP_BY_RATE] = "rate",
        [TOP_BY_QUEUED] = "waiting: bytes that an end is slow to take",
    };

    return texts[order];
}

static void draw_head(const struct top *top)
{
    const struct summary *now = &top->summaries[top->newest];
    struct health health;
    struct rates rates;
    char texts[5][TEXT_NUMBER_MAX];

    health_judge(&health, now);
    count_rates(&rates, top);
    screen_set_colour(!health.live ? SCREEN_BAD : health.ready ? SCREEN_GOOD : SCREEN_WARN);
    screen_line("%s: %s%s  up %s  %u of %u workers  configuration %" PRIu64, top->region.header->name,
                health.ready ? "all is well" : health.reason, health.live ? "" : " (NOT WELL)",
                text_duration(texts[0], now->up_seconds * 1000), now->serving, now->workers, now->generation);
    screen_set_colour(now->accept_paused ? SCREEN_WARN : SCREEN_PLAIN);
    screen_line("sessions %" PRIu64 " of %" PRIu64 "   new %" PRIu64
                "/s   from clients %s/s   from servers %s/s%s",
                now->sessions, now->sessions_limit, rates.accepts, text_bytes(texts[1], rates.client_bytes),
                text_bytes(texts[2], rates.server_bytes), now->accept_paused ? "   ACCEPTING IS PAUSED" : "");
    screen_set_colour(now->receivers_waiting > 0 ? SCREEN_WARN : SCREEN_PLAIN);
    screen_line("buffers lent %s of %s   receivers waiting %" PRIu64,
                text_bytes(texts[3], now->buffer_lent_bytes), text_bytes(texts[4], now->buffer_budget_bytes),
                now->receivers_waiting);
    draw_workers(now);
    draw_flows(top);
    screen_line("by %s   keys: b bytes, a age, r rate, w waiting, q quit", order_text(top->order));
    screen_line("%s", "");
    screen_set_colour(SCREEN_HEAD);
    screen_line("%-12s %-10s %7s %10s %12s %10s  %-22s %-12s %s", "SESSION", "STATE", "AGE", "BYTES", "RATE",
                "WAITING", "SOURCE", "LISTENER", "POOL/SERVER");
    screen_set_colour(SCREEN_PLAIN);
}

static void draw_row(const struct top *top, const struct top_row *row)
{
    uint64_t now_us = top->rows[top->newest].read_us;
    uint64_t age_ms = now_us > row->accepted_us ? (now_us - row->accepted_us) / 1000 : 0;
    struct session_names names;
    struct session session;
    char texts[4][TEXT_NUMBER_MAX];
    char rate[TEXT_NUMBER_MAX + 2];
    char name[32];

    if (!session_slab_read(&top->region, row->slot, row->index, &session) ||
        session.generation != row->generation) {
        return; /* it has ended since */
    }
    session_names_find(&names, &top->region, &session);
    snprintf(rate, sizeof(rate), "%s/s", text_bytes(texts[2], row->rate));
    snprintf(name, sizeof(name), "%u/%" PRIu64, row->slot, session.serial);
    screen_line("%-12s %-10s %7s %10s %12s %10s  %-22s %-12s %s/%s", name, session_phase_text(session.phase),
                text_duration(texts[0], age_ms), text_bytes(texts[1], row->bytes), rate,
                text_bytes(texts[3], row->queued), names.source, names.listener, names.pool, names.server);
}

static void draw(const struct top *top)
{
    static struct top_row first[SHOWN_MAX];
    unsigned rows;
    unsigned columns;

    screen_size(&rows, &columns);
    screen_begin();
    draw_head(top);
    if (rows > HEADER_LINES) {
        size_t room = rows - HEADER_LINES < SHOWN_MAX ? rows - HEADER_LINES : SHOWN_MAX;
        size_t count = top_rows_first(&top->rows[top->newest], top->order, first, room);
        for (size_t i = 0; i < count; i++) {
            draw_row(top, &first[i]);
        }
    }
    screen_done();
}

static void print_line(const struct top *top)
{
    const struct summary *now = &top->summaries[top->newest];
    char texts[2][TEXT_NUMBER_MAX];
    struct spread permille;
    struct spread sessions;
    struct rates rates;
    time_t seconds = time(NULL);
    struct tm utc;
    char clock[32];

    count_rates(&rates, top);
    find_spreads(&permille, &sessions, now);
    gmtime_r(&seconds, &utc);
    strftime(clock, sizeof(clock), "%H:%M:%SZ", &utc);
    printf("%s sessions=%" PRIu64 " new=%" PRIu64
           "/s from_clients=%s/s from_servers=%s/s workers=%u/%u busy=%u.%u%%..%u.%u%% flows_active=%" PRIu64
           " flows_waiting=%" PRIu64 "\n",
           clock, now->sessions, rates.accepts, text_bytes(texts[0], rates.client_bytes),
           text_bytes(texts[1], rates.server_bytes), now->serving, now->workers, permille.least / 10,
           permille.least % 10, permille.most / 10, permille.most % 10, now->flows[FLOW_ACTIVE],
           flows_waiting(now));
}

static void print_json(const struct top *top)
{
    const struct summary *now = &top->summaries[top->newest];
    struct spread permille;
    struct spread sessions;
    struct health health;
    struct rates rates;

    health_judge(&health, now);
    count_rates(&rates, top);
    find_spreads(&permille, &sessions, now);
    printf("{\"read_us\":%" PRIu64 ",\"ready\":%s,\"workers_serving\":%u,\"sessions\":%" PRIu64
           ",\"accepted\":%" PRIu64 ",\"accepted_per_second\":%" PRIu64
           ",\"client_bytes_per_second\":%" PRIu64 ",\"server_bytes_per_second\":%" PRIu64,
           now->read_us, health.ready ? "true" : "false", now->serving, now->sessions, now->stats.accepted,
           rates.accepts, rates.client_bytes, rates.server_bytes);
    printf(",\"busy_ratio_least\":%u.%03u,\"busy_ratio_most\":%u.%03u,\"worker_sessions_least\":%u"
           ",\"worker_sessions_most\":%u,\"flows_active\":%" PRIu64 ",\"flows_waiting\":%" PRIu64 "}\n",
           permille.least / 1000, permille.least % 1000, permille.most / 1000, permille.most % 1000,
           sessions.least, sessions.most, now->flows[FLOW_ACTIVE], flows_waiting(now));
}

/* Looks at the region. The rows are only for the screen. 0 or -ENOMEM. */
static int look(struct top *top, bool rows)
{
    const struct top_rows *before = &top->rows[top->newest];

    top->newest ^= 1;
    summary_read(&top->summaries[top->newest], &top->region);
    return rows ? top_rows_read(&top->rows[top->newest], before, &top->region) : 0;
}

/* Keys until the next look. */
static void follow_keys(struct top *top, uint64_t until_us, bool *quit)
{
    while (!*quit && !screen_ended() && clock_now_us() < until_us) {
        switch (screen_wait(until_us)) {
        case 'b':
            top->order = TOP_BY_BYTES;
            break;
        case 'a':
            top->order = TOP_BY_AGE;
            break;
        case 'r':
            top->order = TOP_BY_RATE;
            break;
        case 'w':
            top->order = TOP_BY_QUEUED;
            break;
        case 'q':
            *quit = true;
            break;
        default:
            continue;
        }
        draw(top);
    }
}

static bool is_gone(const struct top *top)
{
    return kill(top->supervisor, 0) != 0 && errno == ESRCH;
}

/* Until somebody or the instance ends it. */
static void run(struct top *top, bool json)
{
    bool screen = !json && screen_enter();
    bool quit = false;

    while (!quit && !screen_ended() && !is_gone(top)) {
        uint64_t until_us = clock_now_us() + EVERY_US;
        if (look(top, screen) < 0) {
            break;
        }
        if (screen) {
            draw(top);
        } else {
            (json ? print_json : print_line)(top);
            quit = fflush(stdout) != 0; /* nobody reads it any more */
        }
        follow_keys(top, until_us, &quit);
    }
    screen_leave();
    if (is_gone(top)) {
        fprintf(stderr, "penstock: the instance has ended\n");
    }
}

int command_top(const struct command_options *options)
{
    static struct top top; /* large */
    struct instance instance;

    if (instance_open(&instance, &top.region, options) != 0) {
        return EXIT_FAILURE;
    }
    screen_watch_signals();
    top.supervisor = instance.pid;
    run(&top, options->json);
    free(top.rows[0].rows);
    free(top.rows[1].rows);
    region_detach(&top.region);
    return EXIT_SUCCESS;
}
