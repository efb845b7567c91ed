/* The relay's step: what it does on each event, phase by phase. How connections close: test_relay_close.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "tests/unit/core/bed.h"

TestSuite(relay, .init = bed_setup);
TestSuite(relay_open, .init = bed_setup_open);

/* --- Until a session is open ------------------------------------------------------------------------------ */

Test(relay, from_accept_to_open)
{
    bed_simple(RELAY_PLAN);
    cr_expect_eq(bed.todo, RELAY_DO_CHOOSE);
    bed_choose(SERVER_ROW);
    cr_expect_eq(bed.todo, RELAY_DO_CONNECT);
    cr_expect_eq(bed.session.phase, SESSION_CONNECTING);
    cr_expect_eq(bed.session.server_row, SERVER_ROW);
    cr_expect_eq(SERVER->fd, 6);
    cr_expect_eq(SERVER->cookie, 66);
    bed.env.now_us += 700;
    bed_connect_end(0);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    cr_expect_eq(bed.session.connected_us, T0 * 1000ull + 700);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT | RELAY_DO_RECV << SIDE_SERVER);
}

Test(relay, every_connect_error_has_its_reason)
{
    static const struct {
        int error;
        enum close_reason reason;
    } cases[] = {
        {ECONNREFUSED, CLOSE_CONNECT_REFUSED},    {ENOENT, CLOSE_CONNECT_REFUSED},
        {ETIMEDOUT, CLOSE_CONNECT_TIMEOUT},       {EHOSTUNREACH, CLOSE_CONNECT_UNREACHABLE},
        {ENETUNREACH, CLOSE_CONNECT_UNREACHABLE}, {EACCES, CLOSE_CONNECT_ERROR},
        {ECONNRESET, CLOSE_CONNECT_ERROR},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bed_setup();
        bed_simple(RELAY_PLAN);
        bed_choose(SERVER_ROW);
        bed_connect_end(-cases[i].error);
        cr_expect_eq(bed.todo, RELAY_DO_DROP_SERVER | RELAY_DO_FINISH, "%s", strerror(cases[i].error));
        cr_expect_eq(bed.session.reason, cases[i].reason, "%s", strerror(cases[i].error));
        cr_expect(bed.session.flags & SESSION_ABORT);
    }
}

Test(relay, a_refused_connect_goes_to_the_next_server_and_the_last_reason_stands)
{
    bed.env.retries = 2;
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    bed_connect_end(-ECONNREFUSED);
    cr_expect_eq(bed.todo, RELAY_DO_DROP_SERVER | RELAY_DO_CHOOSE);
    bed_choose(4);
    cr_expect_eq(bed.todo, RELAY_DO_CONNECT);
    bed_connect_end(-EHOSTUNREACH);
    bed_choose(5);
    cr_expect_eq(bed.session.tries, 2);
    cr_expect_eq(bed.session.tried[0], 3);
    cr_expect_eq(bed.session.tried[1], 4);
    bed_connect_end(-ECONNREFUSED);
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_CONNECT_REFUSED);
    cr_expect_eq(bed.session.tries, 3);
}

Test(relay, a_session_that_was_refused_once_opens_without_a_reason)
{
    bed.env.retries = 1;
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    bed_connect_end(-ECONNREFUSED);
    bed_choose(4);
    bed_connect_end(0);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    cr_expect_eq(bed.session.reason, CLOSE_NONE);
}

Test(relay, the_most_retries_fit_the_record)
{
    bed.env.retries = IMAGE_RETRIES_MAX;
    bed_simple(RELAY_PLAN);
    for (uint16_t row = 0; !bed.finished; row++) {
        cr_assert_leq(row, IMAGE_RETRIES_MAX);
        bed_choose(row);
        bed_connect_end(-ECONNREFUSED);
    }
    cr_expect_eq(bed.session.tries, IMAGE_RETRIES_MAX + 1);
    cr_expect_eq(bed.session.tried[IMAGE_RETRIES_MAX - 1], IMAGE_RETRIES_MAX - 1);
}

