/* The relay's step: every order in which two connections may close, and random walks from accept to end. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "bench/rng.h"
#include "tests/unit/core/bed.h"

TestSuite(relay_close, .init = bed_setup_open);
TestSuite(relay_walk);

/* --- The orders in which connections close ---------------------------------------------------------------- */

/*
 * A script of events; small letters are the client's side, capitals the server's:
 *   d D  1000 bytes received          e E  end of stream           r R  the receive fails with ECONNRESET
 *   s S  all that was offered to this side is sent                 x X  the send to this side fails with EPIPE
 *   b B  the kernel takes nothing for this side (EAGAIN)           w W  this side is writable again
 *   ~    everything that is being cancelled ends so, and the sends of a session that is closing
 */
static void play(const char *script)
{
    for (; *script != '\0'; script++) {
        enum side side = *script >= 'a' ? SIDE_CLIENT : SIDE_SERVER;
        switch (*script | 0x20) {
        case 'd':
            bed_receive(side, 1000, true);
            break;
        case 'e':
            bed_receive_end(side, 0);
            break;
        case 'r':
            bed_receive_end(side, -ECONNRESET);
            break;
        case 's':
            bed_sent_all(side);
            break;
        case 'b':
            bed_sent(side, -EAGAIN);
            break;
        case 'w':
            bed_writable(side);
            break;
        case 'x':
            bed_sent(side, -EPIPE);
            break;
        default:
            bed_answer_cancels();
            break;
        }
    }
}

