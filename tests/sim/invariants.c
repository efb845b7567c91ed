#include "tests/sim/invariants.h"

#include <stdlib.h>
#include <string.h>

#include "core/share.h"
#include "io/upstream.h"
#include "tests/sim/crew.h"
#include "tests/sim/fake_lent.h"
#include "tests/sim/fake_pipe.h"
#include "tests/sim/fake_tcp.h"

static uint8_t *holders;                 /* by buffer: how many hold it */
static uint8_t pipe_holders[PIPE_COUNT]; /* by pipe, likewise */
static uint8_t *resuming;                /* by session: in the queue of an adoption */
/* By worker and session: the turns that it would have had, to be resumed, with an even chance. */
static double *passed_over[SIM_CREW_MAX];

/* With an even chance somebody is passed over so often once in e^30 times. */
static const double PASSED_OVER_MAX = 30;

/* A round through the table, a lease, and deaths between. */
enum { SWEPT_WITHIN_MS = FLOW_TWO_MSL_MS / FLOW_SWEEP_ROUNDS + 2 * FLOW_SWEEP_LEASE_MS + 10000 };

void invariants_init(void)
{
    holders = calloc(sim.region->header->large_per_slot + sim.region->header->small_per_slot, 1);
    resuming = calloc(sim.config->slab, 1);
    SIM_CHECK(holders != NULL && resuming != NULL, "no memory");
    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        passed_over[i] = calloc(sim.config->slab, sizeof(double));
        SIM_CHECK(passed_over[i] != NULL, "no memory");
    }
}

void invariants_free(void)
{
    free(holders);
    free(resuming);
    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        free(passed_over[i]);
    }
}

static const struct worker *worker(void)
{
    return sim.worker;
}

struct totals {
    uint32_t active, directions, waiting, timed, descriptors;
};

/* A pipe is lent as long as bytes are in it, instead of a chain, and never to two. */
static void check_pipe(uint32_t index, enum side side, const struct net_conn *net_side)
{
    const struct conn *conn = &sim.sessions[index].conn[side];

    if (conn->pipe == PIPE_NONE) {
        return;
    }
    if (conn->pipe >= PIPE_COUNT || pipe_holders[conn->pipe]++ > 0) {
        sim_fail(index, "side %d has pipe %u, which is another's", side, conn->pipe);
    }
    if (conn->chain_head != BUFFER_NONE || conn->held_bytes != 0) {
        sim_fail(index, "side %d has a pipe and a chain", side);
    }
    if (conn->queued_bytes == 0 || conn->queued_bytes != pipe_holds(conn->pipe)) {
        sim_fail(index, "side %d: pipe %u has %u bytes in it, the record says %u", side, conn->pipe,
                 pipe_holds(conn->pipe), conn->queued_bytes);
    }
    if (net_side != NULL && pipe_stream(conn->pipe) != net_side->id) {
        sim_fail(index, "side %d: pipe %u has bytes of connection %u", side, conn->pipe,
                 pipe_stream(conn->pipe));
    }
}

static void check_conn(uint32_t index, enum side side, struct totals *totals)
{
    const struct session *session = &sim.sessions[index];
    const struct conn *conn = &session->conn[side];
    const struct buffer_table *table = &worker()->bank.table;

    if (!chain_check(conn, table)) {
        sim_fail(index, "the chain of side %d is broken", side);
    }
    for (uint32_t id = conn->chain_head; id != BUFFER_NONE; id = table->records[id].next) {
        holders[id]++;
    }
    totals->directions += conn->held_bytes > 0;
    totals->waiting += (conn->flags & CONN_WAITING) != 0;
    uint32_t ring_worth = worker()->ring_entries[BUFFER_LARGE] * BUFFER_LARGE_BYTES +
                          worker()->ring_entries[BUFFER_SMALL] * BUFFER_SMALL_BYTES;
    if (conn->held_bytes > SHARE_MAX_BYTES + ring_worth || conn->held_bytes > sim.config->bank_bytes) {
        sim_fail(index, "side %d holds %u bytes", side, conn->held_bytes);
    }
    check_pipe(index, side, net_at(conn->fd));
    if (conn->fd < 0) {
        return;
    }
    totals->descriptors++;
    const struct net_conn *net_side = net_at(conn->fd);
    if (net_side == NULL || net_side->cookie != conn->cookie || net_side->server != (side == SIDE_SERVER)) {
        sim_fail(index, "descriptor %d of side %d is not its own", conn->fd, side);
    }
    uint8_t notices = net_side->notices > 0 ? CONN_OP_NOTICE : 0;
    if (conn->in_flight != (net_side->outstanding | net_side->unseen | notices)) {
        sim_fail(index, "side %d: in flight %x, in the ring %x, completed %x, %u notices", side,
                 conn->in_flight, net_side->outstanding, net_side->unseen, net_side->notices);
    }
    lent_verify(index, side);
    if (!net_side->nonblocking && (conn->flags & CONN_NONBLOCKING)) {
        sim_fail(index, "the socket of side %d is blocking, the record says it is not", side);
    }
    if (conn->received_bytes > net_side->in_read) {
        sim_fail(index, "side %d has received %lu bytes of %lu", side, (unsigned long)conn->received_bytes,
                 (unsigned long)net_side->in_read);
    }
}

