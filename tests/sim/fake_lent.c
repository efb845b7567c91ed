#include "tests/sim/fake_lent.h"

#include <string.h>

struct lent_world lent_world;

void lent_world_init(void)
{
    memset(&lent_world, 0, sizeof(lent_world));
}

/* The kernel reads it no more: acknowledged, or purged with the connection. */
static bool is_free(const struct net_conn *conn, const struct net_lent *lent)
{
    return lent->length == 0 || conn->reset || lent->position + lent->length <= conn->out_acked;
}

/* A reset frees those of a dead ring, of which no notice comes. */
static bool is_taken(const struct net_conn *conn, const struct net_lent *lent)
{
    return lent->used && (lent->due || !is_free(conn, lent));
}

static void check_content(const struct net_conn *conn, const struct net_lent *lent)
{
    uint64_t position = lent->position;
    uint32_t left = lent->length;

    for (uint32_t i = 0; i < lent->count && left > 0; i++) {
        uint32_t piece = left < lent->vector[i].iov_len ? left : (uint32_t)lent->vector[i].iov_len;
        SIM_CHECK(net_was_sent(conn, position, lent->vector[i].iov_base, piece),
                  "connection %u: bytes at %lu changed while they were lent", conn->id,
                  (unsigned long)position);
        position += piece;
        left -= piece;
    }
}

void lent_begin(struct net_conn *conn, const struct ring_pending *op, uint32_t length)
{
    uint32_t at = 0;

    while (at < LENT_SENDS && is_taken(conn, &conn->lent[at])) {
        at++;
    }
    SIM_CHECK(at < LENT_SENDS, "connection %u: more zero-copy sends than there are places", conn->id);
    struct net_lent *lent = &conn->lent[at];
    *lent = (struct net_lent){
        .used = true,
        .due = true,
        .tag = op->tag,
        .position = conn->out_sent - length,
        .length = length,
        .count = op->count,
    };
    memcpy(lent->vector, op->vector, op->count * sizeof(op->vector[0]));
    lent_world.sends += length > 0;
    ring_touch(conn);
}

void lent_acknowledge(struct net_conn *conn, uint64_t position)
{
    if (position <= conn->out_acked) {
        return;
    }
    for (int i = 0; i < LENT_SENDS; i++) {
        if (conn->lent[i].used && !is_free(conn, &conn->lent[i])) {
            check_content(conn, &conn->lent[i]);
        }
    }
    conn->out_acked = position;
    for (int i = 0; i < LENT_SENDS; i++) {
        struct net_lent *lent = &conn->lent[i];
        lent->used = lent->used && (lent->due || !is_free(conn, lent));
    }
    ring_touch(conn);
}

bool lent_any(const struct net_conn *conn)
{
    for (int i = 0; i < LENT_SENDS; i++) {
        if (conn->lent[i].used && !is_free(conn, &conn->lent[i])) {
            return true;
        }
    }
    return false;
}

uint32_t lent_notify(struct ring *ring, struct net_conn *conn)
{
    uint32_t posted = 0;

    for (int i = 0; i < LENT_SENDS; i++) {
        struct net_lent *lent = &conn->lent[i];
        if (!lent->used || !lent->due || !is_free(conn, lent)) {
            continue;
        }
        if (sim_once_in(3)) { /* another time */
            ring_touch(conn);
            continue;
        }
        struct ring_completion notice = {.tag = lent->tag, .notice = true, .result = sim_below(2) == 0};
        lent->used = false;
        lent_world.notices += lent->length > 0;
        ring_post(ring, &notice, conn->id);
        posted++;
    }
    return posted;
}

void lent_freeze(struct net_conn *conn)
{
    for (int i = 0; i < LENT_SENDS; i++) {
        struct net_lent *lent = &conn->lent[i];
        lent_world.blind += lent->used && lent->due;
        lent->due = false;
        lent->used = lent->used && !is_free(conn, lent);
    }
}

/* Whether the buffer with these bytes is in the chain of what is sent to the side. */
static bool is_in_chain(const struct session *session, enum side to, const void *bytes)
{
    const struct buffer_bank *bank = &sim.worker->bank;
    const uint8_t *address = bytes;

    for (uint32_t id = session->conn[to ^ 1].chain_head; id != BUFFER_NONE;
         id = bank->table.records[id].next) {
        const uint8_t *begin = buffer_bank_address(bank, id);
        if (address >= begin && address < begin + bank->table.records[id].length) {
            return true;
        }
    }
    return false;
}

void lent_verify(uint32_t index, enum side to)
{
    const struct session *session = &sim.sessions[index];
    const struct net_conn *conn = net_at(session->conn[to].fd);

    for (int i = 0; conn != NULL && i < LENT_SENDS; i++) {
        const struct net_lent *lent = &conn->lent[i];
        if (!lent->used || is_free(conn, lent)) {
            continue;
        }
        check_content(conn, lent);
        if (!is_in_chain(session, to, lent->vector[0].iov_base)) {
            sim_fail(index, "side %d: a buffer was taken back while the kernel reads it", to);
        }
    }
}
