#include "tests/unit/core/bed.h"

#include "core/lent.h"

#include <poll.h>

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

enum { SPLICES = (RELAY_DO_FILL | RELAY_DO_DRAIN) * 3 };

struct bed bed;

enum side bed_other(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_SERVER : SIDE_CLIENT;
}

bool bed_asks(uint32_t action, enum side side)
{
    return (bed.todo & action << side) != 0;
}

/* --- What must hold after every step ---------------------------------------------------------------------- */

#define MUST(condition)        \
    do {                       \
        if (!(condition)) {    \
            return #condition; \
        }                      \
    } while (0)

static const char *verify_side(enum side side)
{
    const struct conn *conn = &bed.session.conn[side];
    const struct conn *peer = &bed.session.conn[bed_other(side)];
    bool open = bed.session.phase == SESSION_OPEN;

    if (bed_asks(RELAY_DO_RECV, side)) {
        MUST(open && !bed_asks(RELAY_DO_POLL, side) && !(conn->in_flight & CONN_OP_INPUT));
        MUST(conn->source == SOURCE_OPEN && peer->sink == SINK_OPEN && !(conn->flags & CONN_WAITING));
        MUST(conn->held_bytes == 0 || conn->held_bytes < bed.env.share_bytes); /* never beyond the share */
    }
    if (bed_asks(RELAY_DO_POLL, side)) {
        MUST(!(conn->in_flight & CONN_OP_INPUT));
        MUST(open ? (conn->flags & (CONN_DOZING | CONN_STREAMING))
                  : (conn->flags & CONN_CONNECT_POLL) && side == SIDE_SERVER);
    }
    if (bed_asks(RELAY_DO_SEND, side)) {
        MUST(!(conn->flags & CONN_BLOCKED) && !lent_blindly(&bed.session, side));
        MUST(open && !(conn->in_flight & CONN_OP_SEND) && conn->sink == SINK_OPEN);
        MUST(peer->queued_bytes > lent_bytes(&bed.session, side));
    }
    if (bed_asks(RELAY_DO_FILL, side)) {
        MUST(open && (conn->flags & CONN_STREAMING) && (conn->flags & CONN_READABLE));
        MUST(conn->pipe == PIPE_NONE && conn->queued_bytes == 0 && !(conn->in_flight & CONN_OP_INPUT));
        MUST(conn->source == SOURCE_OPEN && peer->sink == SINK_OPEN && !bed_asks(RELAY_DO_POLL, side));
    }
    if (bed_asks(RELAY_DO_DRAIN, side)) {
        MUST(open && peer->pipe != PIPE_NONE && peer->queued_bytes > 0 && conn->sink == SINK_OPEN);
        MUST(!(conn->flags & CONN_BLOCKED) && bed.session.lent[side].count == 0 &&
             !(conn->in_flight & CONN_OP_SEND));
        MUST(!bed_asks(RELAY_DO_SEND, side) && !bed_asks(RELAY_DO_WATCH, side));
    }
    MUST(!bed_asks(RELAY_DO_SEND, side) || peer->pipe == PIPE_NONE);
    if (bed_asks(RELAY_DO_SHUTDOWN, side)) { /* after the last byte, once */
        MUST(open && conn->sink == SINK_SHUT && !(conn->in_flight & CONN_OP_SEND));
        MUST(peer->source == SOURCE_EOF && bed.sent[side] == bed.given[bed_other(side)]);
        MUST(strchr(bed.shuts, side == SIDE_CLIENT ? 'c' : 's') == NULL);
    }
    MUST(!bed_asks(RELAY_DO_CANCEL_INPUT, side) || (conn->in_flight & CONN_OP_INPUT));
    MUST(!bed_asks(RELAY_DO_WATCH, side) || (conn->flags & CONN_BLOCKED));
    MUST(!bed_asks(RELAY_DO_WAIT, side) || (conn->flags & CONN_WAITING));
    return NULL;
}

