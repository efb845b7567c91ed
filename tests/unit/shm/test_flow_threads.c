/*
 * The flow table, several at once. Workers, sweepers and what the BPF programs do, each in threads of their own, in a
 * table that is nearly full; the sweepers do not heed the lease.
 *
 * Programs run for microseconds, which is what the grace relies on: here the clock stands still while one runs. Workers
 * and sweepers may be stopped anywhere, for however long.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rng.h"
#include "core/session.h"
#include "shm/flow_table.h"
#include "tests/unit/shm/region_make.h"

enum {
    WORKERS = 2,
    SWEEPERS = 2,
    HOLD = 20,   /* connections of a worker at once */
    ENDS = 4000, /* of each worker's connections */
    TWO_MSL_MS = 1000,
    CLOCK_STEP_MS = 100,
    LOOKS = 2 * WORKERS * HOLD, /* of the publisher between two steps: no orphan waits for it for minutes */
};

struct connection {
    struct flow_key key;
    uint32_t entry;     /* FLOW_NONE: none */
    atomic_bool exists; /* for the kernel */
    atomic_bool closed; /* for the kernel: its last transition is over */
};

struct actor {
    pthread_t thread;
    struct rng rng;
    struct flow_table table; /* its own view */
    struct flow_sweep sweep;
    uint32_t number;
    uint32_t intent;
    struct connection connections[HOLD];
};

static struct {
    struct region region;
    struct actor workers[WORKERS], sweepers[SWEEPERS], publisher, responder;
    pthread_rwlock_t clock_stands;
    _Atomic uint64_t now_ms;
    atomic_bool workers_done;
    /* Of entries. `lost`: a transition did not find what its worker had claimed. */
    atomic_uint claimed, published, released, reopened, lost, taken_twice;
} scene;

static struct flow_key key_make(uint32_t worker, uint32_t n)
{
    struct flow_key key = {.local_port = (uint16_t)(1 + worker)};

    memcpy(key.remote + 12, &n, sizeof(n));
    return key;
}

static void begin(struct actor *actor, uint32_t number, void *(*run)(void *))
{
    actor->number = number;
    actor->intent = FLOW_NONE;
    rng_init(&actor->rng, number);
    flow_table_open(&actor->table, &scene.region);
    actor->table.sweep = &actor->sweep;
    cr_assert_eq(pthread_create(&actor->thread, NULL, run, actor), 0);
}

/* --- The programs --- */

static uint32_t *head_at(const struct flow_table *table, uint32_t index)
{
    return (uint32_t *)(void *)&table->entries[index];
}

