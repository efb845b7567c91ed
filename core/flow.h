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
    FLOW_BUSY = 1, /* claimed, being filled; `tos` holds the claimer's slot */
    FLOW_ACTIVE = 2,
    FLOW_ORPHANED =
        3, /* its session is gone, the kernel's socket not yet: the publisher takes it from here */
    FLOW_FIN_WAIT2 = 4,
    FLOW_TIME_WAIT = 5,
    FLOW_RELEASED = 6, /* free as soon as `expire_ms`, a moment later, has passed */
    FLOW_STATE_COUNT
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
        uint32_t expire_ms;     /* from ORPHANED on: the end, CLOCK_MONOTONIC milliseconds modulo 2^32 */
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
