/*
 * The fake kernel's ring: io/ring.h. What the operations do is in fake_ops.c.
 *
 * Rings belong to the kernel: they outlive the worker, and a dead one's completions are there for ring_attach().
 */
#include "tests/sim/fake_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/crew.h"
#include "tests/sim/fake_lent.h"
#include "tests/sim/fake_tcp.h"
#include "tests/sim/store_hook.h"

struct ring_world *ring_world;
static struct ring_world *worlds[SIM_CREW_MAX];

void ring_enter(uint32_t number)
{
    if (worlds[number] == NULL) {
        struct ring_world *world = calloc(1, sizeof(*world));
        SIM_CHECK(world != NULL, "no memory");
        world->places = sim.config->slab * SIDE_COUNT;
        world->inputs = calloc(world->places, sizeof(struct ring_pending));
        world->hot = calloc(net.capacity + 1, sizeof(uint32_t));
        SIM_CHECK(world->inputs && world->hot, "no memory");
        worlds[number] = world;
    }
    ring_world = worlds[number];
}

static void free_ring(struct ring *ring)
{
    if (ring != NULL) {
        free(ring->completions);
        free(ring);
    }
}

void ring_world_free(void)
{
    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        if (worlds[i] != NULL) {
            free_ring(worlds[i]->rings[0]);
            free_ring(worlds[i]->rings[1]);
            free(worlds[i]->inputs);
            free(worlds[i]->hot);
            free(worlds[i]);
            worlds[i] = NULL;
        }
    }
}

uint64_t ring_completions_total(void)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < SIM_CREW_MAX; i++) {
        total += worlds[i] != NULL ? worlds[i]->completions : 0;
    }
    return total;
}

void ring_touch(struct net_conn *conn)
{
    bool lent = conn->lent[0].used || conn->lent[1].used || conn->lent[2].used;
    struct ring_world *world = worlds[conn->owner];

    crew_wake(conn->owner);
    if (!conn->hot && (conn->outstanding != 0 || lent)) {
        conn->hot = true;
        world->hot[world->hot_count++] = conn->id;
    }
}

int ring_create(struct ring **ring_out, int fd, uint32_t completions, void *params)
{
    struct ring **place = &ring_world->rings[fd & 1];

    store_point();
    struct ring *ring = calloc(1, sizeof(*ring));
    ring->fd = fd;
    ring->number = ++ring_world->numbers;
    ring->capacity = completions;
    ring->completions = calloc(completions, sizeof(*ring->completions));
    SIM_CHECK(ring_world->live == NULL, "two live rings");
    free_ring(*place);
    *place = ring;
    ring_world->live = ring;
    memcpy(params, &ring->number, sizeof(ring->number));
    store_point();
    *ring_out = ring;
    return 0;
}

int ring_attach(struct ring **ring_out, int fd, const void *params)
{
    struct ring *ring = ring_world->rings[fd & 1];

    SIM_CHECK(ring != NULL && ring->frozen && memcmp(params, &ring->number, sizeof(ring->number)) == 0,
              "attached to a ring that is not the dead one");
    *ring_out = ring;
    store_point();
    return 0;
}

void ring_destroy(struct ring *ring)
{
    SIM_CHECK(ring->frozen, "a live ring unmapped");
    store_point();
}

static enum conn_op bit_of(enum ring_op op)
{
    switch (op) {
    case RING_OP_RECV:
        return CONN_OP_RECV;
    case RING_OP_POLL:
        return CONN_OP_POLL;
    case RING_OP_CONNECT:
        return CONN_OP_CONNECT;
    default:
        return CONN_OP_SEND;
    }
}

void ring_close(int fd)
{
    struct ring **place = &ring_world->rings[fd & 1];

    SIM_CHECK(*place == NULL || (*place)->frozen, "a live ring closed");
    free_ring(*place);
    *place = NULL;
    for (uint32_t open = SIM_FD_FLOOR; open < net_table->limit; open++) {
        net.conns[net_table->conns[open]].notices = 0; /* of a dead ring: none of them comes any more */
    }
}

