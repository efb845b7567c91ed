/*
 * The inboxes of the simulated workers: one message with all listening sockets, there until it is taken away.
 */
#ifndef PENSTOCK_TESTS_SIM_FAKE_INBOX_H
#define PENSTOCK_TESTS_SIM_FAKE_INBOX_H

#include <stdbool.h>
#include <stdint.h>

void inbox_world_init(void);

/* Sends a worker the sockets for the first `sockets` places, for an image that may be to come. */
void inbox_hand(uint32_t number, uint32_t sockets, uint64_t generation);

/* A new keeper begins: nothing stands at any place. */
void inbox_begin(uint32_t number);

/* Whether a worker has no listening socket, nor will have. */
bool inbox_is_empty(uint32_t number);

/* Whether a socket stands at a place. */
bool inbox_is_placed(uint32_t place);

/* Closes what stands at a place. A socket is open as long as any worker has it. */
void inbox_retire(uint32_t place);

#endif
