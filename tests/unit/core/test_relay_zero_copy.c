/* The relay's step: sends whose buffers the kernel reads until a second completion, the notice. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "tests/unit/core/bed.h"

enum { FULL = BUFFER_LARGE_BYTES };

static void setup(void)
{
    bed_setup_open();
    bed.env.pipes = true;
    bed.session.flags |= SESSION_ZERO_COPY << SIDE_CLIENT | SESSION_ZERO_COPY << SIDE_SERVER;
}

TestSuite(relay_zero_copy, .init = setup);

static uint32_t lent_buffers(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < BUFFERS; i++) {
        count += bed.lent[i];
    }
    return count;
}

static void taken(enum side side, int32_t result)
{
    bed_step((struct relay_event){.kind = RELAY_SENT, .side = side, .result = result, .more = true});
}

static void notice(enum side side)
{
    bed_step((struct relay_event){.kind = RELAY_SENT, .side = side});
}

/* As adoption does: nothing is in flight any more, and every session is asked what it needs. */
static void adopt(void)
{
    CLIENT->in_flight = 0;
    SERVER->in_flight = 0;
    CLIENT->flags &= (uint16_t)~CONN_CANCEL_INPUT;
    SERVER->flags &= (uint16_t)~CONN_CANCEL_INPUT;
    bed_simple(RELAY_PLAN);
}

static void returned(enum side side)
{
    bed_step((struct relay_event){.kind = RELAY_RETURNED, .side = side});
}

Test(relay_zero_copy, buffers_are_held_until_the_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    bed_receive(SIDE_SERVER, FULL, true); /* behind the send in flight */
    CLIENT->offered_bytes = FULL;
    taken(SIDE_CLIENT, FULL);
    cr_expect_eq(lent_buffers(), 2);
    cr_expect_not(bed_asks(RELAY_DO_SEND, SIDE_CLIENT), "one at a time");
    notice(SIDE_CLIENT);
    cr_expect_eq(lent_buffers(), 1);
    cr_expect(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
    cr_expect_not(CLIENT->flags & CONN_LENT);
}

Test(relay_zero_copy, a_part_taken_is_followed_by_the_rest_at_once)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, 1000);
    notice(SIDE_CLIENT);
    cr_expect_eq(SERVER->queued_bytes, FULL - 1000);
    cr_expect(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
    cr_expect_not(CLIENT->flags & CONN_BLOCKED);
}

Test(relay_zero_copy, an_end_waits_for_the_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    bed_receive_end(SIDE_SERVER, 0);
    taken(SIDE_CLIENT, FULL);
    cr_expect_not(bed_asks(RELAY_DO_SHUTDOWN, SIDE_CLIENT));
    notice(SIDE_CLIENT);
    cr_expect(bed_asks(RELAY_DO_SHUTDOWN, SIDE_CLIENT));
}

/* A send that fails has a notice, too. */
Test(relay_zero_copy, errors_wait_for_the_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, -EAGAIN);
    cr_expect_not(bed_asks(RELAY_DO_WATCH, SIDE_CLIENT));
    notice(SIDE_CLIENT);
    cr_expect(bed_asks(RELAY_DO_WATCH, SIDE_CLIENT));
    bed_writable(SIDE_CLIENT);
    taken(SIDE_CLIENT, -EPIPE);
    cr_expect_eq(CLIENT->sink, SINK_OPEN);
    cr_expect_eq(lent_buffers(), 1);
    notice(SIDE_CLIENT);
    cr_expect_eq(CLIENT->sink, SINK_DEAD);
    cr_expect_eq(lent_buffers(), 0);
}