Test(relay, no_server_left)
{
    static const struct {
        bool refused_before;
        int32_t result;
        enum close_reason reason;
    } cases[] = {
        {false, 0, CLOSE_NO_SERVER},
        {true, 0, CLOSE_CONNECT_REFUSED},
        {false, -EMFILE, CLOSE_NO_RESOURCES},
        {true, -EMFILE, CLOSE_NO_RESOURCES},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bed_setup();
        bed.env.retries = 3;
        bed_simple(RELAY_PLAN);
        if (cases[i].refused_before) {
            bed_choose(3);
            bed_connect_end(-ECONNREFUSED);
        }
        bed_step((struct relay_event){.kind = RELAY_NO_SERVER, .result = cases[i].result});
        cr_expect(bed.finished);
        cr_expect_eq(bed.session.reason, cases[i].reason, "case %zu", i);
    }
}

Test(relay, connect_timeout_cancels_and_goes_on)
{
    bed.env.retries = 1;
    bed.env.timeouts.connect_ms = 100;
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    bed.env.now_ms += 99;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, 0, "not yet");
    bed.env.now_ms += 1;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, RELAY_DO_CANCEL_INPUT << SIDE_SERVER);
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, 0, "cancelled once");
    bed_connect_end(-ECANCELED);
    cr_expect_eq(bed.todo, RELAY_DO_DROP_SERVER | RELAY_DO_CHOOSE);
    bed_choose(4);
    bed.env.now_ms += 100;
    bed_simple(RELAY_TIMED_OUT);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_CONNECT_TIMEOUT);
}

Test(relay, a_connect_that_wins_against_its_timeout_opens)
{
    bed.env.timeouts.connect_ms = 100;
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    bed.env.now_ms += 100;
    bed_simple(RELAY_TIMED_OUT);
    bed_connect_end(0);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    cr_expect_eq(SERVER->flags & CONN_CANCEL_INPUT, 0);
}

Test(relay, a_taken_port_is_tried_again_a_few_times)
{
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    for (int i = 0; i < RELAY_PORT_TRIES; i++) {
        bed_connect_end(-EADDRNOTAVAIL);
        cr_expect_eq(bed.todo, RELAY_DO_CONNECT, "try %d", i);
        cr_expect_eq(SERVER->port_tries, i + 1);
    }
    bed_connect_end(-EADDRNOTAVAIL);
    cr_expect_eq(bed.todo, RELAY_DO_PAUSE);
    bed_simple(RELAY_PLAN);
    cr_expect_eq(bed.todo, 0);
    bed.env.now_ms += RELAY_PORT_PAUSE_MS;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, RELAY_DO_CONNECT);
    cr_expect_eq(SERVER->port_tries, 0);
}

/* Asks for a port until that has taken too long. Returns how often. */
static uint32_t wait_in_vain(void)
{
    uint32_t asked = 0;

    bed_simple(RELAY_PLAN);
    bed_choose(3);
    while (!bed.finished && bed.session.tries == 0) {
        SERVER->in_flight = 0; /* nothing was submitted */
        bed_simple(RELAY_NO_PORT);
        cr_assert_eq(bed.todo, RELAY_DO_PAUSE);
        bed.env.now_ms += RELAY_PORT_PAUSE_MS;
        bed_simple(RELAY_TIMED_OUT);
        asked++;
    }
    return asked;
}

Test(relay, without_a_port_it_is_asked_for_one_until_the_next_server)
{
    bed.env.retries = 1;
    cr_expect_eq(wait_in_vain(), RELAY_PORT_WAIT_MS / RELAY_PORT_PAUSE_MS);
    cr_expect_eq(bed.session.phase, SESSION_CHOOSING);
    cr_expect_eq(bed.session.tried[0], 3);
    cr_expect_eq(bed.todo, RELAY_DO_DROP_SERVER | RELAY_DO_CHOOSE);
    bed_choose(4);
    bed_connect_end(0);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    cr_expect_eq(bed.session.reason, CLOSE_NONE);
}

Test(relay, without_a_port_toward_the_last_server_it_ends)
{
    bed.env.retries = 0;
    cr_expect_eq(wait_in_vain(), RELAY_PORT_WAIT_MS / RELAY_PORT_PAUSE_MS);
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_NO_SOURCE_PORT);
}

Test(relay, waiting_for_a_port_is_part_of_connecting)
{
    bed.env.retries = 0;
    bed.env.timeouts.connect_ms = 100;
    cr_expect_eq(wait_in_vain(), 100 / RELAY_PORT_PAUSE_MS);
    cr_expect_eq(bed.session.reason, CLOSE_NO_SOURCE_PORT);
}

