/* The relay's step: directions that stream through pipes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/unit/core/bed.h"

enum { FULL = BUFFER_LARGE_BYTES, MUCH = 300000 };

static void setup(void)
{
    bed_setup_open();
    bed.env.pipes = true;
}

TestSuite(relay_stream, .init = setup);

/* What was received is sent, until nothing is left. */
static void send_all(enum side to)
{
    while (bed.session.conn[bed_other(to)].queued_bytes > 0) {
        bed_sent_all(to);
    }
}

/* A stream that waits for its poll. */
static void enter(enum side side)
{
    bed_receive(side, FULL, true);
    bed_receive(side, FULL, true);
    cr_assert(bed.session.conn[side].flags & CONN_STREAMING);
    bed_receive_end(side, -ECANCELED);
    send_all(bed_other(side));
    cr_assert(bed_asks(RELAY_DO_POLL, side));
}

/* A stream with bytes in its pipe that the other side does not take. */
static void fill_and_block(enum side side)
{
    bed_polled(side, POLLIN);
    bed_filled(side, MUCH);
    bed_drained(bed_other(side), -EAGAIN);
    cr_assert(bed_asks(RELAY_DO_WATCH, bed_other(side)));
    cr_assert_eq(bed.session.conn[side].queued_bytes, MUCH);
}

static bool streams(enum side side)
{
    return (bed.session.conn[side].flags & CONN_STREAMING) != 0;
}

static void expect_back(enum side side, uint32_t bytes)
{
    cr_expect_eq(bed.back[side].pipe, side);
    cr_expect_eq(bed.back[side].bytes, bytes);
    cr_expect_eq(bed.session.conn[side].pipe, PIPE_NONE);
}

/* --- Entering --------------------------------------------------------------------------------------------- */

Test(relay_stream, two_full_receives_in_a_row_make_a_stream)
{
    bed_receive(SIDE_SERVER, FULL, true);
    cr_expect_not(streams(SIDE_SERVER));
    cr_expect_not(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_SERVER));
    bed_receive(SIDE_SERVER, FULL, true);
    cr_expect(streams(SIDE_SERVER));
    cr_expect(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_SERVER));
    cr_expect_not(streams(SIDE_CLIENT));
}

Test(relay_stream, it_waits_for_its_receive_and_for_what_was_received)
{
    bed_receive(SIDE_CLIENT, FULL, true);
    bed_receive(SIDE_CLIENT, FULL, true);
    bed_receive(SIDE_CLIENT, 100, true); /* it was under way */
    bed_receive_end(SIDE_CLIENT, -ECANCELED);
    cr_expect(streams(SIDE_CLIENT));
    for (int pieces = 0; CLIENT->queued_bytes > 0; pieces++) {
        cr_assert_lt(pieces, 4);
        cr_expect_not(bed_asks(RELAY_DO_POLL, SIDE_CLIENT) || bed_asks(RELAY_DO_FILL, SIDE_CLIENT) ||
                      bed_asks(RELAY_DO_RECV, SIDE_CLIENT));
        bed_sent_all(SIDE_SERVER);
    }
    cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_CLIENT);
}

Test(relay_stream, a_receive_that_ends_by_itself_enters_as_well)
{
    bed_receive(SIDE_CLIENT, FULL, false);
    cr_expect(bed_asks(RELAY_DO_RECV, SIDE_CLIENT));
    bed_receive(SIDE_CLIENT, FULL, false);
    cr_expect_not(bed_asks(RELAY_DO_RECV, SIDE_CLIENT));
    send_all(SIDE_SERVER);
    cr_expect(bed_asks(RELAY_DO_POLL, SIDE_CLIENT));
}

Test(relay_stream, one_full_receive_is_none)
{
    bed_receive(SIDE_CLIENT, FULL, true);
    bed_receive(SIDE_CLIENT, FULL - 1, true);
    bed_receive(SIDE_CLIENT, FULL, true);
    cr_expect_not(streams(SIDE_CLIENT));
    cr_expect_not(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_CLIENT));
}

Test(relay_stream, small_buffers_make_none)
{
    for (int i = 0; i < 4; i++) {
        bed_receive(SIDE_CLIENT, BUFFER_SMALL_BYTES, true);
    }
    cr_expect_not(streams(SIDE_CLIENT));
    cr_expect_not(CLIENT->flags & CONN_FULL);
}

Test(relay_stream, never_where_a_side_is_a_unix_socket)
{
    bed.session.flags |= SESSION_NEVER_STREAMS;
    bed_receive(SIDE_CLIENT, FULL, true);
    bed_receive(SIDE_CLIENT, FULL, true);
    cr_expect_not(streams(SIDE_CLIENT));
}

