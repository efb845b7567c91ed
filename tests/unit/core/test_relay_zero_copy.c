/* The relay's step: sends whose buffers the kernel reads until a second completion, the notice. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

#include "core/lent.h"
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

static void returned(enum side side, uint8_t places)
{
    bed_step((struct relay_event){.kind = RELAY_RETURNED, .side = side, .places = places});
}

static void notice(enum side side, uint8_t place)
{
    returned(side, (uint8_t)(1u << place));
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

Test(relay_zero_copy, buffers_are_held_until_the_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    cr_expect_eq(lent_buffers(), 1);
    cr_expect_eq(SERVER->queued_bytes, FULL);
    cr_expect_not(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
    notice(SIDE_CLIENT, 0);
    cr_expect_eq(lent_buffers(), 0);
    cr_expect_eq(CLIENT->in_flight, CONN_OP_RECV);
}

/* What comes later is not held up by a peer whose acknowledgement is late. */
Test(relay_zero_copy, sends_do_not_wait_for_notices)
{
    for (int i = 0; i < LENT_SENDS; i++) {
        bed_receive(SIDE_SERVER, FULL, true);
        cr_assert_eq(CLIENT->offered_bytes, FULL);
        cr_assert_eq(lent_next_place(&bed.session, SIDE_CLIENT), i);
        taken(SIDE_CLIENT, FULL);
    }
    cr_expect(lent_is_full(&bed.session, SIDE_CLIENT));
    bed_receive(SIDE_SERVER, 100, true);
    cr_assert_eq(CLIENT->offered_bytes, 100);
    bed_sent(SIDE_CLIENT, 100); /* an ordinary one */
    cr_expect_eq(lent_buffers(), LENT_SENDS + 1);
    notice(SIDE_CLIENT, 0);
    cr_expect_eq(lent_buffers(), LENT_SENDS);
    bed_receive(SIDE_SERVER, FULL, true);
    cr_assert_eq(lent_next_place(&bed.session, SIDE_CLIENT), 0);
    taken(SIDE_CLIENT, FULL);
    notice(SIDE_CLIENT, 2); /* before its turn */
    cr_expect_eq(lent_buffers(), LENT_SENDS + 1);
    notice(SIDE_CLIENT, 1);
    cr_expect_eq(lent_buffers(), 1, "and the ordinary one with them");
    notice(SIDE_CLIENT, 0);
    cr_expect_eq(lent_buffers(), 0);
}

Test(relay_zero_copy, a_part_taken_waits_for_room)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, 1000);
    cr_expect(bed_asks(RELAY_DO_WATCH, SIDE_CLIENT));
    bed_writable(SIDE_CLIENT);
    cr_expect_eq(CLIENT->offered_bytes, FULL - 1000);
    taken(SIDE_CLIENT, FULL - 1000);
    notice(SIDE_CLIENT, 0);
    cr_expect_eq(lent_buffers(), 1);
    notice(SIDE_CLIENT, 1);
    cr_expect_eq(lent_buffers(), 0);
}

Test(relay_zero_copy, ends_are_passed_on_at_once_and_the_session_ends_with_the_last_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    bed_receive_end(SIDE_SERVER, 0);
    taken(SIDE_CLIENT, FULL);
    cr_expect(bed_asks(RELAY_DO_SHUTDOWN, SIDE_CLIENT));
    bed_receive_end(SIDE_CLIENT, 0);
    cr_expect(bed_asks(RELAY_DO_SHUTDOWN, SIDE_SERVER));
    cr_expect_eq(bed.session.phase, SESSION_OPEN);
    notice(SIDE_CLIENT, 0);
    cr_expect(bed.finished);
    cr_expect_eq(bed.session.reason, CLOSE_SERVER_CLOSED);
    cr_expect_not(bed.session.flags & SESSION_ABORT);
}

/* A send that fails has a notice, too. */
Test(relay_zero_copy, errors_count_at_once)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, -EAGAIN);
    cr_expect(bed_asks(RELAY_DO_WATCH, SIDE_CLIENT));
    bed_writable(SIDE_CLIENT);
    taken(SIDE_CLIENT, -EPIPE);
    cr_expect_eq(CLIENT->sink, SINK_DEAD);
    notice(SIDE_CLIENT, 0);
    cr_expect_eq(lent_buffers(), 1);
    notice(SIDE_CLIENT, 1);
    cr_expect_eq(lent_buffers(), 0);
}

Test(relay_zero_copy, without_memory_or_a_way_it_goes_on_by_copying)
{
    static const int errors[] = {ENOMEM, ENOBUFS, EOPNOTSUPP};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        setup();
        bed_receive(SIDE_SERVER, FULL, true);
        taken(SIDE_CLIENT, -errors[i]);
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

/* The buffers of a connection that is gone are held until the kernel has let go of them. */
Test(relay_zero_copy, what_cannot_be_delivered_is_dropped_after_the_notice)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    bed_receive(SIDE_SERVER, FULL, true);
    bed_sent(SIDE_CLIENT, -EPIPE);
    cr_expect_eq(CLIENT->sink, SINK_DEAD);
    cr_expect_eq(lent_buffers(), 2);
    notice(SIDE_CLIENT, 0);
    cr_expect_eq(lent_buffers(), 0);
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
    notice(SIDE_CLIENT, 0);
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
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    bed_receive(SIDE_SERVER, 100, true);
    adopt();
    cr_expect(lent_blindly(&bed.session, SIDE_CLIENT));
    cr_expect_not(bed_asks(RELAY_DO_SEND, SIDE_CLIENT), "it would keep the socket from running empty");
    cr_expect_eq(lent_buffers(), 3);
    returned(SIDE_CLIENT, bed.session.lent[SIDE_CLIENT].waiting);
    cr_expect_eq(lent_buffers(), 1);
    cr_expect(bed_asks(RELAY_DO_SEND, SIDE_CLIENT));
    cr_expect_not(lent_blindly(&bed.session, SIDE_CLIENT));
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

/* --- What must not happen --------------------------------------------------------------------------------- */

Test(relay_zero_copy, a_notice_that_is_not_due_dies, .signal = SIGABRT)
{
    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    notice(SIDE_CLIENT, 1);
}

Test(relay_zero_copy, a_send_without_a_place_dies, .signal = SIGABRT)
{
    for (int i = 0; i <= LENT_SENDS; i++) {
        bed_receive(SIDE_SERVER, FULL, true);
        taken(SIDE_CLIENT, FULL);
    }
}

Test(relay_zero_copy, damaged_records_are_found)
{
    struct lent_queue *queue = &bed.session.lent[SIDE_CLIENT];

    bed_receive(SIDE_SERVER, FULL, true);
    taken(SIDE_CLIENT, FULL);
    cr_expect(session_check(&bed.session));
    bed.session.lent_bytes[SIDE_CLIENT][0]++;
    cr_expect_not(session_check(&bed.session), "more than there is");
    bed.session.lent_bytes[SIDE_CLIENT][0]--;
    queue->waiting = 3;
    cr_expect_not(session_check(&bed.session), "a notice of a place without a send");
    queue->waiting = 0;
    cr_expect_not(session_check(&bed.session), "nothing is waited for");
    *queue = (struct lent_queue){.first = LENT_SENDS};
    cr_expect_not(session_check(&bed.session), "no such place");
    *queue = (struct lent_queue){.count = LENT_SENDS + 1, .waiting = 1};
    cr_expect_not(session_check(&bed.session), "too many");
}