static const struct {
    const char *script;
    enum close_reason reason; /* CLOSE_NONE: goes on */
    bool abort;
    const char *shuts; /* the sides to which our FIN goes by shutdown; the last one goes by close */
} close_orders[] = {
    /* Orderly, nothing queued. */
    {"e", CLOSE_NONE, false, "s"},
    {"E", CLOSE_NONE, false, "c"},
    {"eE", CLOSE_CLIENT_CLOSED, false, "s"},
    {"Ee", CLOSE_SERVER_CLOSED, false, "c"},
    /* Orderly, with data: our FIN follows the last byte. */
    {"de", CLOSE_NONE, false, ""},
    {"deS", CLOSE_NONE, false, "s"},
    {"DE", CLOSE_NONE, false, ""},
    {"DEs", CLOSE_NONE, false, "c"},
    {"deES", CLOSE_CLIENT_CLOSED, false, "c"},
    {"deSE", CLOSE_CLIENT_CLOSED, false, "s"},
    {"dEeS", CLOSE_SERVER_CLOSED, false, "c"},
    {"DEes", CLOSE_SERVER_CLOSED, false, "s"},
    {"dDeEsS", CLOSE_CLIENT_CLOSED, false, "c"},
    {"dDeESs", CLOSE_CLIENT_CLOSED, false, "s"},
    {"dDEeSs", CLOSE_SERVER_CLOSED, false, "s"},
    /* Blocked: the end of the stream waits like the data before it. */
    {"dBe", CLOSE_NONE, false, ""},
    {"dBeW", CLOSE_NONE, false, ""},
    {"dBeWS", CLOSE_NONE, false, "s"},
    {"dBEeWS", CLOSE_SERVER_CLOSED, false, "c"},
    {"dBr~", CLOSE_NONE, false, ""},
    {"dBr~WS", CLOSE_CLIENT_RESET, true, ""},
    {"dBR~", CLOSE_SERVER_RESET, true, ""},
    /* Half closed, the other direction goes on. */
    {"eDsDs", CLOSE_NONE, false, "s"},
    {"eDsDsE", CLOSE_CLIENT_CLOSED, false, "s"},
    {"EdSdSe", CLOSE_SERVER_CLOSED, false, "c"},
    /* Resets: what was received before is passed on, then the other side is reset. */
    {"r~", CLOSE_CLIENT_RESET, true, ""},
    {"R~", CLOSE_SERVER_RESET, true, ""},
    {"dr~", CLOSE_NONE, false, ""},
    {"dr~S", CLOSE_CLIENT_RESET, true, ""},
    {"DR~", CLOSE_NONE, false, ""},
    {"DR~s", CLOSE_SERVER_RESET, true, ""},
    {"dDr~S~", CLOSE_CLIENT_RESET, true, ""},
    {"dDr~xS", CLOSE_CLIENT_RESET, true, ""},
    {"dDR~s~", CLOSE_SERVER_RESET, true, ""},
    {"dDR~Xs", CLOSE_SERVER_RESET, true, ""},
    {"rR", CLOSE_CLIENT_RESET, true, ""},
    {"Rr", CLOSE_SERVER_RESET, true, ""},
    {"dDrRxX", CLOSE_SERVER_RESET, true, ""}, /* the one with nothing left to pass on */
    /* One end of stream, then a reset. */
    {"eR", CLOSE_SERVER_RESET, true, "s"},
    {"Er", CLOSE_CLIENT_RESET, true, "c"},
    {"deR~", CLOSE_SERVER_RESET, true, ""},
    {"DEr~", CLOSE_CLIENT_RESET, true, ""},
    {"eDRs", CLOSE_SERVER_RESET, true, "s"},
    {"EdrS", CLOSE_CLIENT_RESET, true, "c"},
    /* A send fails: this side is dead to us, but what it sent is still to come. */
    {"dX~", CLOSE_NONE, false, ""},
    {"dX~R", CLOSE_SERVER_RESET, true, ""},
    {"dX~E", CLOSE_SERVER_RESET, true, ""},
    {"dX~DsE", CLOSE_SERVER_RESET, true, ""},
    {"dX~DEs", CLOSE_SERVER_RESET, true, ""},
    {"Dx~r", CLOSE_CLIENT_RESET, true, ""},
    {"Dx~e", CLOSE_CLIENT_RESET, true, ""},
    {"Dx~dSe", CLOSE_CLIENT_RESET, true, ""},
    {"dEX~", CLOSE_SERVER_RESET, true, "c"},
    {"Dex~", CLOSE_CLIENT_RESET, true, "s"},
    /* Both sends fail while nobody is being listened to: the first to fail is the reason. */
    {"dDxX~", CLOSE_CLIENT_RESET, true, ""},
    {"dDXx~", CLOSE_SERVER_RESET, true, ""},
};

Test(relay_close, close_orders)
{
    for (size_t i = 0; i < sizeof(close_orders) / sizeof(close_orders[0]); i++) {
        bed_setup_open();
        play(close_orders[i].script);
        cr_expect_eq(bed.finished, close_orders[i].reason != CLOSE_NONE, "%s", close_orders[i].script);
        cr_expect_eq(bed.session.reason, close_orders[i].reason, "%s: %s", close_orders[i].script,
                     close_reason_text(bed.session.reason));
        cr_expect_eq((bed.session.flags & SESSION_ABORT) != 0, close_orders[i].abort, "%s",
                     close_orders[i].script);
        cr_expect_str_eq(bed.shuts, close_orders[i].shuts, "%s", close_orders[i].script);
    }
}

/* TIME_WAIT is on our end of a connection where our FIN went before the peer's came. */
Test(relay_close, our_fin_first_is_remembered)
{
    play("eE");
    cr_expect_not(CLIENT->flags & CONN_FIN_FIRST);
    cr_expect(SERVER->flags & CONN_FIN_FIRST);
    bed_setup_open();
    play("Ee");
    cr_expect(CLIENT->flags & CONN_FIN_FIRST);
    cr_expect_not(SERVER->flags & CONN_FIN_FIRST);
}

