#include "core/lent.h"

#include "core/check.h"

bool lent_is_full(const struct session *session, enum side to)
{
    return session->lent[to].count == LENT_SENDS;
}

static uint32_t place_of(const struct lent_queue *queue, uint32_t number)
{
    return (queue->first + number) % LENT_SENDS;
}

uint8_t lent_next_place(const struct session *session, enum side to)
{
    const struct lent_queue *queue = &session->lent[to];

    return (uint8_t)place_of(queue, queue->count);
}

uint32_t lent_bytes(const struct session *session, enum side to)
{
    const struct lent_queue *queue = &session->lent[to];
    uint32_t bytes = 0;

    for (uint32_t i = 0; i < queue->count; i++) {
        bytes += session->lent_bytes[to][place_of(queue, i)];
    }
    return bytes;
}

void lent_push(struct session *session, enum side to, uint32_t bytes)
{
    struct lent_queue *queue = &session->lent[to];
    uint8_t place = lent_next_place(session, to);

    CHECK(queue->count < LENT_SENDS);
    session->lent_bytes[to][place] = bytes;
    queue->waiting |= (uint8_t)(1u << place);
    queue->count++;
}

bool lent_extend(struct session *session, enum side to, uint32_t bytes)
{
    const struct lent_queue *queue = &session->lent[to];

    if (queue->count == 0) {
        return false;
    }
    session->lent_bytes[to][place_of(queue, queue->count - 1u)] += bytes;
    return true;
}

uint32_t lent_return(struct session *session, enum side to, uint8_t places)
{
    struct lent_queue *queue = &session->lent[to];
    uint32_t bytes = 0;

    CHECK((queue->waiting & places) == places);
    queue->waiting &= (uint8_t)~places;
    while (queue->count > 0 && !(queue->waiting & 1u << queue->first)) {
        bytes += session->lent_bytes[to][queue->first];
        queue->first = (uint8_t)place_of(queue, 1);
        queue->count--;
    }
    return bytes;
}

bool lent_blindly(const struct session *session, enum side to)
{
    return session->lent[to].count > 0 && !(session->conn[to].in_flight & CONN_OP_NOTICE);
}

bool lent_check(const struct session *session, enum side to)
{
    const struct lent_queue *queue = &session->lent[to];
    const struct conn *from = &session->conn[to == SIDE_CLIENT ? SIDE_SERVER : SIDE_CLIENT];
    uint8_t places = 0;

    if (queue->first >= LENT_SENDS || queue->count > LENT_SENDS) {
        return false;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        uint32_t place = place_of(queue, i);
        places |= (uint8_t)(1u << place);
        if (session->lent_bytes[to][place] > from->queued_bytes) { /* so that the sum does not overflow */
            return false;
        }
    }
    return (queue->waiting & ~places) == 0 && (queue->count == 0 || (queue->waiting & 1u << queue->first)) &&
           lent_bytes(session, to) <= from->queued_bytes && (queue->count == 0 || from->pipe == PIPE_NONE);
}
