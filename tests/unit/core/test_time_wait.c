/* What TIME_WAIT and FIN_WAIT2 do with a segment; the answers on the wire are tests/e2e/test_time_wait.c's. */
#include "core/time_wait.h"

#include <criterion/criterion.h>

TestSuite(time_wait);

enum { NEXT = 0xfffffff0u, TS = 0xffffff00u };

static struct flow_entry entry_in(enum flow_state state)
{
    return (struct flow_entry){
        .state = state,
        .flags = FLOW_TIMESTAMPS,
        .window_scales = 2,
        .window = 100,
        .rcv_nxt = NEXT,
        .ts_recent = TS,
    };
}

static struct time_wait_verdict judge(enum flow_state state, struct time_wait_segment segment)
{
    struct flow_entry entry = entry_in(state);

    return time_wait_judge(&entry, &segment);
}

static void expect_action(enum flow_state state, struct time_wait_segment segment,
                          enum time_wait_action action)
{
    cr_expect_eq(judge(state, segment).action, action, "seq %+d: %d", (int)(segment.seq - NEXT),
                 judge(state, segment).action);
}

Test(time_wait, fin_again_is_acknowledged_and_begins_2msl_anew)
{
    struct time_wait_verdict verdict =
        judge(FLOW_TIME_WAIT, (struct time_wait_segment){.seq = NEXT - 1, .ack = true, .fin = true});

    cr_expect_eq(verdict.action, TIME_WAIT_ACK);
    cr_expect(verdict.restart);
    cr_expect_not(verdict.fin);
    cr_expect_not(verdict.note_timestamp);
}

Test(time_wait, first_fin_ends_fin_wait2)
{
    struct time_wait_verdict verdict =
        judge(FLOW_FIN_WAIT2,
              (struct time_wait_segment){
                  .seq = NEXT, .ack = true, .fin = true, .has_timestamp = true, .ts_value = TS + 1});

    cr_expect_eq(verdict.action, TIME_WAIT_ACK);
    cr_expect(verdict.fin && verdict.restart && verdict.note_timestamp);
}

Test(time_wait, syn_is_accepted_by_sequence_or_by_timestamp)
{
    static const struct {
        int32_t seq, ts;
        enum time_wait_action action;
    } cases[] = {
        {1, 0, TIME_WAIT_REOPEN},
        {0, 0, TIME_WAIT_ACK_LIMITED},
        {-1, 0, TIME_WAIT_ACK_LIMITED},
        {-1, 1, TIME_WAIT_REOPEN},
        {1, -1, TIME_WAIT_ACK_LIMITED},
        {0x7fffffff, 0, TIME_WAIT_REOPEN},
        {-0x7fffffff, 0, TIME_WAIT_ACK_LIMITED},
        {-1, 0x200, TIME_WAIT_REOPEN}, /* a timestamp that wrapped */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct time_wait_segment segment = {
            .seq = NEXT + (uint32_t)cases[i].seq,
            .syn = true,
            .has_timestamp = true,
            .ts_value = TS + (uint32_t)cases[i].ts,
        };
        cr_expect_eq(judge(FLOW_TIME_WAIT, segment).action, cases[i].action, "case %zu", i);
    }
}

Test(time_wait, an_old_duplicate_syn_does_not_begin_2msl_anew)
{
    cr_expect_not(judge(FLOW_TIME_WAIT, (struct time_wait_segment){.seq = NEXT - 1, .syn = true}).restart);
    cr_expect(judge(FLOW_TIME_WAIT,
                    (struct time_wait_segment){
                        .seq = NEXT + 1, .syn = true, .has_timestamp = true, .ts_value = TS - 1})
                  .restart);
}

Test(time_wait, rst_never_ends_time_wait)
{
    for (int32_t seq = -1000; seq <= 1000; seq++) {
        struct time_wait_segment segment = {.seq = NEXT + (uint32_t)seq, .rst = true};
        expect_action(FLOW_TIME_WAIT, segment, TIME_WAIT_DROP);
        cr_expect_not(judge(FLOW_TIME_WAIT, segment).restart);
    }
}

Test(time_wait, rst_ends_fin_wait2_by_the_very_number_only)
{
    expect_action(FLOW_FIN_WAIT2, (struct time_wait_segment){.seq = NEXT, .rst = true}, TIME_WAIT_END);
    expect_action(FLOW_FIN_WAIT2, (struct time_wait_segment){.seq = NEXT + 1, .rst = true},
                  TIME_WAIT_ACK_LIMITED);
    expect_action(FLOW_FIN_WAIT2, (struct time_wait_segment){.seq = NEXT + 401, .rst = true}, TIME_WAIT_DROP);
    expect_action(FLOW_FIN_WAIT2, (struct time_wait_segment){.seq = NEXT - 1, .rst = true}, TIME_WAIT_DROP);
}

Test(time_wait, fin_wait2_ends_at_its_window)
{
    struct time_wait_segment segment = {.seq = NEXT + 399, .length = 1, .ack = true};

    expect_action(FLOW_FIN_WAIT2, segment, TIME_WAIT_REFUSE); /* 100 << 2 bytes are in it */
    segment.seq++;
    expect_action(FLOW_FIN_WAIT2, segment, TIME_WAIT_ACK);
}

Test(time_wait, without_timestamps_none_is_old)
{
    struct flow_entry entry = entry_in(FLOW_TIME_WAIT);
    struct time_wait_segment segment = {
        .seq = NEXT + 1, .syn = true, .has_timestamp = true, .ts_value = TS - 1};

    cr_expect_eq(time_wait_judge(&entry, &segment).action, TIME_WAIT_ACK_LIMITED);
    entry.ts_recent = 0; /* nothing to compare with */
    cr_expect_eq(time_wait_judge(&entry, &segment).action, TIME_WAIT_REOPEN);
}
