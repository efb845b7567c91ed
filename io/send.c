#include "io/send.h"

#include <string.h>

#include "core/lent.h"
#include "io/relay.h"
#include "io/sock.h"
#include "shm/fault_point.h"

enum {
    ZERO_COPY_MIN_BYTES = 16 * 1024, /* pinning pages and the notice cost more than copying less than this */
    /* Parts of a share: one send lends no more, so a late acknowledgement stops no stream. */
    ZERO_COPY_SHARES = 4,
    ZERO_COPY_AT_ONCE = 1024, /* their notices come beside the completions of sessions: io/worker.c */
    LENT_LOOK_MAX_MS = 1000,
};

/* The large buffers run short: small messages move to small buffers. */
static bool under_pressure(const struct worker *worker)
{
    const struct buffer_stack *large = &worker->bank.stacks[BUFFER_LARGE];

    return large->count < large->total / 4;
}

/* Moves a small remainder out of a large buffer when those run short. */
static void compact(struct worker *worker, struct conn *from)
{
    struct buffer_bank *bank = &worker->bank;
    uint32_t head = from->chain_head;

    if (!under_pressure(worker) || head != from->chain_tail || from->queued_bytes > BUFFER_SMALL_BYTES ||
        buffer_bank_class(bank, head) != BUFFER_LARGE) {
        return;
    }
    uint32_t small = buffer_bank_acquire(bank, BUFFER_SMALL);
    if (small == BUFFER_NONE) {
        return;
    }
    memcpy(buffer_bank_address(bank, small), buffer_bank_address(bank, head) + from->chain_offset,
           from->queued_bytes);
    relay_save(worker, &bank->table.records[small], sizeof(bank->table.records[small]));
    uint32_t large = chain_replace(from, &bank->table, small);
    FAULT_POINT(COMPACTED);
    buffer_bank_release(bank, large);
}

/* Gathers what follows the first `skip` bytes of the chain, whole buffers until it is `enough`. Returns the bytes. */
static uint32_t gather(const struct worker *worker, const struct conn *from, uint32_t skip, uint32_t enough,
                       struct iovec vector[RING_SEND_VECTOR], uint32_t *count)
{
    const struct buffer_record *records = worker->bank.table.records;
    uint32_t id = from->chain_head;
    uint32_t offset = from->chain_offset + skip;
    uint32_t bytes = 0;

    for (; offset >= records[id].length; id = records[id].next) {
        offset -= records[id].length;
    }
    for (*count = 0; id != BUFFER_NONE && *count < RING_SEND_VECTOR && bytes < enough;
         id = records[id].next) {
        vector[(*count)++] = (struct iovec){
            .iov_base = buffer_bank_address(&worker->bank, id) + offset,
            .iov_len = records[id].length - offset,
        };
        bytes += records[id].length - offset;
        offset = 0;
    }
    return bytes;
}

/* Whether a send may be zero-copy. Not where buffers are scarce: they come back late. */
static bool may_lend(const struct worker *worker, const struct session *session, enum side to)
{
    return (session->flags & SESSION_ZERO_COPY << to) && !lent_is_full(session, to) &&
           relay_share(worker) >= ZERO_COPY_SHARES * ZERO_COPY_MIN_BYTES &&
           worker->notices_due < ZERO_COPY_AT_ONCE;
}

void send_submit(struct worker *worker, struct session *session, enum side to, struct ring_tag tag)
{
    struct conn *from = &session->conn[to == SIDE_CLIENT ? SIDE_SERVER : SIDE_CLIENT];
    bool may = may_lend(worker, session, to);
    struct iovec vector[RING_SEND_VECTOR];
    uint32_t count = 0;

    if (session->lent[to].count == 0) {
        compact(worker, from);
    }
    uint32_t offered = gather(worker, from, lent_bytes(session, to),
                              may ? relay_share(worker) / ZERO_COPY_SHARES : UINT32_MAX, vector, &count);
    if (may && offered >= ZERO_COPY_MIN_BYTES) {
        tag.zero_copy = true;
        tag.place = lent_next_place(session, to);
        worker->notices_due++;
    }
    session->conn[to].offered_bytes = offered;
    ring_send(worker->ring, tag, session->conn[to].fd, vector, count);
    FAULT_POINT(SEND_FILLED);
    session->conn[to].in_flight |= CONN_OP_SEND;
}

void send_ended(struct worker *worker, const struct session *session,
                const struct ring_completion *completion)
{
    bool taken = completion->notice && session->lent_bytes[completion->tag.side][completion->tag.place] > 0;

    relay_count(worker, &worker->slot->stats.zero_copy_sends, taken);
    relay_count(worker, &worker->slot->stats.zero_copy_copied, taken && completion->result != 0);
    worker->notices_due -= !worker->adopting; /* the dead worker's are not counted any more */
}

uint64_t send_look_ms(const struct worker *worker, const struct session *session)
{
    uint64_t pause_ms = worker->now_ms - session->active_ms;

    if (!lent_blindly(session, SIDE_CLIENT) && !lent_blindly(session, SIDE_SERVER)) {
        return UINT64_MAX;
    }
    return worker->now_ms + (pause_ms < LENT_LOOK_MAX_MS ? pause_ms : LENT_LOOK_MAX_MS);
}

void send_look(struct worker *worker, uint32_t index)
{
    const struct session *session = &worker->slab.sessions[index];

    for (int side = 0; side < SIDE_COUNT; side++) {
        if (session->phase == SESSION_OPEN && lent_blindly(session, side) &&
            sock_is_drained(session->conn[side].fd)) {
            relay_dispatch(worker, index,
                           &(struct relay_event){
                               .kind = RELAY_RETURNED, .side = side, .places = session->lent[side].waiting});
        }
    }
}