Test(relay_stream, not_while_all_pipes_are_lent)
{
    bed.env.pipes = false;
    bed_receive(SIDE_CLIENT, FULL, true);
    bed_receive(SIDE_CLIENT, FULL, true);
    cr_expect_not(streams(SIDE_CLIENT));
    send_all(SIDE_SERVER);
    bed.env.pipes = true;
    bed_receive(SIDE_CLIENT, FULL, true);
    cr_expect(streams(SIDE_CLIENT));
}

/* --- Streaming -------------------------------------------------------------------------------------------- */

Test(relay_stream, poll_then_fill_then_drain)
{
    enter(SIDE_SERVER);
    bed_polled(SIDE_SERVER, POLLIN);
    cr_expect_eq(bed.todo, RELAY_DO_FILL << SIDE_SERVER);
    uint64_t received = SERVER->received_bytes;
    bed.env.now_ms += 100;
    bed_filled(SIDE_SERVER, MUCH);
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_CLIENT);
    cr_expect_eq(SERVER->received_bytes, received + MUCH);
    cr_expect_eq(bed.session.active_ms, bed.env.now_ms);
    bed.env.now_ms += 100;
    bed_drained(SIDE_CLIENT, MUCH);
    expect_back(SIDE_SERVER, 0);
    cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_SERVER);
    cr_expect_eq(bed.session.active_ms, bed.env.now_ms);
    cr_expect_eq(bed.sent[SIDE_CLIENT], bed.given[SIDE_SERVER]);
}

Test(relay_stream, what_is_not_taken_waits_in_the_pipe)
{
    enter(SIDE_CLIENT);
    bed_polled(SIDE_CLIENT, POLLIN);
    bed_filled(SIDE_CLIENT, MUCH);
    bed_drained(SIDE_SERVER, 1000);
    cr_expect_eq(bed.todo, RELAY_DO_WATCH << SIDE_SERVER);
    cr_expect_eq(CLIENT->queued_bytes, MUCH - 1000);
    cr_expect_eq(bed.back[SIDE_CLIENT].pipe, PIPE_NONE);
    bed_writable(SIDE_SERVER);
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_SERVER);
    bed_drained(SIDE_SERVER, -EAGAIN);
    cr_expect_eq(bed.todo, RELAY_DO_WATCH << SIDE_SERVER);
    bed_writable(SIDE_SERVER);
    bed_drained(SIDE_SERVER, -EINTR);
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_SERVER);
    bed_drained(SIDE_SERVER, MUCH - 1000);
    expect_back(SIDE_CLIENT, 0);
    cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_CLIENT);
}

Test(relay_stream, both_directions_at_once)
{
    enter(SIDE_CLIENT);
    enter(SIDE_SERVER);
    fill_and_block(SIDE_CLIENT);
    bed_polled(SIDE_SERVER, POLLIN);
    cr_expect_eq(bed.todo, RELAY_DO_FILL << SIDE_SERVER);
    bed_filled(SIDE_SERVER, MUCH);
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_CLIENT);
    bed_drained(SIDE_CLIENT, MUCH);
    expect_back(SIDE_SERVER, 0);
    cr_expect_eq(CLIENT->queued_bytes, MUCH);
    bed_writable(SIDE_SERVER);
    bed_drained(SIDE_SERVER, MUCH);
    expect_back(SIDE_CLIENT, 0);
}

/* A fill that could not be made because another splice came first is asked for again. */
Test(relay_stream, a_fill_that_was_passed_over_is_asked_for_again)
{
    enter(SIDE_CLIENT);
    enter(SIDE_SERVER);
    fill_and_block(SIDE_SERVER);
    CLIENT->flags &= (uint16_t)~CONN_BLOCKED; /* it could not be watched: watch_side() in io/relay.c */
    bed_polled(SIDE_CLIENT, POLLIN);
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_CLIENT | RELAY_DO_FILL << SIDE_CLIENT);
    bed_drained(SIDE_CLIENT, MUCH);
    cr_expect(bed_asks(RELAY_DO_FILL, SIDE_CLIENT));
}

/* A death between two splices: the plan is the same again. */
Test(relay_stream, after_a_death_the_plan_goes_on)
{
    enter(SIDE_CLIENT);
    fill_and_block(SIDE_CLIENT);
    SERVER->flags &= (uint16_t)~CONN_BLOCKED;
    CLIENT->in_flight = SERVER->in_flight = 0;
    bed_simple(RELAY_PLAN);
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_SERVER | RELAY_DO_RECV << SIDE_SERVER);
    bed_drained(SIDE_SERVER, MUCH);
    cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_CLIENT);
}