/* Whether it ends what the record calls the operation: of a zero-copy send the notice is counted apart. */
static bool is_end(const struct ring_completion *completion)
{
    return !completion->more || completion->tag.op == RING_OP_SEND;
}

void ring_wake_accept(uint32_t slot, uint32_t listener)
{
    struct net_queue *queue = net_queue(slot, listener);
    struct ring_pending *chosen = NULL;
    uint32_t seen = sim.now_us < queue->dead_until_us;

    for (uint32_t number = 0; number < crew.count; number++) {
        for (int i = 0; i < LISTENER_LOCAL_BATCH && worlds[number] != NULL; i++) {
            struct ring_pending *op = &worlds[number]->accepts[listener][i];
            if (op->used && op->tag.op == RING_OP_ACCEPT &&
                net_queue(crew.members[number].index, listener) == queue && sim_once_in(++seen)) {
                chosen = op;
            }
        }
    }
    if (chosen != NULL) {
        chosen->woken = true;
    }
}

/* A ring is torn down some time after its worker has died. */
static void linger(const struct ring_pending *accept)
{
    if (accept->used && accept->tag.op == RING_OP_ACCEPT) {
        net_queue(sim.index, accept->tag.index)->dead_until_us = sim.now_us + sim_below(3000000);
    }
}

/* Not one operation of the dead worker goes on; some kernels cut them off with -ECANCELED. */
static void drop(struct ring_pending *pending, bool cut)
{
    if (!pending->used) {
        return;
    }
    if (cut && sim_once_in(2)) {
        struct ring_completion completion = {.tag = pending->tag, .result = -ECANCELED};
        ring_post(ring_world->live, &completion, pending->conn);
        net.conns[pending->conn].cut = true;
    }
    net.conns[pending->conn].outstanding = 0;
    pending->used = false;
}

void ring_freeze(void)
{
    struct ring *ring = ring_world->live;

    if (ring == NULL) {
        return;
    }
    bool cut = sim_once_in(8);
    ring_world->dying = false;
    for (uint32_t i = 0; i < ring_world->places; i++) {
        drop(&ring_world->inputs[i], cut);
    }
    for (int i = 0; i < SIM_LISTENERS_MAX; i++) {
        for (int n = 0; n < LISTENER_LOCAL_BATCH; n++) {
            linger(&ring_world->accepts[i][n]);
            drop(&ring_world->accepts[i][n], cut);
        }
    }
    for (uint32_t fd = SIM_FD_FLOOR; fd < net_table->limit; fd++) {
        if (cut) {
            (void)lent_notify(ring, &net.conns[net_table->conns[fd]]);
        }
        lent_freeze(&net.conns[net_table->conns[fd]]);
    }
    drop(&ring_world->wake, cut);
    drop(&ring_world->watch, cut);
    for (uint32_t i = 0; i < ring->submitted; i++) {
        net.conns[ring->submissions[i].conn].outstanding = 0;
    }
    for (uint32_t i = 0; i < ring_world->hot_count; i++) {
        net.conns[ring_world->hot[i]].hot = false;
    }
    ring_world->hot_count = 0;
    ring->frozen = true;
    ring->submitted = 0;
    ring_world->live = NULL;
}

void ring_end(void)
{
    ring_freeze();
    free_ring(ring_world->rings[0]);
    free_ring(ring_world->rings[1]);
    ring_world->rings[0] = NULL;
    ring_world->rings[1] = NULL;
    ring_world->wake_wanted = false;
}

uint32_t ring_head(const struct ring *ring)
{
    return ring->head;
}

bool ring_peek(const struct ring *ring, struct ring_completion *completion)
{
    if (ring->head == ring->tail || (ring->turn_over && !sim.worker->adopting)) {
        return false;
    }
    *completion = ring->completions[ring->head % ring->capacity].completion;
    return true;
}