Test(relay, a_port_that_comes_free_is_waited_for)
{
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    for (int i = 0; i < RELAY_PORT_TRIES + 1; i++) {
        bed_connect_end(-EADDRNOTAVAIL);
    }
    bed_simple(RELAY_TIMED_OUT);
    bed_connect_end(0);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
}

/* After a death the connect of the incarnation before is under way, or was cut off. */
Test(relay, a_connect_under_way_is_polled_for_and_asked_again)
{
    static const int32_t results[] = {-EALREADY, -EINPROGRESS, -ECANCELED};

    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        bed_setup();
        bed_simple(RELAY_PLAN);
        bed_choose(3);
        bed_connect_end(results[i]);
        cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_SERVER);
        bed_polled(SIDE_SERVER, POLLOUT);
        cr_expect_eq(bed.todo, RELAY_DO_CONNECT);
        bed_connect_end(-EISCONN);
        cr_expect_eq(bed.session.phase, SESSION_OPEN);
    }
}

Test(relay, a_timeout_while_polled_for_goes_to_the_next_which_is_connected_at_once)
{
    bed.env.retries = 1;
    bed.env.timeouts.connect_ms = 100;
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    bed_connect_end(-EALREADY);
    bed.env.now_ms += 100;
    bed_simple(RELAY_TIMED_OUT);
    bed_answer_cancels();
    cr_expect_eq(bed.session.tries, 1);
    cr_expect_eq(bed.todo, RELAY_DO_DROP_SERVER | RELAY_DO_CHOOSE);
    bed_choose(4);
    cr_expect_eq(bed.todo, RELAY_DO_CONNECT, "its socket was never connected: there is nothing to poll for");
}

Test(relay, choosing_while_a_server_is_held_dies, .signal = SIGABRT)
{
    bed_simple(RELAY_PLAN);
    SERVER->fd = 8;
    bed_choose(3);
}

Test(relay, an_end_that_was_not_in_flight_dies, .signal = SIGABRT)
{
    bed_setup_open();
    bed_sent(SIDE_CLIENT, 0);
}

/* --- Stopping in each phase ------------------------------------------------------------------------------- */

static void expect_stopped(void)
{
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_STOPPED);
    cr_expect(bed.session.flags & SESSION_ABORT);
}

Test(relay, stop_while_choosing)
{
    bed_simple(RELAY_PLAN);
    bed_stop();
    expect_stopped();
}

Test(relay, stop_while_connecting_waits_for_the_cancel)
{
    bed_simple(RELAY_PLAN);
    bed_choose(3);
    bed_stop();
    cr_expect_eq(bed.todo, RELAY_DO_CANCEL_INPUT << SIDE_SERVER);
    bed_stop();
    cr_expect_eq(bed.todo, 0);
    bed_connect_end(0); /* too late */
    expect_stopped();
}

Test(relay_open, stop_waits_for_everything_in_flight)
{
    bed_receive(SIDE_CLIENT, 100, true);
    bed_stop();
    cr_expect_eq(bed.todo, 3 * RELAY_DO_CANCEL_INPUT);
    bed_receive(SIDE_CLIENT, 100, true); /* already on its way */
    bed_receive(SIDE_SERVER, 100, false);
    bed_sent(SIDE_SERVER, 50);
    cr_expect_not(bed.finished);
    bed_receive_end(SIDE_CLIENT, -ECANCELED);
    expect_stopped();
    cr_expect_eq(CLIENT->queued_bytes, 150, "the rest goes back to the bank at the end");
}

/* --- Moving bytes ----------------------------------------------------------------------------------------- */

Test(relay_open, data_is_passed_on)
{
    bed.env.now_ms += 5;
    bed_receive(SIDE_SERVER, 1000, true);
    cr_expect_eq(bed.todo, RELAY_DO_SEND << SIDE_CLIENT);
    cr_expect_eq(bed.session.active_ms, T0 + 5);
    cr_expect_eq(bed.session.first_byte_us, bed.env.now_us);
    cr_expect_eq(SERVER->received_bytes, 1000);
    bed_receive(SIDE_SERVER, 500, true);
    cr_expect_eq(bed.todo, 0, "one send at a time");
    bed_sent(SIDE_CLIENT, 1000);
    cr_expect_eq(bed.todo, RELAY_DO_SEND << SIDE_CLIENT);
    bed_sent(SIDE_CLIENT, 200);
    cr_expect_eq(bed.todo, RELAY_DO_WATCH << SIDE_CLIENT, "a short send: the kernel's buffer is full");
    bed_simple(RELAY_PLAN);
    cr_expect_eq(bed.todo, 0);
    bed_writable(SIDE_CLIENT);
    cr_expect_eq(bed.todo, RELAY_DO_SEND << SIDE_CLIENT);
    bed_sent(SIDE_CLIENT, 300);
    cr_expect_eq(bed.todo, 0);
    cr_expect_eq(SERVER->held_bytes, 0);
}

