/* Readers of other processes against a writer that recycles as fast as it can: whole records of one life, or none. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "shm/flow_table.h"
#include "shm/session_slab.h"
#include "shm/worker_slot.h"
#include "tests/unit/shm/region_make.h"

enum {
    SLOT = 1,
    LIVE = 4, /* sessions at once: the fewer, the sooner a record is recycled */
    READERS = 2,
    STEPS = 20,
#ifdef __SANITIZE_THREAD__
    LIVES = 20000,
#else
    LIVES = 400000,
#endif
};

static struct region region;
static uint32_t ended; /* atomic: the writer is through */

/* Everything of a session's content follows from its serial. */
static struct session content_of(uint64_t serial, uint32_t generation)
{
    struct session session = {.generation = generation};

    session_init(&session, (int)(serial % 100000), serial * 3, serial * 1000);
    session.serial = serial;
    session.listener_row = (uint16_t)(serial % 64);
    session.pool_row = (uint16_t)(serial % 63);
    session.source_family = ENDPOINT_V6;
    session.source_port = (uint16_t)(serial * 7);
    memset(session.source_address, (int)(serial & 0xff), sizeof(session.source_address));
    return session;
}

static bool is_whole(const struct session *session)
{
    struct session expected = content_of(session->serial, session->generation);
    const struct conn *client = &session->conn[SIDE_CLIENT];
    const struct conn *server = &session->conn[SIDE_SERVER];

    return client->cookie == expected.conn[SIDE_CLIENT].cookie &&
           client->fd == expected.conn[SIDE_CLIENT].fd && session->accepted_us == expected.accepted_us &&
           session->listener_row == expected.listener_row && session->pool_row == expected.pool_row &&
           session->source_port == expected.source_port &&
           memcmp(session->source_address, expected.source_address, sizeof(expected.source_address)) == 0 &&
           server->fd == -1 && session_phase_text(session->phase) != NULL && session->phase != SESSION_FREE &&
           session->phase < SESSION_PHASE_COUNT &&
           /* the writer counts the client's first */
           client->received_bytes - server->received_bytes <= 1 && client->received_bytes <= STEPS;
}

static void live(struct session *session)
{
    for (uint64_t i = 1; i <= STEPS; i++) {
        __atomic_store_n(&session->conn[SIDE_CLIENT].received_bytes, i, __ATOMIC_RELEASE);
        __atomic_store_n(&session->conn[SIDE_SERVER].received_bytes, i, __ATOMIC_RELEASE);
    }
}

static void *write_sessions(void *argument)
{
    uint32_t indices[LIVE];
    struct session_slab slab;

    (void)argument;
    session_slab_open(&slab, &region, SLOT);
    for (uint64_t serial = 0; serial < LIVES; serial++) {
        uint32_t *index = &indices[serial % LIVE];
        if (serial >= LIVE) {
            struct session *old = &slab.sessions[*index];
            session_close(old, CLOSE_STOPPED, false, serial);
            session_set_phase(old, SESSION_FREE, serial);
            session_slab_release(&slab, *index);
        }
        *index = session_slab_acquire(&slab);
        struct session fresh = content_of(serial, slab.sessions[*index].generation);
        session_slab_publish(&slab, *index, &fresh);
        live(&slab.sessions[*index]);
    }
    __atomic_store_n(&ended, 1u, __ATOMIC_RELEASE);
    return NULL;
}

struct reading {
    uint64_t records;
    uint64_t broken;
    uint64_t walks;
};

static void *read_sessions(void *argument)
{
    struct reading *reading = argument;

    do {
        struct session_walk walk;
        struct session copy;
        uint32_t in_walk = 0;
        session_walk_begin(&walk, &region);
        while (session_walk_next(&walk, &copy)) {
            reading->broken += !is_whole(&copy) || walk.slot != SLOT || walk.index >= LIVE;
            reading->records++;
            in_walk++;
        }
        reading->broken += in_walk > LIVE;
        reading->walks++;
    } while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE));
    return NULL;
}

Test(readers, a_session_is_read_whole_however_fast_it_is_recycled, .timeout = 120)
{
    struct reading readings[READERS] = {{0}};
    pthread_t readers[READERS];
    pthread_t writer;

    region = region_make();
    for (int i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_create(&readers[i], NULL, read_sessions, &readings[i]), 0);
    }
    cr_assert_eq(pthread_create(&writer, NULL, write_sessions, NULL), 0);
    pthread_join(writer, NULL);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
        cr_expect_eq(readings[i].broken, 0, "%lu of %lu records", (unsigned long)readings[i].broken,
                     (unsigned long)readings[i].records);
        cr_expect_gt(readings[i].records, 0);
        fprintf(stderr, "readers: %lu records in %lu walks beside %d lives\n",
                (unsigned long)readings[i].records, (unsigned long)readings[i].walks, LIVES);
    }
}

Test(readers, a_session_is_not_seen_before_it_is_published)
{
    struct session_slab slab;
    struct session copy;

    region = region_make();
    session_slab_open(&slab, &region, SLOT);
    uint32_t index = session_slab_acquire(&slab);
    cr_expect_not(session_slab_read(&region, SLOT, index, &copy));
    struct session fresh = content_of(77, slab.sessions[index].generation);
    session_slab_publish(&slab, index, &fresh);
    cr_assert(session_slab_read(&region, SLOT, index, &copy));
    cr_expect_eq(memcmp(&copy, &fresh, sizeof(copy)), 0);
}