/* The first broken condition, NULL if there is none. */
static const char *verify(void)
{
    uint32_t closing = RELAY_DO_FINISH | RELAY_DO_DROP_SERVER | 3 * (RELAY_DO_CANCEL_INPUT | RELAY_DO_RESET);
    uint8_t phase = bed.session.phase;
    uint8_t in_flight = CLIENT->in_flight | SERVER->in_flight;

    for (int side = 0; side < SIDE_COUNT; side++) {
        const char *broken = verify_side(side);
        MUST(chain_check(&bed.session.conn[side], &bed.env.table));
        if (broken != NULL) {
            return broken;
        }
    }
    MUST(!(bed.todo & 3 * RELAY_DO_RESET) || (bed.session.flags & SESSION_ABORT));
    if (bed.todo & RELAY_DO_FINISH) {
        MUST(phase == SESSION_CLOSING && in_flight == 0);
        MUST((bed.todo & ~(uint32_t)(RELAY_DO_FINISH | RELAY_DO_DROP_SERVER)) == 0);
        MUST(bed.session.reason != CLOSE_NONE);
    }
    MUST(phase != SESSION_CLOSING ||
         ((bed.todo & ~closing) == 0 && (in_flight == 0) == !!(bed.todo & RELAY_DO_FINISH)));
    MUST((phase == SESSION_CHOOSING) == !!(bed.todo & RELAY_DO_CHOOSE));
    MUST(!(bed.todo & RELAY_DO_CONNECT) || (phase == SESSION_CONNECTING && SERVER->in_flight == 0));
    return NULL;
}

/* An open session without anything in flight, and without a place in a queue, would never be heard of again. */
static bool stuck(void)
{
    uint8_t phase = bed.session.phase;

    return (phase == SESSION_OPEN || phase == SESSION_CONNECTING) &&
           !((CLIENT->in_flight | SERVER->in_flight)) && !(bed.todo & SPLICES) &&
           !((CLIENT->flags | SERVER->flags) & (CONN_WAITING | CONN_BLOCKED | CONN_NO_PORT)) &&
           bed.session.lent[SIDE_CLIENT].count + bed.session.lent[SIDE_SERVER].count == 0;
}

/* --- The bed ---------------------------------------------------------------------------------------------- */

static void submit_side(enum side side)
{
    struct conn *conn = &bed.session.conn[side];

    conn->in_flight |= bed_asks(RELAY_DO_RECV, side) ? CONN_OP_RECV : 0;
    conn->in_flight |= bed_asks(RELAY_DO_POLL, side) ? CONN_OP_POLL : 0;
    if (bed_asks(RELAY_DO_SEND, side)) {
        conn->in_flight |= CONN_OP_SEND;
        conn->offered_bytes = bed.session.conn[bed_other(side)].queued_bytes - lent_bytes(&bed.session, side);
    }
    if (bed_asks(RELAY_DO_SHUTDOWN, side)) {
        bed.shuts[strlen(bed.shuts)] = side == SIDE_CLIENT ? 'c' : 's';
    }
}

static void take_pipes(const struct relay_actions *actions)
{
    for (int side = 0; side < SIDE_COUNT; side++) {
        uint16_t pipe = actions->pipes[side].pipe;
        bed.back[side].pipe = pipe;
        bed.back[side].bytes = actions->pipes[side].bytes;
        cr_assert(pipe == PIPE_NONE || (bed.pipes_lent >> pipe & 1), "pipe %u given back, which nobody has",
                  pipe);
        bed.pipes_lent &= pipe == PIPE_NONE ? ~0u : ~(1u << pipe);
    }
}

void bed_step(struct relay_event event)
{
    struct relay_actions actions;
    uint32_t id;

    if ((event.kind == RELAY_SENT || event.kind == RELAY_DRAINED) && event.result > 0) {
        bed.sent[event.side] += (uint32_t)event.result;
    }
    if (event.kind == RELAY_RECEIVED || (event.kind == RELAY_FILLED && event.result > 0)) {
        bed.given[event.side] += (uint32_t)event.result;
    }
    actions = relay_step(&bed.session, &event, &bed.env);
    bed.todo = actions.todo;
    take_pipes(&actions);

    id = actions.released.first;
    for (uint32_t i = 0; i < actions.released.count; i++) {
        cr_assert(id < BUFFERS && bed.lent[id], "buffer %u released, which nobody holds", id);
        bed.lent[id] = false;
        id = bed.records[id].next;
    }
    const char *broken = verify();
    cr_assert(broken == NULL, "event %d side %d result %d: %s", event.kind, event.side, event.result, broken);
    submit_side(SIDE_CLIENT);
    submit_side(SIDE_SERVER);
    SERVER->in_flight |= bed.todo & RELAY_DO_CONNECT ? CONN_OP_CONNECT : 0;
    if (bed.todo & RELAY_DO_DROP_SERVER) {
        SERVER->fd = -1;
    }
    bed.finished = (bed.todo & RELAY_DO_FINISH) != 0;
    cr_assert(session_check(&bed.session));
    cr_assert_not(stuck(), "event %d side %d result %d: stuck", event.kind, event.side, event.result);
}