static void check_session(uint32_t index, struct totals *totals)
{
    const struct session *session = &sim.sessions[index];

    if (!session_check(session)) {
        sim_fail(index, "the record is broken");
    }
    totals->active++;
    totals->timed += session->wheel_slot != SESSION_NONE;
    for (int side = 0; side < SIDE_COUNT; side++) {
        check_conn(index, side, totals);
    }
    if (resuming[index]) {
        return;
    }
    struct image_timeouts timeouts = upstream_timeouts(worker(), session);
    bool due = session_due_ms(session, &timeouts) != UINT64_MAX;
    if (due && session->wheel_slot == SESSION_NONE) {
        sim_fail(index, "it has a deadline and is not in the wheel");
    }
    if (session->phase == SESSION_CHOOSING) {
        sim_fail(index, "still choosing");
    }
}

/* Nothing comes to a session that an adoption has yet to resume. */
static void check_resuming(void)
{
    const struct resume_queue *queue = &worker()->resuming;
    uint32_t last = SESSION_NONE;

    memset(resuming, 0, sim.config->slab);
    for (uint32_t n = 0, index = queue->head; n < queue->count; n++) {
        if (index >= sim.slot->session_high || resuming[index]) {
            sim_fail(SESSION_NONE, "broken in the queue of an adoption: %u", index);
        }
        const struct session *session = &sim.sessions[index];
        resuming[index] = 1;
        bool untouched = session->phase != SESSION_FREE && session->wheel_slot == SESSION_NONE;
        for (int side = 0; side < SIDE_COUNT; side++) {
            untouched = untouched && session->conn[side].in_flight == 0 &&
                        (session->conn[side].flags & (CONN_WAITING | CONN_BLOCKED | CONN_WATCHED)) == 0;
        }
        if (!untouched) {
            sim_fail(index, "something came to it before it was resumed");
        }
        last = index;
        index = session->wheel_next;
    }
    SIM_CHECK(queue->count == 0 || queue->tail == last, "the end of the queue of an adoption");
}

/* Marks those that wait to be resumed; returns which part of all was. */
static double mark_resuming(void)
{
    const struct resume_queue *queue = &worker()->resuming;
    uint32_t resumed = 0;

    memset(resuming, 0, sim.config->slab);
    for (uint32_t n = 0, index = queue->head; n < queue->count && index != SESSION_NONE; n++) {
        resuming[index] = 1;
        index = sim.sessions[index].wheel_next;
    }
    for (uint32_t index = 0; index < sim.slot->session_high; index++) {
        const struct session *session = &sim.sessions[index];
        bool is_old = session->phase != SESSION_FREE && session->accepted_us < sim.slot->adopted_us;
        resumed += is_old && !resuming[index];
    }
    return (double)resumed / (resumed + queue->count + 1);
}

void invariants_check_death(void)
{
    if (worker()->ring == NULL || worker()->adopting) { /* it has no queue yet */
        return;
    }
    double part = mark_resuming();
    for (uint32_t index = 0; index < sim.config->slab; index++) {
        double *turns = &passed_over[sim.at][index];
        *turns = resuming[index] ? *turns + part : 0;
        if (*turns > PASSED_OVER_MAX) {
            sim_fail(index, "its turn to be resumed does not come");
        }
    }
}

static void check_wheel(const struct totals *totals)
{
    const struct wheel *wheel = &worker()->wheel;
    uint32_t found = 0;

    for (uint32_t slot = 0; slot < WHEEL_SLOTS; slot++) {
        if (slot % 64 == 0 && wheel->occupied[slot / 64] == 0) {
            slot += 63;
            continue;
        }
        uint32_t previous = SESSION_NONE;
        for (uint32_t index = wheel->heads[slot]; index != SESSION_NONE;) {
            const struct session *session = &sim.sessions[index];
            bool linked = session->wheel_slot == slot && session->wheel_prev == previous;
            if (!linked || session->phase == SESSION_FREE || ++found > totals->timed) {
                sim_fail(index, "broken in slot %u of the wheel", slot);
            }
            previous = index;
            index = session->wheel_next;
        }
    }
    SIM_CHECK(found == totals->timed, "%u sessions in the wheel, %u believe they are", found, totals->timed);
}

