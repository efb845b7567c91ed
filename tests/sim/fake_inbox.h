/*
 * The inboxes of the simulated workers: one message with all listening sockets, there until it is taken away.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_INBOX_H
#define PENSTOCK_TESTS_SIM_FAKE_INBOX_H

#include <stdbool.h>
#include <stdint.h>

/* Sends a worker the sockets for the first `sockets` places. */
void inbox_fill(uint32_t number, uint32_t sockets);

/* Whether a worker has no listening socket, nor will have. */
bool inbox_is_empty(uint32_t number);

/* Whether a socket stands at a place. */
bool inbox_is_placed(uint32_t place);

/* Closes what stands at a place. A socket is open as long as any worker has it. */
void inbox_retire(uint32_t place);

#endif