uint32_t bed_lend(uint32_t from)
{
    for (uint32_t id = from; id < BUFFERS; id++) {
        if (!bed.lent[id]) {
            bed.lent[id] = true;
            return id;
        }
    }
    return BUFFER_NONE;
}

void bed_receive(enum side side, int32_t bytes, bool more)
{
    uint32_t id = bed_lend(bytes <= BUFFER_SMALL_BYTES ? LARGE : 0);

    cr_assert_neq(id, BUFFER_NONE);
    bed_step((struct relay_event){
        .kind = RELAY_RECEIVED, .side = side, .result = bytes, .more = more, .buffer = id});
}

void bed_receive_end(enum side side, int32_t result)
{
    bed_step((struct relay_event){.kind = RELAY_RECEIVE_ENDED, .side = side, .result = result});
}

void bed_sent(enum side side, int32_t result)
{
    bed_step((struct relay_event){.kind = RELAY_SENT, .side = side, .result = result});
}

void bed_sent_all(enum side side)
{
    bed_sent(side, (int32_t)bed.session.conn[side].offered_bytes);
}

void bed_connect_end(int32_t result)
{
    bed_step((struct relay_event){.kind = RELAY_CONNECTED, .side = SIDE_SERVER, .result = result});
}

void bed_polled(enum side side, int32_t result)
{
    bool bytes = result > 0 && (result & (POLLIN | POLLERR | POLLHUP)) == POLLIN;

    bed_step((struct relay_event){
        .kind = RELAY_POLLED, .side = side, .result = result < 0 ? result : 0, .more = bytes});
}

void bed_simple(enum relay_event_kind kind)
{
    bed_step((struct relay_event){.kind = kind});
}

void bed_choose(uint16_t row)
{
    bed_step((struct relay_event){.kind = RELAY_CHOSEN, .fd = 6, .cookie = 66, .row = row});
}

/* Answers every cancellation that was asked for. */
void bed_answer_cancels(void)
{
    for (int side = 0; side < SIDE_COUNT; side++) {
        struct conn *conn = &bed.session.conn[side];
        if (bed.session.phase == SESSION_CLOSING && (conn->in_flight & CONN_OP_SEND)) {
            bed_sent(side, -EAGAIN); /* a send never waits */
        }
        if (!(conn->flags & CONN_CANCEL_INPUT)) {
            continue;
        }
        if (conn->in_flight & CONN_OP_RECV) {
            bed_receive_end(side, -ECANCELED);
        } else if (conn->in_flight & CONN_OP_POLL) {
            bed_polled(side, -ECANCELED);
        } else {
            bed_connect_end(-ECANCELED);
        }
    }
}

/* A session that was just accepted. */
void bed_setup(void)
{
    memset(&bed, 0, sizeof(bed));
    bed.env = (struct relay_env){
        .table = {.records = bed.records, .large_count = LARGE, .count = BUFFERS},
        .share_bytes = 64 * 1024,
        .now_ms = T0,
        .now_us = T0 * 1000ull,
    };
    session_init(&bed.session, 5, 55, bed.env.now_us);
}

void bed_setup_open(void)
{
    bed_setup();
    bed_simple(RELAY_PLAN);
    bed_choose(SERVER_ROW);
    bed_connect_end(0);
}

void bed_writable(enum side side)
{
    bed_step((struct relay_event){.kind = RELAY_WRITABLE, .side = side});
}

/* The splice the last step asked for, through a pipe that is lent now. */
void bed_filled(enum side side, int32_t result)
{
    struct conn *conn = &bed.session.conn[side];

    cr_assert(bed_asks(RELAY_DO_FILL, side));
    if (bed.env.pipes) {
        conn->pipe = (uint16_t)side;
        bed.pipes_lent |= 1u << side;
    }
    bed_step((struct relay_event){.kind = RELAY_FILLED, .side = side, .result = result});
}

void bed_drained(enum side side, int32_t result)
{
    cr_assert(bed_asks(RELAY_DO_DRAIN, side));
    bed_step((struct relay_event){.kind = RELAY_DRAINED, .side = side, .result = result});
}

void bed_stop(void)
{
    bed_step((struct relay_event){.kind = RELAY_STOP, .reason = CLOSE_STOPPED});
}