static void check_queue(const struct totals *totals)
{
    const struct wait_queue *queue = &worker()->waiting;
    uint32_t previous = SESSION_NONE;
    uint32_t found = 0;

    for (uint32_t handle = queue->head; handle != SESSION_NONE;) {
        const struct conn *conn = &sim.sessions[handle / SIDE_COUNT].conn[handle % SIDE_COUNT];
        bool linked = conn->wait_prev == previous && (conn->flags & CONN_WAITING);
        if (!linked || ++found > totals->waiting) {
            sim_fail(handle / SIDE_COUNT, "broken in the queue of receivers");
        }
        previous = handle;
        handle = conn->wait_next;
    }
    SIM_CHECK(queue->tail == previous && found == totals->waiting && found == queue->count,
              "%u receivers queued, %u counted, %u believe they are", found, queue->count, totals->waiting);
}

static void check_ring_buffers(int class)
{
    const struct ring_group *group = &ring_world->live->groups[class];
    const uint32_t *ring_buffers = sim.slot->ring_buffers[class];
    uint32_t filled = 0;

    SIM_CHECK(group->entries == worker()->ring_entries[class], "size of buffer ring %d", class);
    for (uint32_t id = 0; id < SLOT_RING_BUFFERS; id++) {
        bool present = ring_buffers[id] != BUFFER_NONE;
        SIM_CHECK(present == (group->states[id] != RING_ID_ABSENT), "buffer ring %d: id %u", class, id);
        if (present) {
            filled++;
            holders[ring_buffers[id]]++;
        }
    }
    SIM_CHECK(filled == worker()->ring_filled[class], "buffer ring %d: %u filled, %u counted", class, filled,
              worker()->ring_filled[class]);
    for (uint32_t at = group->head; at != group->tail; at++) {
        const struct ring_given *given = &group->given[at % group->entries];
        SIM_CHECK(given->address == buffer_bank_address(&worker()->bank, ring_buffers[given->id]),
                  "buffer ring %d: id %u is another buffer", class, given->id);
    }
}

/* Whether a reload took the buffer from what may be lent. */
static bool is_withdrawn(const struct buffer_bank *bank, uint32_t id)
{
    enum buffer_class class = buffer_bank_class(bank, id);
    uint32_t first = class == BUFFER_LARGE ? 0 : bank->table.large_count;

    return id - first >= bank->stacks[class].total;
}

static void check_buffers(void)
{
    const struct buffer_bank *bank = &worker()->bank;

    for (int class = 0; class < BUFFER_CLASSES; class ++) {
        check_ring_buffers(class);
        for (uint32_t i = 0; i < bank->stacks[class].count; i++) {
            holders[bank->stacks[class].ids[i]]++;
        }
    }
    for (uint32_t id = 0; id < bank->table.count; id++) {
        SIM_CHECK(holders[id] == 1 || (holders[id] == 0 && is_withdrawn(bank, id)),
                  "buffer %u is held %u times", id, holders[id]);
    }
}

/* The pipes nobody holds are empty, and there once. */
static void check_pipes(void)
{
    for (uint32_t i = 0; i < worker()->pipes_free + sim.away->count; i++) {
        uint32_t free = worker()->pipes_free;
        uint16_t pipe = i < free ? worker()->pipes[i] : sim.away->ids[i - free];
        SIM_CHECK(pipe < PIPE_COUNT && pipe_holds(pipe) == 0, "pipe %u is free, with %u bytes in it", pipe,
                  pipe_holds(pipe));
        pipe_holders[pipe]++;
    }
    for (uint32_t pipe = 0; pipe < PIPE_COUNT; pipe++) {
        SIM_CHECK(pipe_holders[pipe] == 1, "pipe %u is held %u times", pipe, pipe_holders[pipe]);
    }
}

static void check_servers(void)
{
    uint32_t counted = 0;
    uint32_t real = 0;

    for (uint16_t row = 0; row < sim.config->servers; row++) {
        counted += region_server_counters(sim.region, sim.index, row)->sessions;
    }
    for (uint32_t index = 0; index < sim.slot->session_high; index++) {
        const struct session *session = &sim.sessions[index];
        real += session->phase != SESSION_FREE && session->conn[SIDE_SERVER].fd >= 0;
    }
    SIM_CHECK(counted == real, "servers have %u sessions, %u are counted", real, counted);
}