Test(readers, a_walk_meets_every_session_of_every_slot_once)
{
    struct session_walk walk;
    struct session copy;
    uint64_t expected = 0;
    uint64_t sum = 0;
    uint32_t count = 0;

    region = region_make();
    for (uint32_t slot = 0; slot < MAKE_SLOTS; slot += 2) { /* none in the middle one */
        struct session_slab slab;
        session_slab_open(&slab, &region, slot);
        for (uint64_t i = 0; i < MAKE_SESSIONS; i++) {
            uint32_t index = session_slab_acquire(&slab);
            struct session fresh = content_of(slot * 1000 + i, slab.sessions[index].generation);
            session_slab_publish(&slab, index, &fresh);
            expected += fresh.serial;
        }
    }
    session_walk_begin(&walk, &region);
    while (session_walk_next(&walk, &copy)) {
        cr_expect_eq(copy.serial, walk.slot * 1000 + walk.index);
        sum += copy.serial;
        count++;
    }
    cr_expect_eq(count, 2 * MAKE_SESSIONS);
    cr_expect_eq(sum, expected);
    cr_expect_not(session_walk_next(&walk, &copy), "it stays at the end");
}

/* Readers may have more rights than a worker: what it wrote leads them nowhere. */
Test(readers, a_worker_cannot_lead_readers_astray)
{
    struct session_walk walk;
    struct session copy;
    uint32_t count = 0;

    region = region_make();
    region_slot(&region, MAKE_SLOTS - 1)->session_high = UINT32_MAX;
    struct session *session = region_row(&region, TABLE_SESSIONS, (uint64_t)MAKE_SLOTS * MAKE_SESSIONS - 1);
    session->phase = SESSION_PHASE_COUNT;
    session_walk_begin(&walk, &region);
    while (session_walk_next(&walk, &copy)) {
        count++;
    }
    cr_expect_eq(count, 0);
}

/* --- Flow entries ------------------------------------------------------------------------------------------- */

static struct flow_key key_of(uint32_t number)
{
    struct flow_key key = {.local_port = (uint16_t)(number * 3), .remote_port = (uint16_t)(number * 5)};

    memset(key.remote, (int)(number & 0xff), sizeof(key.remote));
    memset(key.local, (int)(number & 0xff), sizeof(key.local));
    return key;
}

static void *write_flows(void *argument)
{
    struct flow_table table;
    uint32_t indices[LIVE];
    uint32_t intent = FLOW_NONE;

    (void)argument;
    flow_table_open(&table, &region);
    for (uint32_t n = 0; n < LIVES; n++) {
        struct flow_key key = key_of(n);
        if (n >= LIVE) {
            flow_table_release(&table, indices[n % LIVE], SLOT, &intent);
        }
        indices[n % LIVE] = flow_table_claim(&table, &key, SLOT, n, 0, &intent);
    }
    __atomic_store_n(&ended, 1u, __ATOMIC_RELEASE);
    return NULL;
}

static void *read_flows(void *argument)
{
    struct reading *reading = argument;
    struct flow_table table;

    flow_table_open(&table, &region);
    do {
        struct flow_walk walk = {0};
        struct flow_entry copy;
        while (flow_walk_next(&walk, &table, &copy)) {
            struct flow_key key = key_of(copy.session_index);
            reading->broken += copy.state != FLOW_ACTIVE || copy.tos != SLOT || !flow_matches(&copy, &key);
            reading->records++;
        }
        reading->walks++;
    } while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE));
    return NULL;
}

Test(readers, a_flow_entry_is_read_whole_however_fast_it_is_recycled, .timeout = 120)
{
    struct region_shape shape = region_shape_small();
    struct reading reading = {0};
    pthread_t reader;
    pthread_t writer;

    shape.flows = FLOW_GROUP; /* two tuples meet in one slot soon */
    cr_assert_eq(region_create(&region, &shape), 0);
    cr_assert_eq(pthread_create(&reader, NULL, read_flows, &reading), 0);
    cr_assert_eq(pthread_create(&writer, NULL, write_flows, NULL), 0);
    pthread_join(writer, NULL);
    pthread_join(reader, NULL);
    cr_expect_eq(reading.broken, 0, "%lu of %lu", (unsigned long)reading.broken,
                 (unsigned long)reading.records);
    cr_expect_gt(reading.records, 0);
}

Test(readers, a_walk_meets_every_flow_entry_once)
{
    struct flow_walk walk = {0};
    struct flow_table table;
    struct flow_entry copy;
    uint32_t states[FLOW_STATE_COUNT] = {0};
    uint32_t intent = FLOW_NONE;

    region = region_make();
    flow_table_open(&table, &region);
    for (uint32_t i = 0; i < 1000; i++) {
        struct flow_key key = key_of(i);
        uint32_t index = flow_table_claim(&table, &key, SLOT, i, 0, &intent);
        if (i % 2 == 0) {
            flow_table_time_wait(&table, index, SLOT, 1, &intent);
        }
    }
    while (flow_walk_next(&walk, &table, &copy)) {
        states[copy.state]++;
    }
    cr_expect_eq(states[FLOW_ACTIVE], 500);
    cr_expect_eq(states[FLOW_TIME_WAIT], 500);
}