static bool seize(const struct flow_table *table, uint32_t index, uint32_t head)
{
    return __atomic_compare_exchange_n(head_at(table, index), &head, flow_head(FLOW_BUSY, 0, FLOW_PROGRAM, 0),
                                       false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void leave(const struct flow_table *table, uint32_t index, enum flow_state state, uint64_t expire_ms)
{
    if (state == FLOW_RELEASED) {
        __atomic_store_n(&table->tags[index], 0, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&table->entries[index].expire_ms, (uint32_t)expire_ms, __ATOMIC_RELAXED);
    __atomic_store_n(head_at(table, index), flow_head((uint8_t)state, 0, 0, 0), __ATOMIC_RELEASE);
}

/* The kernel's last transition of a connection. */
static void publish(struct actor *publisher, struct connection *connection)
{
    const struct flow_table *table = &publisher->table;
    bool time_wait = rng_chance(&publisher->rng, 60);
    uint32_t index;
    uint32_t head;

    pthread_rwlock_rdlock(&scene.clock_stands);
    do {
        index = flow_table_find(table, &connection->key);
        if (index == FLOW_NONE) {
            scene.lost++;
            goto out;
        }
        head = __atomic_load_n(head_at(table, index), __ATOMIC_ACQUIRE);
    } while ((flow_head_state(head) != FLOW_ACTIVE && flow_head_state(head) != FLOW_ORPHANED) ||
             !seize(table, index, head));
    if (time_wait) {
        leave(table, index, rng_chance(&publisher->rng, 50) ? FLOW_FIN_WAIT2 : FLOW_TIME_WAIT,
              scene.now_ms + TWO_MSL_MS);
        scene.published++;
    } else {
        leave(table, index, FLOW_RELEASED, scene.now_ms + FLOW_GRACE_MS);
        scene.released++;
    }
out:
    pthread_rwlock_unlock(&scene.clock_stands);
    connection->closed = true;
    connection->exists = false; /* the worker may use the place again */
}

static void *publisher_run(void *argument)
{
    struct actor *publisher = argument;

    for (uint32_t looks = 1; !scene.workers_done; looks++) {
        struct actor *worker = &scene.workers[rng_below(&publisher->rng, WORKERS)];
        struct connection *connection = &worker->connections[rng_below(&publisher->rng, HOLD)];
        if (connection->exists) {
            publish(publisher, connection);
        }
        if (looks % LOOKS == 0) {
            pthread_rwlock_wrlock(&scene.clock_stands);
            scene.now_ms += rng_below(&publisher->rng, CLOCK_STEP_MS);
            pthread_rwlock_unlock(&scene.clock_stands);
        }
    }
    return NULL;
}

/* A segment for whatever stands at the place. */
static void respond(struct actor *responder, uint32_t index)
{
    const struct flow_table *table = &responder->table;
    uint32_t head = __atomic_load_n(head_at(table, index), __ATOMIC_ACQUIRE);
    uint32_t expire_ms = __atomic_load_n(&table->entries[index].expire_ms, __ATOMIC_RELAXED);
    uint32_t now_ms = (uint32_t)scene.now_ms;
    uint8_t state = flow_head_state(head);

    if (__atomic_load_n(&table->tags[index], __ATOMIC_ACQUIRE) == 0 || state < FLOW_FIN_WAIT2 ||
        state > FLOW_TIME_WAIT || flow_has_ended(head, expire_ms, now_ms, 0)) {
        return;
    }
    if (state == FLOW_FIN_WAIT2 && seize(table, index, head)) {
        leave(table, index, FLOW_TIME_WAIT, now_ms + TWO_MSL_MS);
    } else if (rng_chance(&responder->rng, 5) && seize(table, index, head)) {
        leave(table, index, FLOW_RELEASED, now_ms + FLOW_GRACE_MS);
        scene.reopened++;
    } else if (rng_chance(&responder->rng, 1)) { /* 2MSL begins anew */
        (void)__atomic_compare_exchange_n(&table->entries[index].expire_ms, &expire_ms, now_ms + TWO_MSL_MS,
                                          false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
}

static void *responder_run(void *argument)
{
    struct actor *responder = argument;

    while (!scene.workers_done) {
        pthread_rwlock_rdlock(&scene.clock_stands);
        respond(responder, (uint32_t)rng_below(&responder->rng, responder->table.groups * FLOW_GROUP));
        pthread_rwlock_unlock(&scene.clock_stands);
        sched_yield();
    }
    return NULL;
}

/* --- Sweepers --- */

static void *sweeper_run(void *argument)
{
    struct actor *sweeper = argument;

    while (!scene.workers_done) {
        sweeper->sweep.round_since_ms = 1; /* all is due */
        (void)flow_table_sweep(&sweeper->table, sweeper->number, scene.now_ms, &sweeper->intent);
        sched_yield();
    }
    return NULL;
}

/* --- Workers --- */

static bool in_use(const void *context, uint32_t session_index, uint32_t index)
{
    const struct actor *worker = context;

    return session_index < HOLD && worker->connections[session_index].entry == index;
}

static bool owns(const struct actor *worker, uint32_t place)
{
    return flow_table_owned(&worker->table, worker->connections[place].entry, worker->number, place);
}

static void worker_claim(struct actor *worker, uint32_t place, uint32_t n)
{
    struct connection *connection = &worker->connections[place];

    connection->key = key_make(worker->number, n);
    connection->closed = false;
    connection->entry = flow_table_claim(&worker->table, &connection->key, worker->number, place,
                                         scene.now_ms, &worker->intent);
    if (connection->entry == FLOW_NONE) {
        sched_yield();
        return;
    }
    for (uint32_t other = 0; other < HOLD; other++) {
        scene.taken_twice +=
            other != place && worker->connections[other].entry == connection->entry && owns(worker, other);
    }
    scene.claimed++;
    connection->exists = true;
}

/* The session ends, as in io/relay.c. */
static void worker_end(struct actor *worker, uint32_t place)
{
    struct connection *connection = &worker->connections[place];
    bool closed = connection->closed; /* before the look at the entry */

    if (owns(worker, place)) {
        scene.lost += closed; /* no transition missed a claim */
        if (!closed) {
            flow_table_orphan(&worker->table, connection->entry, worker->number, scene.now_ms);
        }
    }
    connection->entry = FLOW_NONE;
}

/* A connection that had ended when it was accepted. */
static void worker_claim_dead(struct actor *worker, uint32_t n)
{
    struct flow_key key = key_make(worker->number, n);
    uint32_t index =
        flow_table_claim(&worker->table, &key, worker->number, HOLD, scene.now_ms, &worker->intent);

    if (index == FLOW_NONE) {
        return;
    }
    scene.claimed++;
    scene.released++;
    if (rng_chance(&worker->rng, 50)) {
        flow_table_release(&worker->table, index, worker->number, &worker->intent);
    } else { /* a death, which nobody's session refers to */
        flow_table_settle(&worker->table, worker->number, &worker->intent, in_use, worker);
    }
}

static void *worker_run(void *argument)
{
    struct actor *worker = argument;
    uint32_t next = 0;
    uint32_t ends = 0;

    for (uint32_t place = 0; place < HOLD; place++) {
        worker->connections[place].entry = FLOW_NONE;
    }
    while (ends < ENDS) {
        uint32_t place = (uint32_t)rng_below(&worker->rng, HOLD);
        struct connection *connection = &worker->connections[place];
        if (connection->entry != FLOW_NONE) {
            worker_end(worker, place);
            ends++;
        } else if (!connection->exists) {
            worker_claim(worker, place, next++);
        }
        if (rng_chance(&worker->rng, 5)) {
            worker_claim_dead(worker, next++);
        }
        if (rng_chance(&worker->rng, 5)) { /* a death, and an intent that may be an old one */
            flow_table_settle(&worker->table, worker->number, &worker->intent, in_use, worker);
        }
    }
    for (uint32_t place = 0; place < HOLD; place++) {
        worker_end(worker, place);
        while (worker->connections[place].exists) {
        }
    }
    return NULL;
}

static void open_scene(void)
{
    struct region_shape shape = region_shape_small();
    pthread_rwlockattr_t attributes;

    shape.flows = 2 * FLOW_GROUP;
    cr_assert_eq(region_create(&scene.region, &shape), 0);
    scene.region.header->time_wait.owned = 1;
    scene.region.header->time_wait.two_msl_ms = TWO_MSL_MS;
    scene.region.flow_maps[0] = region_row(&scene.region, TABLE_FLOW_TAGS, 0); /* as if it were shared */
    scene.region.flow_maps[1] = region_row(&scene.region, TABLE_FLOW_ENTRIES, 0);
    scene.now_ms = 1000;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&scene.clock_stands, &attributes);
}

static uint32_t count_used(const struct flow_table *table)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < table->groups * FLOW_GROUP; i++) {
        uint32_t head = *head_at(table, i);
        cr_assert(flow_entry_check(&table->entries[i]));
        used += table->tags[i] != 0 ||
                !flow_is_takeable(head, table->entries[i].expire_ms, (uint32_t)scene.now_ms);
    }
    return used;
}

/* Each entry is given once, ends once, is freed once. */
Test(flow_threads, no_entry_is_lost_or_freed_twice, .timeout = 300)
{
    uint64_t freed = 0;

    open_scene();
    begin(&scene.publisher, 10, publisher_run);
    begin(&scene.responder, 11, responder_run);
    for (uint32_t i = 0; i < SWEEPERS; i++) {
        begin(&scene.sweepers[i], 20 + i, sweeper_run);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        begin(&scene.workers[i], i, worker_run);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(scene.workers[i].thread, NULL);
    }
    scene.workers_done = true;
    pthread_join(scene.publisher.thread, NULL);
    pthread_join(scene.responder.thread, NULL);
    for (uint32_t i = 0; i < SWEEPERS; i++) {
        pthread_join(scene.sweepers[i].thread, NULL);
        freed += scene.sweepers[i].sweep.freed;
    }
    scene.now_ms += TWO_MSL_MS + FLOW_GRACE_MS;
    struct actor *last = &scene.sweepers[0];
    last->sweep = (struct flow_sweep){.round_since_ms = 1};
    (void)flow_table_sweep(&last->table, last->number, scene.now_ms, &last->intent);
    freed += last->sweep.freed;
    cr_expect_eq(scene.lost, 0);
    cr_expect_eq(scene.taken_twice, 0);
    cr_expect_eq(scene.claimed, scene.published + scene.released);
    cr_expect_leq(freed, scene.published - scene.reopened);
    cr_expect_gt(freed, 0);
    cr_expect_eq(count_used(&last->table), 0);
}
