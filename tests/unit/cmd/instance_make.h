/*
 * A region as a running instance has it, without an instance: a configuration, sessions, counters.
 */
#ifndef PENSTOCK_TESTS_UNIT_CMD_INSTANCE_MAKE_H
#define PENSTOCK_TESTS_UNIT_CMD_INSTANCE_MAKE_H

#include "cmd/summary.h"
#include "shm/session_slab.h"

/* Names of all kinds, and a server's that has to be escaped. Two workers serve. */
extern struct region made;

/* The server of row 1 as the configuration writes it, and its name. */
#define MADE_STRANGE_SERVER "unix:/run/a\"b\\c"

/* `sessions` records for each of the two workers. */
void instance_make(uint32_t sessions);

/* Begins a session of worker `slot` that came `age_us` ago from 192.0.2.`host`; its record. */
struct session *instance_add_session(uint32_t slot, uint16_t listener_row, uint16_t server_row, uint8_t host,
                                     uint64_t age_us);

/* A summary, read now. */
const struct summary *instance_summary(void);

#endif
