#include "core/wheel.h"

#include <string.h>

void wheel_init(struct wheel *wheel, struct session *sessions, uint64_t now_ms)
{
    wheel->sessions = sessions;
    wheel->now_tick = now_ms / WHEEL_TICK_MS;
    memset(wheel->heads, 0xff, sizeof(wheel->heads)); /* SESSION_NONE */
    memset(wheel->occupied, 0, sizeof(wheel->occupied));
}

void wheel_set(struct wheel *wheel, uint32_t index, uint64_t due_ms)
{
    struct session *session = &wheel->sessions[index];

    wheel_remove(wheel, index);
    if (due_ms == UINT64_MAX) {
        return;
    }
    uint64_t tick = (due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
    if (tick <= wheel->now_tick) {
        tick = wheel->now_tick + 1;
    }
    if (tick >= wheel->now_tick + WHEEL_SLOTS) {
        tick = wheel->now_tick + WHEEL_SLOTS - 1;
    }
    uint32_t slot = tick % WHEEL_SLOTS;
    session->wheel_slot = slot;
    session->wheel_prev = SESSION_NONE;
    session->wheel_next = wheel->heads[slot];
    if (session->wheel_next != SESSION_NONE) {
        wheel->sessions[session->wheel_next].wheel_prev = index;
    }
    wheel->heads[slot] = index;
    wheel->occupied[slot / 64] |= 1ull << (slot % 64);
}

void wheel_remove(struct wheel *wheel, uint32_t index)
{
    struct session *session = &wheel->sessions[index];
    uint32_t slot = session->wheel_slot;

    if (slot == SESSION_NONE) {
        return;
    }
    if (session->wheel_prev != SESSION_NONE) {
        wheel->sessions[session->wheel_prev].wheel_next = session->wheel_next;
    } else {
        wheel->heads[slot] = session->wheel_next;
    }
    if (session->wheel_next != SESSION_NONE) {
        wheel->sessions[session->wheel_next].wheel_prev = session->wheel_prev;
    }
    if (wheel->heads[slot] == SESSION_NONE) {
        wheel->occupied[slot / 64] &= ~(1ull << (slot % 64));
    }
    session->wheel_slot = SESSION_NONE;
}

/* Ticks from now_tick to the first occupied slot, WHEEL_SLOTS if there is none. */
static uint32_t ticks_ahead(const struct wheel *wheel)
{
    uint32_t start = wheel->now_tick % WHEEL_SLOTS;

    for (uint32_t i = 0; i <= WHEEL_SLOTS / 64; i++) {
        uint32_t word = (start / 64 + i) % (WHEEL_SLOTS / 64);
        uint64_t bits = wheel->occupied[word];
        if (i == 0) {
            bits &= ~0ull << (start % 64);
        } else if (i == WHEEL_SLOTS / 64) {
            bits &= ~(~0ull << (start % 64));
        }
        if (bits != 0) {
            uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
            return (slot - start) % WHEEL_SLOTS;
        }
    }
    return WHEEL_SLOTS;
}

uint32_t wheel_take(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t now_tick = now_ms / WHEEL_TICK_MS;
    uint32_t ahead = ticks_ahead(wheel);

    if (ahead == WHEEL_SLOTS || wheel->now_tick + ahead > now_tick) {
        if (now_tick > wheel->now_tick) {
            wheel->now_tick = now_tick;
        }
        return SESSION_NONE;
    }
    wheel->now_tick += ahead;
    uint32_t index = wheel->heads[wheel->now_tick % WHEEL_SLOTS];
    wheel_remove(wheel, index);
    return index;
}

uint32_t wheel_wait_ms(const struct wheel *wheel, uint64_t now_ms)
{
    uint32_t ahead = ticks_ahead(wheel);
    uint64_t due_ms = (wheel->now_tick + ahead) * WHEEL_TICK_MS;

    if (ahead == WHEEL_SLOTS) {
        return UINT32_MAX;
    }
    return due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 0;
}
