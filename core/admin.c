#include "core/admin.h"

#include <string.h>

enum { WEIGHT_SHIFT = 2, STATE_MASK = (1 << WEIGHT_SHIFT) - 1 };

_Static_assert(IMAGE_WEIGHT_MAX << WEIGHT_SHIFT <= UINT16_MAX, "a weight fits the word");

static const char *const texts[ADMIN_STATE_COUNT] = {"up", "drain", "down"};

uint16_t admin_pack(enum admin_state state, uint32_t weight)
{
    return (uint16_t)(weight << WEIGHT_SHIFT | (uint32_t)state);
}

enum admin_state admin_state_of(uint16_t word)
{
    uint32_t state = word & STATE_MASK;

    return state < ADMIN_STATE_COUNT ? (enum admin_state)state : ADMIN_DOWN;
}

uint32_t admin_weight_of(uint16_t word)
{
    return word >> WEIGHT_SHIFT;
}

uint32_t admin_weight(uint16_t word, uint32_t configured)
{
    uint32_t weight = admin_weight_of(word);

    if (admin_state_of(word) != ADMIN_UP) {
        return 0;
    }
    return weight != 0 ? weight : configured;
}

const char *admin_state_text(enum admin_state state)
{
    return state < ADMIN_STATE_COUNT ? texts[state] : "damaged";
}

bool admin_state_read(const char *text, enum admin_state *state)
{
    for (int i = 0; i < ADMIN_STATE_COUNT; i++) {
        if (strcmp(texts[i], text) == 0) {
            *state = (enum admin_state)i;
            return true;
        }
    }
    return false;
}
