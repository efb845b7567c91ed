/*
 * The books: every line of the access log and every counter against what the peers and the fake kernel know.
 */
#ifndef PENSTOCK_TESTS_SIM_LEDGER_H
#define PENSTOCK_TESTS_SIM_LEDGER_H

#include "tests/sim/fake_net.h"

struct ledger {
    uint64_t lines;
    uint64_t closes[CLOSE_REASON_COUNT];
    uint64_t unmapped; /* lines of sessions that never asked for a connect */
};

extern struct ledger ledger;

void ledger_init(void);
void ledger_free(void);

/* An operator has given the order to end the session. */
void ledger_note_kill(uint64_t serial);

/* Reads the log's new lines, as the logger does. */
void ledger_read(void);

/* What all slots have counted. */
struct slot_stats ledger_stats(void);

/* The run is over: every session, every byte and every counter. */
void ledger_close(void);

#endif
