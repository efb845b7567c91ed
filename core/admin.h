/*
 * What an operator has said of a server, whatever the file says: whether it takes new sessions, and another weight.
 *
 * A word of 16 bits, so that it is read and changed as a whole. 0 is a server nobody has said anything of.
 *
 *     bits 0-1   enum admin_state
 *     bits 2-11  weight, 1..IMAGE_WEIGHT_MAX; 0: the file's
 */
#ifndef PENSTOCK_CORE_ADMIN_H
#define PENSTOCK_CORE_ADMIN_H

#include "core/image.h"

enum admin_state {
    ADMIN_UP = 0,
    ADMIN_DRAIN = 1, /* no new sessions: it is to be emptied */
    ADMIN_DOWN = 2,  /* no new sessions: it is out of service */
    ADMIN_STATE_COUNT
};

uint16_t admin_pack(enum admin_state state, uint32_t weight);

/* A word that is none is of a server that is down. */
enum admin_state admin_state_of(uint16_t word);

/* 0: the file's. */
uint32_t admin_weight_of(uint16_t word);

/* The weight for new sessions, where the file says `configured`; 0: it gets none. */
uint32_t admin_weight(uint16_t word, uint32_t configured);

const char *admin_state_text(enum admin_state state);

/* False where there is no such state. */
bool admin_state_read(const char *text, enum admin_state *state);

#endif
