/*
 * As many connections through Penstock as a test wants, each with an exchange of bytes: clients and servers are
 * the load tools, in the namespace of the peers' kernel, which keeps no TIME_WAIT of its own.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_CROWD_H
#define PENSTOCK_TESTS_E2E_HARNESS_CROWD_H

#include <stdbool.h>

#include "tests/e2e/harness_tools.h"

/* Starts servers, one of each family. */
void crowd_begin(void);

/* Elements of `servers`. */
const char *crowd_servers(void);

/* Starts the clients of so many sessions. Penstock listens at bed.port of LAB_SERVER and LAB_SERVER6. Its
 * end toward the client closes first in one half of them, its end toward the server in the other. */
void crowd_start(unsigned sessions);

bool crowd_is_done(void);

/* Waits for the clients' end: none may have seen a RST or a wrong byte. */
void crowd_finish(struct load_totals *totals);

/* Ends the servers, which may have seen none either. */
void crowd_end(void);

#endif
