/*
 * Connections of the hand-made peer to the server, led to the state that a test asks about.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_CONVERSATION_H
#define PENSTOCK_TESTS_E2E_HARNESS_CONVERSATION_H

#include "tests/e2e/harness_lab.h"

/* How the server's end came where it is: it closed first. */
enum conversation_end {
    END_FIN_WAIT2,  /* it holds no socket, the peer's FIN is to come */
    END_ORPHANED,   /* TIME_WAIT out of that */
    END_HALF_CLOSE, /* TIME_WAIT, the socket was there until then */
    END_CLOSING,    /* TIME_WAIT, the FINs crossed */
};

struct conversation {
    struct lab_peer peer;
    int listener;
    int server; /* accepted */
    uint32_t first_seq;
    uint32_t first_server_seq;
    uint32_t first_ts_value;
    uint32_t first_ts_echo;
    uint32_t flow_label;
    uint64_t began_ms;
    uint64_t synchronized_ms;
};

/* Connects, and sends CONVERSATION_BYTES which the server reads. */
enum { CONVERSATION_BYTES = 1000, CONVERSATION_TOS = 0x48, CONVERSATION_STEP = 1000 };
struct conversation conversation_begin(bool ipv6, bool timestamps);

/* The same through a proxy that listens at `port`; its server accepts from `listener`, the test's. */
struct conversation conversation_through(uint16_t port, int listener, bool ipv6, bool timestamps);

/* Leads it to its end; the peer's snd_nxt and rcv_nxt are then what the two ends agreed on. */
void conversation_end(struct conversation *conversation, enum conversation_end end);

/* Waits for an answer that has this flag. */
struct lab_answer conversation_await(const struct conversation *conversation, uint8_t flag);

void conversation_fini(struct conversation *conversation);

#endif
