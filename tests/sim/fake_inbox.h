/*
 * The inbox of the simulated worker: one message with all listening sockets, there until it is taken away.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_INBOX_H
#define PENSTOCK_TESTS_SIM_FAKE_INBOX_H

#include <stdbool.h>
#include <stdint.h>

/* Sends the sockets for the first `sockets` places. */
void inbox_fill(uint32_t sockets);

/* Whether a socket stands at a place. */
bool inbox_is_placed(uint32_t place);

/* Closes what stands at a place; what is only in the message stays open. */
void inbox_retire(uint32_t place);

#endif