static bool of_session(enum ring_op op)
{
    return op == RING_OP_RECV || op == RING_OP_POLL || op == RING_OP_CONNECT || op == RING_OP_SEND;
}

/* The connection a session's operation is on, found through the record's descriptor. */
static struct net_conn *conn_of(struct ring_tag tag)
{
    SIM_CHECK(tag.index < sim.config->slab, "completion of session %u", tag.index);
    return net_at(sim.sessions[tag.index].conn[tag.side].fd);
}

void ring_advance(struct ring *ring)
{
    SIM_CHECK(ring->head != ring->tail, "consumed more than there is");
    ring->turn_over = sim.config->one_by_one;
    const struct ring_posted *posted = &ring->completions[ring->head % ring->capacity];
    const struct ring_completion *completion = &posted->completion;

    store_point();
    if (posted->conn != 0 && completion->tag.op == RING_OP_SEND) {
        net.conns[posted->conn].notices += completion->more;
        net.conns[posted->conn].notices -= completion->notice;
    }
    if (posted->conn != 0 && is_end(completion) && !completion->notice) {
        net.conns[posted->conn].unseen &= (uint8_t)~bit_of(completion->tag.op);
    }
    uint8_t *state = &ring->groups[completion->tag.group].states[completion->buffer];
    if (completion->has_buffer && *state == RING_ID_FILLED) { /* not given again meanwhile */
        *state = RING_ID_ABSENT;
    }
    ring_world->accepts_unseen -= completion->tag.op == RING_OP_ACCEPT && completion->result >= 0;
    ring->head++;
    store_point();
}

uint32_t ring_space(const struct ring *ring)
{
    return RING_SUBMISSIONS - ring->submitted;
}

static struct ring_pending *submission(struct ring *ring, struct ring_tag tag, int fd)
{
    SIM_CHECK(!ring->frozen && ring->submitted < RING_SUBMISSIONS, "submission queue");
    struct ring_pending *entry = &ring->submissions[ring->submitted++];

    *entry = (struct ring_pending){.used = true, .tag = tag, .fd = fd};
    if (of_session(tag.op)) {
        struct net_conn *conn = net_at(fd);
        SIM_CHECK(conn != NULL && conn == conn_of(tag), "operation %u of session %u on descriptor %d", tag.op,
                  tag.index, fd);
        SIM_CHECK(!conn->nonblocking || tag.op != RING_OP_CONNECT,
                  "connect of session %u on a non-blocking socket", tag.index);
        enum conn_op bit = bit_of(tag.op);

        SIM_CHECK((conn->outstanding & (bit & CONN_OP_INPUT ? CONN_OP_INPUT : bit)) == 0,
                  "operation %u of session %u side %u armed twice", tag.op, tag.index, tag.side);
        conn->outstanding |= (uint8_t)bit;
        entry->conn = conn->id;
    }
    return entry;
}

void ring_accept(struct ring *ring, struct ring_tag tag, int fd, enum ring_accept how)
{
    submission(ring, tag, fd)->multishot = how == RING_ACCEPT_MANY;
}

void ring_receive(struct ring *ring, struct ring_tag tag, int fd, bool multishot)
{
    submission(ring, tag, fd)->multishot = multishot;
}

void ring_send(struct ring *ring, struct ring_tag tag, int fd, const struct iovec *vector, uint32_t count)
{
    struct ring_pending *entry = submission(ring, tag, fd);

    SIM_CHECK(count > 0 && count <= RING_SEND_VECTOR, "a send of %u pieces", count);
    memcpy(entry->vector, vector, count * sizeof(*vector));
    entry->count = count;
}

void ring_poll(struct ring *ring, struct ring_tag tag, int fd, uint32_t events)
{
    submission(ring, tag, fd)->events = events;
}

void ring_connect(struct ring *ring, struct ring_tag tag, int fd, const struct endpoint *to)
{
    submission(ring, tag, fd)->to = *to;
}

