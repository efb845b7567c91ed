/*
 * The flow entry: 64 bytes for one TCP connection, what TCP needs in TIME_WAIT and nothing else.
 *
 * A plain record; shm/flow_table.h places it and owns every atomic access. Addresses are IPv6, IPv4 as
 * ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). "Remote" is the peer, "local" is Penstock's end.
 *
 *    0      1      2      3      4          6          8         12        16        20        24
 *   +------+------+------+------+----------+----------+---------+---------+---------+---------+
 *   |state |flags | tos  |wscale| l. port  | r. port  |expire/  | rcv_nxt | snd_nxt |ts_recent|
 *   |      |      |      |      |          |          |  owner  |         |         |         |
 *   +------+------+------+------+----------+----------+---------+---------+---------+---------+
 *   24        28       30        32                              48                          64
 *   +---------+--------+---------+-------------------------------+---------------------------+
 *   |ts_offset| window |flow low | remote address                | local address             |
 *   +---------+--------+---------+-------------------------------+---------------------------+
 */
#ifndef PENSTOCK_CORE_FLOW_H
#define PENSTOCK_CORE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

enum flow_state {
    FLOW_FREE = 0,
    FLOW_BUSY = 1, /* being changed; `tos` holds who does it: a slot, or FLOW_PROGRAM */
    FLOW_ACTIVE = 2,
    FLOW_ORPHANED = 3, /* its session is gone, the kernel's socket is not: the publisher takes it from here */
    FLOW_FIN_WAIT2 = 4,
    FLOW_TIME_WAIT = 5,
    FLOW_RELEASED = 6, /* free as soon as `expire_ms`, a moment later, has passed */
    FLOW_STATE_COUNT
};

enum {
    FLOW_PROGRAM = 0xff,         /* as a BUSY entry's `tos`: a BPF program, which holds it for microseconds */
    FLOW_GRACE_MS = 1000,        /* nobody who found an entry before it ended touches it any more */
    FLOW_REST_MAX_MS = 3600000,  /* the grace, by a clock that somebody looked at so long ago */
    FLOW_ORPHAN_MS = 600 * 1000, /* then an orphan's end was missed */
    FLOW_TICK_SHIFT = 10,        /* of the 1024 ms that an orphan's age is counted in */
};

/* `flags`, from FIN_WAIT2 on. The high nibble: bits 16 to 19 of the flow label. */
enum {
    FLOW_TIMESTAMPS = 1,   /* negotiated (RFC 7323) */
    FLOW_MICROSECONDS = 2, /* our timestamps count microseconds, else milliseconds */
    FLOW_LABEL_SHIFT = 4,
};

/* Whether an entry in this state stands for a connection. */
static inline bool flow_state_lives(uint8_t state)
{
    return state >= FLOW_ACTIVE && state <= FLOW_TIME_WAIT;
}

/* The first word of an entry, as it is compared and swapped. */
static inline uint32_t flow_head(uint8_t state, uint8_t flags, uint8_t tos, uint8_t window_scales)
{
    return state | (uint32_t)flags << 8 | (uint32_t)tos << 16 | (uint32_t)window_scales << 24;
}

static inline uint8_t flow_head_state(uint32_t head)
{
    return (uint8_t)head;
}

/* ORPHANED since now: `flags` and `tos` hold the time in ticks, so that one swap is all there is to it. */
static inline uint32_t flow_head_orphaned(uint32_t now_ms)
{
    uint32_t ticks = now_ms >> FLOW_TICK_SHIFT;

    return flow_head(FLOW_ORPHANED, (uint8_t)ticks, (uint8_t)(ticks >> 8), 0);
}

/* To a tick. Whoever asks may have looked at the clock before the orphan was made. */
static inline uint32_t flow_orphan_age_ms(uint32_t head, uint32_t now_ms)
{
    int16_t ticks = (int16_t)((now_ms >> FLOW_TICK_SHIFT) - (head >> 8));

    return ticks > 0 ? (uint32_t)ticks << FLOW_TICK_SHIFT : 0;
}

/* Whether an entry's time was over `grace_ms` ago. */
static inline bool flow_has_ended(uint32_t head, uint32_t expire_ms, uint32_t now_ms, int32_t grace_ms)
{
    switch (flow_head_state(head)) {
    case FLOW_ORPHANED:
        return flow_orphan_age_ms(head, now_ms) >= FLOW_ORPHAN_MS;
    case FLOW_FIN_WAIT2:
    case FLOW_TIME_WAIT:
        return (int32_t)(now_ms - expire_ms) >= grace_ms;
    default:
        return false;
    }
}

/* Whether a slot may be taken by whoever swaps its first word. */
static inline bool flow_is_takeable(uint32_t head, uint32_t expire_ms, uint32_t now_ms)
{
    if (flow_head_state(head) == FLOW_RELEASED) {
        return expire_ms - now_ms - 1 >= FLOW_REST_MAX_MS; /* it is over, be it for weeks */
    }
    return flow_head_state(head) == FLOW_FREE || flow_has_ended(head, expire_ms, now_ms, FLOW_GRACE_MS);
}

struct flow_key {
    uint16_t local_port; /* host order */
    uint16_t remote_port;
    uint8_t remote[16];
    uint8_t local[16];
};

struct flow_entry {
    uint8_t state; /* enum flow_state; atomic together with the three bytes after it */
    uint8_t flags;
    uint8_t tos;           /* IPv4: TOS, IPv6: traffic class; without ECN's bits */
    uint8_t window_scales; /* low nibble ours, high nibble the peer's */
    uint16_t local_port;
    uint16_t remote_port;
    union {
        uint32_t expire_ms;     /* from FIN_WAIT2 on: the end, CLOCK_MONOTONIC milliseconds modulo 2^32 */
        uint32_t session_index; /* ACTIVE: the session in its owner's slab; `tos` holds the owner's slot */
    };
    uint32_t rcv_nxt;
    uint32_t snd_nxt;
    uint32_t ts_recent;
    uint32_t ts_offset;
    uint16_t window; /* as in the header: scaled, host order */
    uint16_t flow_label_low;
    uint8_t remote[16];
    uint8_t local[16];
};

_Static_assert(sizeof(struct flow_entry) == 64, "the promise: 64 bytes, IPv4 and IPv6");

/* A hash of the tuple; `seed` keeps an attacker from choosing buckets. */
uint64_t flow_hash(const struct flow_key *key, uint64_t seed);

bool flow_matches(const struct flow_entry *entry, const struct flow_key *key);

const char *flow_state_text(enum flow_state state);

#endif