/* Whether `letter` of a script is possible now. */
static bool playable(char letter)
{
    enum side side = letter >= 'a' ? SIDE_CLIENT : SIDE_SERVER;
    const struct conn *conn = &bed.session.conn[side];

    switch (letter | 0x20) {
    case 's':
    case 'x':
    case 'b':
        return (conn->in_flight & CONN_OP_SEND) != 0;
    case 'w':
        return (conn->flags & CONN_BLOCKED) != 0;
    case 'd':
    case 'e':
    case 'r':
        return (conn->in_flight & CONN_OP_RECV) != 0;
    default:
        return true;
    }
}

/* Every script of up to `depth` further letters: bed_step() checks each prefix. A session that has not
 * finished then must finish when the kernel is done with all that is in flight. */
static uint32_t play_all(unsigned depth)
{
    static const char letters[] = "dDeErRsSxXbBwW~";
    uint32_t scripts = 1;

    if (depth == 0 || bed.finished) {
        for (int n = 0; n < 20 && !bed.finished; n++) {
            play("~");
            for (const char *letter = "wWsSeE"; *letter != '\0'; letter++) {
                if (!bed.finished && playable(*letter)) {
                    play((const char[]){*letter, '\0'});
                }
            }
        }
        cr_assert(bed.finished);
        return scripts;
    }
    struct bed before = bed;
    for (const char *letter = letters; *letter != '\0'; letter++) {
        if (playable(*letter)) {
            play((const char[]){*letter, '\0'});
            scripts += play_all(depth - 1);
            bed = before;
        }
    }
    return scripts;
}

Test(relay_close, every_order_of_eight_events_ends)
{
    cr_expect_gt(play_all(8), 100000);
}

/* --- A random walk ---------------------------------------------------------------------------------------- */

static int32_t random_error(struct rng *rng)
{
    static const int32_t errors[] = {-ECONNRESET, -EPIPE, -ETIMEDOUT, -ECANCELED, -EAGAIN, -ENOBUFS, -EINTR};

    return errors[rng_below(rng, sizeof(errors) / sizeof(errors[0]))];
}

static void walk_receive(struct rng *rng, enum side side)
{
    uint32_t free_large = 0;

    for (uint32_t id = 0; id < BUFFERS; id++) {
        free_large += !bed.lent[id] && id < LARGE;
    }
    uint64_t what = rng_below(rng, 100);
    if (what < 90 && free_large > 0) {
        uint32_t id = bed_lend(rng_chance(rng, 50) ? 0 : LARGE);
        id = id == BUFFER_NONE ? bed_lend(0) : id;
        int32_t bytes = 1 + (int32_t)rng_below(rng, buffer_capacity(&bed.env.table, id));
        bed_step((struct relay_event){.kind = RELAY_RECEIVED,
                                      .side = side,
                                      .result = bytes,
                                      .more = rng_chance(rng, 70),
                                      .buffer = id});
    } else if (what < 90) {
        bed_receive_end(side, -ENOBUFS);
    } else {
        bed_receive_end(side, what < 95 ? 0 : random_error(rng));
    }
}

static void walk_send(struct rng *rng, enum side side)
{
    uint32_t offered = bed.session.conn[side].offered_bytes;

    if (rng_chance(rng, 50)) {
        bed_sent_all(side);
    } else {
        bed_sent(side, rng_chance(rng, 92) ? 1 + (int32_t)rng_below(rng, offered) : random_error(rng));
    }
}

/* Ends one operation in flight on `side`, as a kernel might. */
static void walk_complete(struct rng *rng, enum side side)
{
    uint8_t in_flight = bed.session.conn[side].in_flight;
    bool cancelled = (bed.session.conn[side].flags & CONN_CANCEL_INPUT) != 0 && rng_chance(rng, 50);

    if ((in_flight & CONN_OP_SEND) && rng_chance(rng, 50)) {
        walk_send(rng, side);
    } else if (in_flight & CONN_OP_RECV) {
        cancelled ? bed_receive_end(side, -ECANCELED) : walk_receive(rng, side);
    } else if (in_flight & CONN_OP_POLL) {
        bed_polled(side, cancelled ? -ECANCELED : POLLIN);
    } else if (in_flight & CONN_OP_CONNECT) {
        static const int32_t results[] = {0, 0, -ECONNREFUSED, -EADDRNOTAVAIL, -EALREADY, -ECANCELED};
        bed_connect_end(cancelled ? -ECANCELED
                                  : results[rng_below(rng, sizeof(results) / sizeof(results[0]))]);
    }
}