Test(relay_open, first_byte_is_the_servers_first)
{
    bed_receive(SIDE_CLIENT, 10, true);
    cr_expect_eq(bed.session.first_byte_us, 0);
    bed.env.now_us += 10;
    bed_receive(SIDE_SERVER, 10, true);
    bed.env.now_us += 10;
    bed_receive(SIDE_SERVER, 10, true);
    cr_expect_eq(bed.session.first_byte_us, T0 * 1000ull + 10);
}

Test(relay_open, a_receive_that_ends_with_data_is_armed_again)
{
    bed_receive(SIDE_CLIENT, 1000, false);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT | RELAY_DO_SEND << SIDE_SERVER);
}

Test(relay_open, receiving_stops_at_the_share_and_starts_again_at_half)
{
    bed.env.share_bytes = 4 * BUFFER_LARGE_BYTES;
    for (int i = 0; i < 3; i++) {
        bed_receive(SIDE_CLIENT, BUFFER_LARGE_BYTES, true);
        cr_expect_not(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_CLIENT));
    }
    bed_receive(SIDE_CLIENT, BUFFER_LARGE_BYTES, true);
    cr_expect(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_CLIENT));
    bed_receive_end(SIDE_CLIENT, -ECANCELED);
    cr_expect_eq(bed.todo, 0);
    static const struct {
        int32_t sent;
        bool receives;
    } sends[] = {{BUFFER_LARGE_BYTES, false}, /* holds 3 of 4 */
                 {BUFFER_LARGE_BYTES, false}, /* 2 of 4 */
                 {1, false},                  /* what counts is capacity, not bytes */
                 {BUFFER_LARGE_BYTES - 1, true}};
    for (size_t i = 0; i < sizeof(sends) / sizeof(sends[0]); i++) {
        bed_sent(SIDE_SERVER, sends[i].sent);
        cr_expect_eq(bed_asks(RELAY_DO_RECV, SIDE_CLIENT), sends[i].receives, "send %zu", i);
        if (CONN_BLOCKED & SERVER->flags) {
            bed_writable(SIDE_SERVER);
        }
    }
}

Test(relay_open, with_the_least_share_one_buffer_at_a_time)
{
    bed.env.share_bytes = BUFFER_SMALL_BYTES;
    bed_receive(SIDE_CLIENT, 10, true);
    cr_expect(bed_asks(RELAY_DO_CANCEL_INPUT, SIDE_CLIENT));
    bed_receive_end(SIDE_CLIENT, -ECANCELED);
    bed_sent_all(SIDE_SERVER);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT);
}

Test(relay_open, a_slow_client_does_not_stop_the_other_direction)
{
    bed.env.share_bytes = BUFFER_LARGE_BYTES;
    bed_receive(SIDE_SERVER, BUFFER_LARGE_BYTES, true);
    bed_answer_cancels();
    for (int i = 0; i < 10; i++) {
        bed_receive(SIDE_CLIENT, 100, true);
        bed_sent_all(SIDE_SERVER);
        bed_answer_cancels();
        cr_expect(CLIENT->in_flight & CONN_OP_RECV);
    }
    cr_expect_not(SERVER->in_flight & CONN_OP_RECV);
}

Test(relay_open, refused_a_buffer_waits_until_granted)
{
    static const int32_t results[] = {-ENOBUFS, -ENOMEM};

    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        bed_receive_end(SIDE_SERVER, results[i]);
        cr_expect_eq(bed.todo, RELAY_DO_WAIT << SIDE_SERVER);
        bed_simple(RELAY_PLAN);
        cr_expect_eq(bed.todo, 0, "waits");
        bed_step((struct relay_event){.kind = RELAY_GRANTED, .side = SIDE_SERVER});
        cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_SERVER);
    }
}