/* --- Leaving ---------------------------------------------------------------------------------------------- */

Test(relay_stream, two_small_splices_in_a_row_send_it_back_to_receiving)
{
    enter(SIDE_CLIENT);
    for (int i = 0; i < 3; i++) { /* one is allowed */
        bed_polled(SIDE_CLIENT, POLLIN);
        bed_filled(SIDE_CLIENT, i == 1 ? RELAY_STREAM_MIN_BYTES : RELAY_STREAM_MIN_BYTES - 1);
        bed_drained(SIDE_SERVER, i == 1 ? RELAY_STREAM_MIN_BYTES : RELAY_STREAM_MIN_BYTES - 1);
        cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_CLIENT);
    }
    bed_polled(SIDE_CLIENT, POLLIN);
    bed_filled(SIDE_CLIENT, 1);
    cr_expect_not(streams(SIDE_CLIENT));
    cr_expect_eq(bed.todo, RELAY_DO_DRAIN << SIDE_SERVER); /* the pipe first */
    bed_drained(SIDE_SERVER, 1);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT);
    cr_expect_eq(CLIENT->flags & (CONN_FULL | CONN_TRICKLE | CONN_READABLE), 0);
    bed_receive(SIDE_CLIENT, FULL, true); /* and needs two again */
    cr_expect_not(streams(SIDE_CLIENT));
    bed_receive(SIDE_CLIENT, FULL, true);
    cr_expect(streams(SIDE_CLIENT));
}

Test(relay_stream, a_fill_that_finds_nothing_sends_it_back_to_receiving)
{
    static const int results[] = {0, -EAGAIN, -EINTR, -EINVAL, -ENOBUFS, -ENOMEM};

    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        setup();
        enter(SIDE_SERVER);
        bed_polled(SIDE_SERVER, POLLIN);
        bed_filled(SIDE_SERVER, results[i]);
        cr_expect_not(streams(SIDE_SERVER));
        expect_back(SIDE_SERVER, 0);
        cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_SERVER, "%s", strerror(-results[i]));
        cr_expect_eq(bed.session.phase, SESSION_OPEN);
    }
}

Test(relay_stream, without_a_pipe_it_receives)
{
    enter(SIDE_SERVER);
    bed.env.pipes = false;
    bed_polled(SIDE_SERVER, POLLIN);
    bed_filled(SIDE_SERVER, -ENOBUFS);
    cr_expect_not(streams(SIDE_SERVER));
    cr_expect_eq(bed.back[SIDE_SERVER].pipe, PIPE_NONE);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_SERVER);
}

Test(relay_stream, a_poll_that_tells_an_error_leaves_it_to_a_receive)
{
    static const int results[] = {POLLIN | POLLERR | POLLHUP, POLLHUP, POLLERR, -ENOMEM};

    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        setup();
        enter(SIDE_CLIENT);
        bed_polled(SIDE_CLIENT, results[i]);
        cr_expect_not(streams(SIDE_CLIENT));
        cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT, "%d", results[i]);
    }
    bed_receive_end(SIDE_CLIENT, -ECONNRESET);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_CLIENT_RESET);
}

/* --- Ends ------------------------------------------------------------------------------------------------- */

Test(relay_stream, an_end_is_passed_on_when_the_pipe_is_empty)
{
    enter(SIDE_CLIENT);
    fill_and_block(SIDE_CLIENT);
    cr_expect_eq(bed.shuts[0], 0);
    bed_writable(SIDE_SERVER);
    bed_drained(SIDE_SERVER, MUCH);
    bed_polled(SIDE_CLIENT, POLLIN | POLLRDHUP);
    bed_filled(SIDE_CLIENT, 50); /* the rest */
    bed_drained(SIDE_SERVER, 50);
    bed_polled(SIDE_CLIENT, POLLIN | POLLRDHUP);
    bed_filled(SIDE_CLIENT, -EAGAIN);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT);
    bed_receive_end(SIDE_CLIENT, 0);
    cr_expect_eq(bed.todo, RELAY_DO_SHUTDOWN << SIDE_SERVER);
    enter(SIDE_SERVER); /* the other direction goes on */
    bed_polled(SIDE_SERVER, POLLIN);
    bed_filled(SIDE_SERVER, MUCH);
    bed_drained(SIDE_CLIENT, MUCH);
    bed_polled(SIDE_SERVER, POLLIN | POLLRDHUP);
    bed_filled(SIDE_SERVER, -EAGAIN);
    bed_receive_end(SIDE_SERVER, 0);
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_CLIENT_CLOSED);
    cr_expect_not(bed.session.flags & SESSION_ABORT);
}