static void walk_one(struct rng *rng)
{
    enum side side = (enum side)rng_below(rng, SIDE_COUNT);

    bed.env.share_bytes = BUFFER_SMALL_BYTES << rng_below(rng, 6);
    if (bed.session.phase == SESSION_CHOOSING) {
        rng_chance(rng, 95) ? bed_choose((uint16_t)rng_below(rng, 9)) : bed_simple(RELAY_NO_SERVER);
    } else if (bed.session.conn[side].flags & CONN_WAITING) {
        bed_step((struct relay_event){.kind = RELAY_GRANTED, .side = side});
    } else if ((bed.session.conn[side].flags & CONN_BLOCKED) && rng_chance(rng, 50)) {
        bed_writable(side);
    } else if (SERVER->flags & CONN_NO_PORT) {
        bed.env.now_ms += RELAY_PORT_PAUSE_MS;
        bed_simple(RELAY_TIMED_OUT);
    } else if (rng_chance(rng, 3)) {
        bed.env.now_ms += rng_log_uniform(rng, 100000);
        if (session_due_ms(&bed.session, &bed.env.timeouts) <= bed.env.now_ms) {
            bed_simple(RELAY_TIMED_OUT);
        }
    } else if (rng_chance(rng, 1) && rng_chance(rng, 10)) {
        bed_stop();
    } else {
        walk_complete(rng, side);
    }
}

/* Every buffer is in exactly one chain or free. */
static bool buffers_add_up(void)
{
    uint32_t lent = 0;
    uint32_t held = 0;

    for (uint32_t id = 0; id < BUFFERS; id++) {
        lent += bed.lent[id];
    }
    for (int side = 0; side < SIDE_COUNT; side++) {
        for (uint32_t id = bed.session.conn[side].chain_head; id != BUFFER_NONE; id = bed.records[id].next) {
            held += bed.lent[id] ? 1 : BUFFERS + 1;
        }
    }
    return lent == held;
}

Test(relay_walk, random_walks_end_and_lose_no_buffer)
{
    uint64_t reasons[CLOSE_REASON_COUNT] = {0};
    struct rng rng;

    rng_init(&rng, 4711);
    for (int walk = 0; walk < 3000; walk++) {
        bed_setup();
        bed.env.retries = (uint32_t)rng_below(&rng, IMAGE_RETRIES_MAX + 1);
        bed.env.timeouts =
            (struct image_timeouts){.connect_ms = 5000, .idle_ms = 60000, .half_closed_ms = 9000};
        bed_simple(RELAY_PLAN);
        for (int n = 0; !bed.finished; n++) {
            walk_one(&rng);
            cr_assert(buffers_add_up(), "walk %d, event %d", walk, n);
            cr_assert_lt(n, 100000, "walk %d does not end", walk);
        }
        reasons[bed.session.reason]++;
    }
    static const enum close_reason expected[] = {
        CLOSE_CLIENT_CLOSED, CLOSE_SERVER_CLOSED, CLOSE_CLIENT_RESET,    CLOSE_SERVER_RESET,
        CLOSE_STOPPED,       CLOSE_IDLE_TIMEOUT,  CLOSE_CONNECT_REFUSED, CLOSE_CONNECT_TIMEOUT};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        cr_expect_gt(reasons[expected[i]], 0, "no walk ended with %s", close_reason_text(expected[i]));
    }
}
