/*
 * What TIME_WAIT, and FIN_WAIT2 that nobody holds a socket for, answer to a segment: a pure function of the flow entry
 * and the segment.
 *
 * RFC 9293, 3.10.7.4, with RFC 1337 (no assassination), RFC 5961 (challenge ACKs), RFC 6191 (a new SYN) and RFC 7323
 * (PAWS). Header only: the responder, a BPF program, and user space share it.
 */
#ifndef PENSTOCK_CORE_TIME_WAIT_H
#define PENSTOCK_CORE_TIME_WAIT_H

#include "core/flow.h"

struct time_wait_segment {
    uint32_t seq;
    uint32_t length; /* payload in bytes */
    uint32_t ts_value;
    bool has_timestamp;
    bool syn;
    bool ack;
    bool fin;
    bool rst;
};

enum time_wait_action {
    TIME_WAIT_DROP,
    TIME_WAIT_ACK,
    TIME_WAIT_ACK_LIMITED, /* so many in a time only: what is answered need not come from the peer */
    TIME_WAIT_END,         /* the entry goes, the segment is dropped */
    TIME_WAIT_REFUSE, /* the entry goes, the segment is passed on: the kernel knows no socket and resets */
    TIME_WAIT_REOPEN, /* a new connection: where somebody listens as TIME_WAIT_REFUSE, else TIME_WAIT_ACK_LIMITED */
};

struct time_wait_verdict {
    enum time_wait_action action;
    bool fin;            /* the peer's FIN: FIN_WAIT2 becomes TIME_WAIT, rcv_nxt counts it */
    bool restart;        /* 2MSL begins anew */
    bool note_timestamp; /* ts_recent becomes the segment's */
};

/* Serial numbers: modulo 2^32 (RFC 1982). */
static inline bool time_wait_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

static inline uint32_t time_wait_segment_end(const struct time_wait_segment *segment)
{
    return segment->seq + segment->length + segment->syn + segment->fin;
}

static inline bool time_wait_in_window(const struct flow_entry *entry,
                                       const struct time_wait_segment *segment)
{
    uint32_t end = time_wait_segment_end(segment);
    uint32_t limit = entry->rcv_nxt + ((uint32_t)entry->window << (entry->window_scales & 15));

    return segment->seq == entry->rcv_nxt ||
           (time_wait_after(end, entry->rcv_nxt) && time_wait_after(limit, segment->seq)) ||
           (segment->seq == limit && end == segment->seq);
}

/* What carries neither data nor FIN may be an answer itself, and a SYN anybody's. */
static inline enum time_wait_action time_wait_ack_of(const struct time_wait_segment *segment)
{
    bool empty = time_wait_segment_end(segment) == segment->seq;

    return empty || segment->syn ? TIME_WAIT_ACK_LIMITED : TIME_WAIT_ACK;
}

static inline struct time_wait_verdict time_wait_judge_fin_wait2(const struct flow_entry *entry,
                                                                 const struct time_wait_segment *segment,
                                                                 bool old)
{
    uint32_t end = time_wait_segment_end(segment);
    bool exact = segment->seq == entry->rcv_nxt;
    bool in_window = !old && time_wait_in_window(entry, segment);

    if (segment->rst) {
        return (struct time_wait_verdict){
            .action = !in_window ? TIME_WAIT_DROP : (exact ? TIME_WAIT_END : TIME_WAIT_ACK_LIMITED),
        };
    }
    if (!in_window) {
        return (struct time_wait_verdict){.action = time_wait_ack_of(segment)};
    }
    if (segment->syn) {
        return (struct time_wait_verdict){.action = TIME_WAIT_ACK_LIMITED};
    }
    if (!segment->ack || end == segment->seq || !time_wait_after(end, entry->rcv_nxt)) {
        return (struct time_wait_verdict){.action = TIME_WAIT_DROP};
    }
    if (!segment->fin || end != entry->rcv_nxt + 1) {
        return (struct time_wait_verdict){.action = TIME_WAIT_REFUSE};
    }
    return (struct time_wait_verdict){
        .action = TIME_WAIT_ACK,
        .fin = true,
        .restart = true,
        .note_timestamp = segment->has_timestamp,
    };
}

static inline struct time_wait_verdict time_wait_judge_time_wait(const struct flow_entry *entry,
                                                                 const struct time_wait_segment *segment,
                                                                 bool old)
{
    bool newer = segment->has_timestamp && time_wait_after(segment->ts_value, entry->ts_recent);

    if (segment->rst) {
        return (struct time_wait_verdict){.action = TIME_WAIT_DROP};
    }
    if (!old && segment->seq == entry->rcv_nxt && time_wait_segment_end(segment) == segment->seq) {
        return (struct time_wait_verdict){
            .action = TIME_WAIT_DROP,
            .restart = true,
            .note_timestamp = segment->has_timestamp,
        };
    }
    if (segment->syn && !segment->ack && !old && (time_wait_after(segment->seq, entry->rcv_nxt) || newer)) {
        return (struct time_wait_verdict){.action = TIME_WAIT_REOPEN};
    }
    return (struct time_wait_verdict){.action = time_wait_ack_of(segment), .restart = old || segment->ack};
}

/* `segment` has a timestamp only if the connection negotiated them. */
static inline struct time_wait_verdict time_wait_judge(const struct flow_entry *entry,
                                                       const struct time_wait_segment *segment)
{
    bool old = segment->has_timestamp && entry->ts_recent != 0 &&
               time_wait_after(entry->ts_recent, segment->ts_value);

    return entry->state == FLOW_FIN_WAIT2 ? time_wait_judge_fin_wait2(entry, segment, old)
                                          : time_wait_judge_time_wait(entry, segment, old);
}

#endif