Test(relay_zero_copy, without_memory_or_a_way_it_goes_on_by_copying)
{
    static const int errors[] = {ENOMEM, ENOBUFS, EOPNOTSUPP};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        setup();
        bed_receive(SIDE_SERVER, FULL, true);
        taken(SIDE_CLIENT, -errors[i]);
        notice(SIDE_CLIENT);
        cr_expect(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
        cr_expect_eq(bed.session.flags & SESSION_ZERO_COPY * 3, SESSION_ZERO_COPY << SIDE_SERVER);
        bed_sent(SIDE_CLIENT, -errors[i]); /* now it is an error like any other */
        cr_expect_not(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
    }
}

Test(relay_zero_copy, such_a_direction_never_streams)
{
    bed.session.flags &= (uint8_t) ~(SESSION_ZERO_COPY << SIDE_SERVER);
    for (int i = 0; i < 2; i++) {
        bed_receive(SIDE_SERVER, FULL, true);
        bed_sent_all(SIDE_CLIENT);
        bed_receive(SIDE_CLIENT, FULL, true);
        bed_sent_all(SIDE_SERVER);
    }
    cr_expect_not(SERVER->flags & CONN_STREAMING);
    cr_expect(CLIENT->flags & CONN_STREAMING, "the other direction does");
}

/* A connection that is gone keeps its buffers until the kernel has let go of them. */
Test(relay_zero_copy, what_cannot_be_delivered_is_dropped_after_the_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    bed_receive_end(SIDE_CLIENT, -ECONNRESET);
    cr_expect_eq(CLIENT->sink, SINK_DEAD);
    cr_expect_eq(lent_buffers(), 1);
    for (int i = 0; i < 3 && !bed.finished; i++) {
        bed_answer_cancels();
    }
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_CLIENT_RESET);
}

Test(relay_zero_copy, a_silent_session_is_reset)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    bed.env.timeouts.idle_ms = 100;
    bed.env.now_ms += 100;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect(bed_asks(RELAY_DO_RESET, SIDE_CLIENT));
    cr_expect_not(bed_asks(RELAY_DO_RESET, SIDE_SERVER));
    bed_receive_end(SIDE_CLIENT, -ECONNRESET);
    bed_receive_end(SIDE_SERVER, -ECANCELED);
    cr_expect_not(bed.finished);
    notice(SIDE_CLIENT);
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_IDLE_TIMEOUT);
    cr_expect(bed.session.flags & SESSION_ABORT);
}

Test(relay_zero_copy, a_send_taken_while_closing_is_reset)
{
    bed_receive(SIDE_SERVER, FULL, true);
    bed.env.timeouts.idle_ms = 100;
    bed.env.now_ms += 100;
    bed_simple(RELAY_TIMED_OUT);
    cr_expect_not(bed_asks(RELAY_DO_RESET, SIDE_CLIENT));
    taken(SIDE_CLIENT, FULL);
    cr_expect(bed_asks(RELAY_DO_RESET, SIDE_CLIENT));
}

/* --- After a death ---------------------------------------------------------------------------------------- */

Test(relay_zero_copy, after_a_death_buffers_are_held_until_they_are_returned)
{
    bed.env.share_bytes *= 2;
    bed_receive(SIDE_SERVER, FULL, true);
    bed_receive(SIDE_SERVER, FULL, true);
    CLIENT->offered_bytes = FULL;
    taken(SIDE_CLIENT, FULL);
    adopt();
    cr_expect(conn_lent_blindly(CLIENT));
    cr_expect_eq(bed.todo, RELAY_DO_RECV << SIDE_CLIENT | RELAY_DO_RECV << SIDE_SERVER);
    cr_expect_eq(lent_buffers(), 2);
    returned(SIDE_CLIENT);
    cr_expect_eq(lent_buffers(), 1);
    cr_expect(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
}

Test(relay_zero_copy, after_a_death_closing_needs_no_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    session_close(&bed.session, CLOSE_IDLE_TIMEOUT, false, bed.env.now_ms);
    adopt();
    cr_expect(bed.finished);
    cr_expect(bed.session.flags & SESSION_ABORT, "or the kernel would go on reading");
}

Test(relay_zero_copy, a_return_that_a_notice_will_tell_dies, .signal = SIGABRT)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    returned(SIDE_CLIENT);
}

Test(relay_zero_copy, a_record_that_lends_more_than_it_has_is_damaged)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    cr_expect(session_check(&bed.session));
    CLIENT->offered_bytes = FULL + 1;
    cr_expect_not(session_check(&bed.session));
}