Test(relay_open, interrupted_operations_are_repeated)
{
    static const int32_t results[] = {-EAGAIN, -EINTR, -ECANCELED}; /* the last as a death leaves it */

    bed_receive(SIDE_CLIENT, 10, true);
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        bed_receive_end(SIDE_SERVER, results[i]);
        cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_SERVER);
        bed_sent(SIDE_SERVER, results[i] == -EAGAIN ? -EINTR : results[i]);
        cr_expect_eq(bed.todo, RELAY_DO_SEND << SIDE_SERVER);
    }
}

Test(relay_open, a_send_that_would_wait_is_repeated_when_writable)
{
    static const int32_t results[] = {-EAGAIN, -ENOBUFS, -ENOMEM};

    bed_receive(SIDE_CLIENT, 10, true);
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        bed_sent(SIDE_SERVER, results[i]);
        cr_expect_eq(bed.todo, RELAY_DO_WATCH << SIDE_SERVER);
        bed_receive(SIDE_CLIENT, 10, true);
        cr_expect_eq(bed.todo, 0, "waits");
        bed_writable(SIDE_SERVER);
        cr_expect_eq(bed.todo, RELAY_DO_SEND << SIDE_SERVER);
    }
}

Test(relay_open, a_session_that_is_closing_watches_nothing)
{
    bed_receive(SIDE_CLIENT, 10, true);
    bed_stop();
    bed_sent(SIDE_SERVER, -EAGAIN);
    cr_expect_eq(bed.todo, 0);
    cr_expect_not(SERVER->flags & CONN_BLOCKED);
}

/* --- Silence ---------------------------------------------------------------------------------------------- */

Test(relay_open, dozes_after_a_while_and_wakes)
{
    bed.env.now_ms += SESSION_DOZE_AFTER_MS - 1;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, 0);
    bed.env.now_ms += 1;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, 3 * RELAY_DO_CANCEL_INPUT);
    bed_receive_end(SIDE_CLIENT, -ECANCELED);
    cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_CLIENT);
    bed_receive_end(SIDE_SERVER, -ECANCELED);
    cr_expect_eq(bed.todo, RELAY_DO_POLL << SIDE_SERVER);
    cr_expect_eq(session_due_ms(&bed.session, &bed.env.timeouts), UINT64_MAX, "sleeps soundly");
    bed_polled(SIDE_SERVER, POLLIN);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_SERVER);
    bed_receive(SIDE_SERVER, 10, true);
    cr_expect_eq(bed.todo, RELAY_DO_SEND << SIDE_CLIENT, "and wakes one side only");
    bed_polled(SIDE_CLIENT, POLLIN | POLLRDHUP);
    bed_receive_end(SIDE_CLIENT, 0);
    cr_expect_eq(bed.todo, RELAY_DO_SHUTDOWN << SIDE_SERVER);
}

Test(relay_open, data_that_comes_while_going_to_rest_wakes)
{
    bed.env.now_ms += SESSION_DOZE_AFTER_MS;
    bed_simple(RELAY_TIMED_OUT);
    bed_receive(SIDE_CLIENT, 10, true);
    bed_sent_all(SIDE_SERVER);
    bed_receive_end(SIDE_CLIENT, -ECANCELED);
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT);
}

Test(relay_open, a_direction_with_data_does_not_doze)
{
    bed_receive(SIDE_CLIENT, 10, true);
    bed.env.now_ms += SESSION_DOZE_AFTER_MS;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.todo, RELAY_DO_CANCEL_INPUT << SIDE_SERVER);
}

Test(relay_open, idle_timeout)
{
    bed.env.timeouts.idle_ms = 1000;
    bed.env.now_ms += 999;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    bed.env.now_ms += 1;
    bed_simple(RELAY_TIMED_OUT);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_IDLE_TIMEOUT);
    cr_expect_not(bed.session.flags & SESSION_ABORT);
}

Test(relay_open, no_timeout_while_a_peer_acknowledges)
{
    bed.env.timeouts.idle_ms = 1000;
    bed.env.now_ms += 3000;
    bed.env.heard_ms = bed.env.now_ms - 999;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    bed.env.now_ms += 1;
    bed_simple(RELAY_TIMED_OUT);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_IDLE_TIMEOUT);
}

Test(relay_open, half_closed_timeout_only_when_half_closed)
{
    bed.env.timeouts.half_closed_ms = 1000;
    bed.env.now_ms += 2000;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    bed_receive_end(SIDE_CLIENT, 0);
    bed.env.now_ms += 1000;
    bed_simple(RELAY_TIMED_OUT);
    bed_answer_cancels();
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_HALF_CLOSED_TIMEOUT);
}