/* An error that a splice finds may have bytes behind it (an urgent one stops splices, not receives): a receive fetches
 * them, and its end is the reset. */
Test(relay_stream, a_reset_found_by_a_fill_is_passed_on_after_what_is_left)
{
    enter(SIDE_SERVER);
    bed_polled(SIDE_SERVER, POLLIN);
    bed_filled(SIDE_SERVER, -ECONNRESET);
    expect_back(SIDE_SERVER, 0);
    cr_expect_eq(SERVER->sink, SINK_DEAD);
    cr_expect(bed_asks(RELAY_DO_RECV, SIDE_SERVER));
    cr_expect(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_CLIENT));
    bed_answer_cancels();
    bed_receive(SIDE_SERVER, 4, true);
    bed_receive_end(SIDE_SERVER, 0); /* the error was told already */
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    bed_sent_all(SIDE_CLIENT);
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_SERVER_RESET);
    cr_expect(bed.session.flags & SESSION_ABORT);
    cr_expect_str_eq(bed.shuts, "");
}

Test(relay_stream, a_failed_drain_gives_the_pipe_back_with_what_is_in_it)
{
    static const int errors[] = {ECONNRESET, EPIPE, ETIMEDOUT};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        setup();
        enter(SIDE_CLIENT);
        bed_polled(SIDE_CLIENT, POLLIN);
        bed_filled(SIDE_CLIENT, MUCH);
        bed_drained(SIDE_SERVER, 1000);
        bed_writable(SIDE_SERVER);
        bed_drained(SIDE_SERVER, -errors[i]);
        expect_back(SIDE_CLIENT, MUCH - 1000);
        cr_expect_eq(CLIENT->queued_bytes, 0);
        cr_expect_eq(SERVER->sink, SINK_DEAD);
        cr_expect_eq(bed.todo, 0, "%x", bed.todo); /* the server's receive tells the rest */
        bed_receive(SIDE_SERVER, 9, true);
        bed_receive_end(SIDE_SERVER, 0);
        bed_sent_all(SIDE_CLIENT);
        cr_expect(bed.finished);
        cr_expect_eq(bed.session.reason, CLOSE_SERVER_RESET);
    }
}

Test(relay_stream, one_step_may_give_back_both_pipes)
{
    enter(SIDE_CLIENT);
    enter(SIDE_SERVER);
    fill_and_block(SIDE_CLIENT);
    fill_and_block(SIDE_SERVER);
    cr_expect_eq(bed.pipes_lent, 3);
    bed_writable(SIDE_SERVER);
    bed_drained(SIDE_SERVER, -EPIPE);
    expect_back(SIDE_CLIENT, MUCH);
    cr_expect_eq(bed.back[SIDE_SERVER].pipe, PIPE_NONE);
    cr_expect_eq(bed.session.phase, SESSION_OPEN); /* what the server said is still passed on */
    bed_writable(SIDE_CLIENT);
    bed_drained(SIDE_CLIENT, -EPIPE);
    expect_back(SIDE_SERVER, MUCH);
    cr_expect_eq(bed.pipes_lent, 0);
    bed_answer_cancels();
    cr_expect(bed.finished);
}

Test(relay_stream, a_reset_while_the_other_directions_pipe_is_full)
{
    enter(SIDE_CLIENT);
    fill_and_block(SIDE_CLIENT);
    bed_receive_end(SIDE_SERVER, -ECONNRESET);
    expect_back(SIDE_CLIENT, MUCH);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_SERVER_RESET);
}

/* The record keeps pipe and count: finish() in io/relay.c takes it back. */
Test(relay_stream, closing_with_bytes_in_a_pipe)
{
    enter(SIDE_CLIENT);
    enter(SIDE_SERVER);
    fill_and_block(SIDE_CLIENT);
    bed_stop();
    cr_expect_eq(bed.todo & ~(uint32_t)(RELAY_DO_CANCEL_INPUT * 3), 0);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(CLIENT->pipe, SIDE_CLIENT);
    cr_expect_eq(CLIENT->queued_bytes, MUCH);
}

Test(relay_stream, an_idle_stream_ends_in_time)
{
    enter(SIDE_CLIENT);
    fill_and_block(SIDE_CLIENT);
    bed.env.timeouts.idle_ms = 1000;
    bed.env.now_ms += 1000;
    bed_simple(RELAY_TIMED_OUT);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_IDLE_TIMEOUT);
}