void ring_cancel(struct ring *ring, struct ring_tag tag)
{
    struct ring_pending *entry = submission(ring, (struct ring_tag){.op = RING_OP_NONE}, -1);

    entry->cancelled = true;
    entry->tag = tag;
}

void ring_post(struct ring *ring, const struct ring_completion *completion, uint32_t conn)
{
    SIM_CHECK(ring->tail - ring->head < ring->capacity, "the completion queue overflows");
    ring->completions[ring->tail++ % ring->capacity] = (struct ring_posted){*completion, conn};
    if (conn != 0 && is_end(completion) && !completion->notice) {
        uint8_t bit = (uint8_t)bit_of(completion->tag.op);
        net.conns[conn].outstanding &= (uint8_t)~bit;
        net.conns[conn].unseen |= bit;
    }
    ring_world->completions++;
    ring_world->accepts_unseen += completion->tag.op == RING_OP_ACCEPT && completion->result >= 0;
}

int ring_submit(struct ring *ring)
{
    store_point();
    sim.now_us += sim_below(20);
    for (int i = 0; i < SIM_LISTENERS_MAX; i++) {
        net_queue(sim.index, (uint32_t)i)->budget = sim.config->backlog + 1;
    }
    ring_world->dying = store_doom(1000);
    for (uint32_t i = 0; i < ring->submitted; i++) {
        ring_op_start(ring, &ring->submissions[i]);
    }
    ring->submitted = 0;
    store_point();
    return 0;
}

int ring_wait(struct ring *ring, uint32_t timeout_ms)
{
    uint64_t deadline = sim.now_us + (uint64_t)timeout_ms * 1000;
    uint32_t idle = 0;
    uint32_t rounds = sim_once_in(4) ? 1 + sim_below(64) : 1 + sim_below(4);

    ring_submit(ring);
    ring->turn_over = false;
    crew.members[sim.at].settled = true;
    if (sim.config->one_by_one && ring->head != ring->tail) {
        return 0;
    }
    for (uint32_t n = 0; sim.now_us <= deadline; n++) {
        uint32_t acted = peers_arrive() + peers_run(1 + sim_below(16));
        net_connects_run();
        acted += tcp_run();
        acted += ring_ops_run(ring, 1 + sim_below(16));
        sim.now_us += 1 + sim_below(100);
        if (ring->head != ring->tail && n >= rounds) {
            break;
        }
        if (crew.count > 1 && sim_once_in(8)) {
            crew_change();
        }
        idle = acted > 0 ? 0 : idle + 1;
        if (idle > 4 + net.peer_count / 8) {
            idle = 0;
            if (ring->head != ring->tail || !crew_sleep(deadline)) {
                break;
            }
        }
    }
    crew.members[sim.at].settled = false;
    store_point();
    return 0;
}

/* What a worker that spins sees: time passes, something may happen. */
int ring_look(struct ring *ring)
{
    ring_submit(ring);
    (void)peers_arrive();
    (void)peers_run(1);
    net_connects_run();
    (void)ring_ops_run(ring, 1 + sim_below(4));
    sim.now_us += 1 + sim_below(10);
    store_point();
    return ring->head != ring->tail;
}

int ring_buffers_create(struct ring *ring, uint8_t group, uint32_t entries)
{
    SIM_CHECK(entries > 0 && entries <= SLOT_RING_BUFFERS && (entries & (entries - 1)) == 0, "%u buffers",
              entries);
    ring->groups[group].entries = entries;
    store_point();
    return 0;
}

void ring_buffers_add(struct ring *ring, uint8_t group_index, uint16_t id, void *address, uint32_t length)
{
    struct ring_group *group = &ring->groups[group_index];

    SIM_CHECK(id < group->entries && group->tail - group->head < group->entries, "buffer ring overflows");
    SIM_CHECK(group->states[id] != RING_ID_GIVEN, "buffer id %u given twice", id);
    group->states[id] = RING_ID_GIVEN;
    group->given[group->tail++ % group->entries] = (struct ring_given){id, address, length};
    store_point();
}