void invariants_check(void)
{
    struct totals totals = {0};
    uint64_t closes = 0;

    memset(holders, 0, worker()->bank.table.count);
    memset(pipe_holders, 0, sizeof(pipe_holders));
    check_resuming();
    for (uint32_t index = 0; index < sim.slot->session_high; index++) {
        if (sim.sessions[index].phase != SESSION_FREE) {
            check_session(index, &totals);
        }
    }
    check_buffers();
    check_pipes();
    check_wheel(&totals);
    check_queue(&totals);
    check_servers();
    SIM_CHECK(totals.directions == worker()->active_directions, "%u directions have data, %u are counted",
              totals.directions, worker()->active_directions);
    SIM_CHECK(totals.active == worker()->slab.active && totals.active == sim.slot->sessions_active,
              "%u sessions, %u counted, %u published", totals.active, worker()->slab.active,
              sim.slot->sessions_active);
    SIM_CHECK(totals.descriptors + ring_world->accepts_unseen == net_table->open,
              "%u descriptors open, %u of sessions", net_table->open,
              totals.descriptors + ring_world->accepts_unseen);
    for (int reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        closes += sim.slot->stats.closes[reason];
    }
    SIM_CHECK(sim.slot->stats.accepted == closes + totals.active, "%lu accepted, %lu closed, %u there",
              (unsigned long)sim.slot->stats.accepted, (unsigned long)closes, totals.active);
    SIM_CHECK(worker_slot_check(sim.slot, sim.region) && sim.slot->stats.damaged == 0, "the slot is broken");
}

/* Who has the lease sweeps in good time, and there is always one who has it, or takes it. */
static void check_swept(uint32_t index)
{
    const struct flow_entry *entry = &worker()->flows.entries[index];
    int32_t over_ms = (int32_t)((uint32_t)(sim.now_us / 1000) - entry->expire_ms);

    bool serves = sim.region->header->run_state == RUN_SERVE && sim.slot->state == SLOT_SERVING;
    bool waits = entry->state == FLOW_TIME_WAIT || entry->state == FLOW_FIN_WAIT2;
    SIM_CHECK(!waits || over_ms < SWEPT_WITHIN_MS || !serves,
              "flow entry %u is in TIME_WAIT, its time was over %d ms ago", index, over_ms);
}

/* Another worker is changing it, or died at that. */
static bool is_being_changed(uint32_t index)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        const struct crew_member *member = &crew.members[i];
        if (member->region == sim.region && !member->settled && member->slot->flow_claim == index) {
            return true;
        }
    }
    return false;
}

/* Whether the connection goes on, for the kernel and for Penstock. */
static bool has_socket(const struct session *session, int side)
{
    const struct net_conn *conn = net_at(session->conn[side].fd);

    return session->phase == SESSION_OPEN && conn != NULL && !conn->gone;
}

void invariants_check_flows(void)
{
    const struct flow_table *flows = &worker()->flows;
    uint32_t used = 0;
    uint32_t owned = 0;

    if (crew.host != 0) { /* a program is changing something */
        return;
    }
    for (uint32_t index = 0; index < flows->groups * FLOW_GROUP; index++) {
        uint8_t state = flows->entries[index].state;
        bool owns = state == FLOW_ACTIVE || state == FLOW_BUSY;
        bool is_own = flows->entries[index].tos == sim.index && flows->entries[index].flags == flows->mark;
        if (owns ? !is_own : is_being_changed(index)) {
            continue;
        }
        SIM_CHECK(state == FLOW_FREE || state == FLOW_ACTIVE || state == FLOW_TIME_WAIT || flows->owned,
                  "flow entry %u is %s", index, flow_state_text(state));
        SIM_CHECK(flow_state_lives(state) == (flows->tags[index] != 0), "flow entry %u and its tag", index);
        if (flows->owned) {
            tcp_check_entry(index);
        }
        check_swept(index);
        used += state == FLOW_ACTIVE;
    }
    for (uint32_t index = 0; index < sim.slot->session_high; index++) {
        const struct session *session = &sim.sessions[index];
        for (int side = 0; session->phase != SESSION_FREE && side < SIDE_COUNT; side++) {
            uint32_t flow = session->conn[side].flow;
            if (side == SIDE_SERVER && flow == session->conn[SIDE_CLIENT].flow) {
                continue; /* free again when the server was connected: it is the server's now */
            }
            bool has = flow != FLOW_NONE && flow_table_owned(flows, flow, sim.index, index);
            owned += has;
            if (!has && flow != FLOW_NONE && flows->owned && has_socket(session, side)) {
                sim_fail(index, "flow entry %u of side %d is not its own any more", flow, side);
            }
        }
    }
    SIM_CHECK(used == owned, "%u flow entries active, %u of sessions", used, owned);
}
