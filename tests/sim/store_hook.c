/*
 * The worker's stores. core, shm and io are compiled for the thread sanitizer; its functions are defined here, and so
 * are the functions of the C library that store or allocate for the worker (see SIM_RENAMED in the Makefile).
 */
#include "tests/sim/store_hook.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/crew.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/fake_tcp.h"

enum {
    ALLOCATIONS = 32,
    TOUCHED = 4096, /* words a transaction changes at most */
};

/* A word of the region as it was when the transaction began, and which of its bytes were stored to. */
struct touched {
    uint64_t word; /* index */
    uint64_t before;
    uint8_t bytes;
};

struct stamp {
    uint32_t transaction;
    uint32_t place;
};

struct hook {
    uint64_t left; /* stores until death; 0: none */
    void *allocations[ALLOCATIONS];
    struct stamp *stamps; /* by word of the region's tables */
    struct touched touched[TOUCHED];
    sigjmp_buf death;
    uint32_t touched_count;
    uint32_t transaction;
    bool turning; /* the store that begins or ends a transaction is about to happen */
    bool armed;
};

static struct hook hooks[SIM_CREW_MAX]; /* by worker's number */
static struct hook *hook = hooks;       /* of the worker that runs */
static uint64_t stores;

/* Whose rows a table has. */
static const bool by_slot[TABLE_COUNT + 1] = {
    [TABLE_SLOTS] = true,         [TABLE_SERVER_COUNTERS] = true,   [TABLE_ADOPTION_TIMES] = true,
    [TABLE_CONNECT_TIMES] = true, [TABLE_LISTENER_COUNTERS] = true, [TABLE_LOG_RECORDS] = true,
    [TABLE_SESSIONS] = true,      [TABLE_BUFFER_RECORDS] = true,
};

static unsigned char *tables(void)
{
    return sim.region->segments[SEGMENT_TABLES];
}

void store_hook_free(void)
{
    for (int i = 0; i < SIM_CREW_MAX; i++) {
        for (int n = 0; n < ALLOCATIONS; n++) {
            free(hooks[i].allocations[n]);
        }
        free(hooks[i].stamps);
    }
    memset(hooks, 0, sizeof(hooks));
}

void store_hook_enter(uint32_t number)
{
    hook = &hooks[number];
    if (hook->stamps == NULL) {
        hook->stamps = calloc(sim.region->header->segment_bytes[SEGMENT_TABLES] / 8, sizeof(struct stamp));
        SIM_CHECK(hook->stamps != NULL, "no memory");
    }
}

sigjmp_buf *store_hook_death(void)
{
    return &hook->death;
}

void store_hook_arm(uint64_t life)
{
    hook->left = life;
    hook->armed = true;
}

uint64_t store_hook_disarm(void)
{
    hook->armed = false;
    return hook->left;
}

bool store_hook_shield(bool armed)
{
    bool before = hook->armed;

    hook->armed = armed;
    return before;
}

uint64_t store_hook_count(void)
{
    return stores;
}

static void count_store(void)
{
    stores++;
    crew_store();
    tcp_interrupt();
    if (hook->left > 0 && --hook->left == 0) {
        hook->armed = false;
        siglongjmp(hook->death, 1);
    }
}

/* The store before this one happened. */
static void store_done(void)
{
    if (hook->turning) {
        hook->turning = false;
        hook->transaction++;
        hook->touched_count = 0;
    }
}

void store_point(void)
{
    if (hook->armed) {
        store_done();
        count_store();
    }
}

bool store_doom(uint32_t n)
{
    if (hook->armed && hook->left > 0 && sim_once_in(n)) {
        hook->left = 1;
    }
    return hook->armed && hook->left == 1;
}

void store_risk(uint32_t n)
{
    (void)store_doom(n);
    store_point();
}

/* Whether a transaction is under way: begun and not committed. */
static bool in_transaction(void)
{
    const struct undo_log *log = &sim.slot->undo;
    const struct ring *ring = sim.worker->ring;

    return log->valid && (!log->by_head || (ring != NULL && log->head == ring->head));
}

#define WITHIN(offset, type, from, to) ((offset) >= offsetof(type, from) && (offset) < offsetof(type, to))

static bool session_derived(size_t offset)
{
    if (WITHIN(offset, struct session, wheel_next, lent_bytes)) {
        return true;
    }
    if (offset < offsetof(struct session, conn)) {
        return false;
    }
    offset = (offset - offsetof(struct session, conn)) % sizeof(struct conn);
    return WITHIN(offset, struct conn, wait_next, offered_bytes);
}

/* The slot's fields that are no part of a transaction: the undo log itself, what is derived, what only grows and is
 * harmless, and the claim of a flow entry, which adoption settles. */
static bool slot_free(size_t offset)
{
    return offset < offsetof(struct worker_slot, serial) ||
           WITHIN(offset, struct worker_slot, flow_claim, log_head) ||
           WITHIN(offset, struct worker_slot, stats.accept_pauses, stats.port_fallbacks) ||
           WITHIN(offset, struct worker_slot, stats.undone, stats.damaged) ||
           offset >= offsetof(struct worker_slot, undo);
}

/* Where in the tables an offset is. */
struct place {
    int table; /* TABLE_COUNT: in none */
    size_t row, within;
};

static struct place place_of(size_t offset)
{
    for (int table = 0; table < TABLE_COUNT; table++) {
        const struct region_table_place *place = &sim.region->header->tables[table];
        if (place->segment == SEGMENT_TABLES && offset >= place->offset &&
            offset < place->offset + place->count * place->stride) {
            offset -= place->offset;
            return (struct place){table, offset / place->stride, offset % place->stride};
        }
    }
    return (struct place){.table = TABLE_COUNT};
}

_Noreturn static void fail_at(size_t offset, const char *what)
{
    static const char *const names[] = {
#define REGION_TABLE(name, segment, stride, holds) [TABLE_##name] = #name,
#include "shm/tables.def"
#undef REGION_TABLE
        [TABLE_COUNT] = "no table",
    };
    struct place place = place_of(offset);

    sim_fail(place.table == TABLE_SESSIONS ? (uint32_t)place.row : SESSION_NONE, "%s, row %zu, byte %zu: %s",
             names[place.table], place.row, place.within, what);
}

/* Whether a store to the region may be outside of the undo log. */
static bool not_under_transaction(size_t offset)
{
    struct place place = place_of(offset);

    switch (place.table) {
    case TABLE_SESSIONS:
        return session_derived(place.within);
    case TABLE_SLOTS:
        return slot_free(place.within);
    case TABLE_SERVER_COUNTERS:
        return place.within < offsetof(struct server_counters, connects);
    case TABLE_ADOPTION_TIMES:
    case TABLE_CONNECT_TIMES:
    case TABLE_LISTENER_COUNTERS:
    case TABLE_BUFFER_RECORDS:
        return false;
    default: /* log records count once the head passes them; the flow table has its own order of stores */
        return true;
    }
}

static bool is_saved(size_t offset, size_t size)
{
    const struct undo_log *log = &sim.slot->undo;
    uint32_t end = log->used;

    while (end > 0) {
        struct {
            uint64_t offset;
            uint32_t length, previous;
        } record;
        memcpy(&record, log->records + end - sizeof(record), sizeof(record));
        if (offset >= record.offset && offset + size <= record.offset + record.length) {
            return true;
        }
        end = record.previous;
    }
    return false;
}

/* Remembers what the bytes were at the transaction's begin. */
static void remember(size_t offset, size_t size)
{
    struct place place = place_of(offset);

    for (size_t at = offset; at < offset + size; at++) {
        uint64_t word = at / 8;
        if (place.table == TABLE_SESSIONS && session_derived(place.within + at - offset)) {
            continue;
        }
        struct stamp *stamp = &hook->stamps[word];
        if (stamp->transaction != hook->transaction) {
            SIM_CHECK(hook->touched_count < TOUCHED, "a transaction changes more than a session");
            *stamp = (struct stamp){hook->transaction, hook->touched_count};
            hook->touched[hook->touched_count++] = (struct touched){.word = word};
            memcpy(&hook->touched[stamp->place].before, tables() + word * 8, 8);
        }
        hook->touched[stamp->place].bytes |= (uint8_t)(1u << (at % 8));
    }
}

/* What is another slot's, no worker stores to. */
static void check_owner(size_t offset)
{
    const struct region_header *header = sim.region->header;
    struct place place;

    if (header->slot_count < 2) {
        return;
    }
    place = place_of(offset);
    if (by_slot[place.table] &&
        place.row / (header->tables[place.table].count / header->slot_count) != sim.index) {
        fail_at(offset, "a store to what is another slot's");
    }
}

static void before_store(const void *address, size_t size)
{
    if (!hook->armed) {
        crew_program_step();
        return;
    }
    size_t offset = (size_t)((const unsigned char *)address - tables());
    store_done();
    if (offset < sim.region->header->segment_bytes[SEGMENT_TABLES]) {
        check_owner(offset);
    }
    if (address == &sim.slot->undo.valid) {
        hook->turning = true;
    } else if (offset < sim.region->header->segment_bytes[SEGMENT_TABLES] && in_transaction() &&
               !(not_under_transaction(offset) && not_under_transaction(offset + size - 1))) {
        if (!is_saved(offset, size)) {
            fail_at(offset, "a store within a transaction to what was not saved");
        }
        remember(offset, size);
    }
    count_store();
}

void store_hook_bury(void)
{
    struct worker_slot *slot = sim.slot;
    unsigned char *copy = NULL;

    hook->turning = false; /* it died before that store */
    for (int i = 0; i < ALLOCATIONS; i++) {
        free(hook->allocations[i]);
        hook->allocations[i] = NULL;
    }
    if (!in_transaction() || hook->touched_count == 0) {
        return;
    }
    /* Undo, compare, and put everything back: undoing is the next incarnation's work. */
    struct undo_log log = slot->undo;
    copy = malloc(hook->touched_count * sizeof(uint64_t));
    SIM_CHECK(copy != NULL, "no memory");
    for (uint32_t i = 0; i < hook->touched_count; i++) {
        memcpy(copy + i * 8, tables() + hook->touched[i].word * 8, 8);
    }
    struct session *sessions = sim.sessions;
    uint32_t high = slot->session_high < sim.config->slab ? slot->session_high + 1 : slot->session_high;
    struct session *records = malloc(high * sizeof(*records));
    SIM_CHECK(records != NULL, "no memory");
    memcpy(records, sessions, high * sizeof(*records));
    SIM_CHECK(undo_rollback(&slot->undo, tables(), log.head), "nothing to undo");
    for (uint32_t i = 0; i < hook->touched_count; i++) {
        const struct touched *touched = &hook->touched[i];
        for (int byte = 0; byte < 8; byte++) {
            bool same = tables()[touched->word * 8 + byte] == (unsigned char)(touched->before >> (8 * byte));
            if (!same && (touched->bytes >> byte & 1)) {
                fail_at(touched->word * 8 + (size_t)byte, "not as it was before the transaction");
            }
        }
    }
    memcpy(sessions, records, high * sizeof(*records));
    for (uint32_t i = 0; i < hook->touched_count; i++) {
        memcpy(tables() + hook->touched[i].word * 8, copy + i * 8, 8);
    }
    slot->undo = log;
    free(records);
    free(copy);
}

/* The C library for the worker. Copies are not one store: they may be cut at any word. */

static void store_bytes(unsigned char *to, const unsigned char *from, int value, size_t size)
{
    for (size_t done = 0; done < size; done += 8) {
        size_t piece = size - done < 8 ? size - done : 8;
        before_store(to + done, piece);
        if (from != NULL) {
            memcpy(to + done, from + done, piece);
        } else {
            memset(to + done, value, piece);
        }
    }
}

void *sim_memcpy(void *to, const void *from, size_t size);
void *sim_memset(void *to, int value, size_t size);
void *sim_calloc(size_t count, size_t size);
void sim_free(void *memory);

void *sim_memcpy(void *to, const void *from, size_t size)
{
    if (hook->armed && size <= sizeof(struct session)) {
        store_bytes(to, from, 0, size);
    } else {
        memcpy(to, from, size); /* a message's bytes; nobody reads them if it is cut short */
        store_point();
    }
    return to;
}

void *sim_memset(void *to, int value, size_t size)
{
    if (hook->armed && size <= sizeof(struct session)) {
        store_bytes(to, NULL, value, size);
    } else {
        memset(to, value, size);
        store_point();
    }
    return to;
}

void *sim_calloc(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    for (int i = 0; hook->armed && i < ALLOCATIONS; i++) {
        if (hook->allocations[i] == NULL) {
            hook->allocations[i] = memory;
            break;
        }
    }
    return memory;
}

void sim_free(void *memory)
{
    for (int i = 0; i < ALLOCATIONS; i++) {
        if (hook->allocations[i] == memory) {
            hook->allocations[i] = NULL;
        }
    }
    free(memory);
}

/* What the compiler calls. Where a worker loads an atomic, others may go on before; where a program loads anything. */

static void before_load(void)
{
    if (hook->armed) {
        tcp_interrupt();
    } else {
        crew_program_step();
    }
}

#define QUIET_1(name)         \
    void name(void *address); \
    void name(void *address)  \
    {                         \
        (void)address;        \
    }
#define LOAD_1(name)          \
    void name(void *address); \
    void name(void *address)  \
    {                         \
        (void)address;        \
        crew_program_step();  \
    }
#define QUIET_RANGE(name)                         \
    void name(void *address, unsigned long size); \
    void name(void *address, unsigned long size)  \
    {                                             \
        (void)address;                            \
        (void)size;                               \
    }
#define STORE_1(name, size)          \
    void name(void *address);        \
    void name(void *address)         \
    {                                \
        before_store(address, size); \
    }

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

LOAD_1(__tsan_read1)
LOAD_1(__tsan_read2)
LOAD_1(__tsan_read4)
LOAD_1(__tsan_read8)
LOAD_1(__tsan_read16)
QUIET_1(__tsan_unaligned_read2)
QUIET_1(__tsan_unaligned_read4)
QUIET_1(__tsan_unaligned_read8)
QUIET_1(__tsan_unaligned_read16)
QUIET_RANGE(__tsan_read_range)
STORE_1(__tsan_write1, 1)
STORE_1(__tsan_write2, 2)
STORE_1(__tsan_write4, 4)
STORE_1(__tsan_write8, 8)
STORE_1(__tsan_write16, 16)
STORE_1(__tsan_unaligned_write2, 2)
STORE_1(__tsan_unaligned_write4, 4)
STORE_1(__tsan_unaligned_write8, 8)
STORE_1(__tsan_unaligned_write16, 16)

void __tsan_write_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size)
{
    before_store(address, size);
}

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
}

void __tsan_atomic_thread_fence(int order)
{
    (void)order;
}

#define ATOMIC(bits, type)                                                                                \
    type __tsan_atomic##bits##_load(const volatile type *address, int order);                             \
    type __tsan_atomic##bits##_load(const volatile type *address, int order)                              \
    {                                                                                                     \
        (void)order;                                                                                      \
        before_load();                                                                                    \
        return *address;                                                                                  \
    }                                                                                                     \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int order);                      \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int order)                       \
    {                                                                                                     \
        (void)order;                                                                                      \
        before_store((const void *)address, sizeof(type));                                                \
        *address = value;                                                                                 \
    }                                                                                                     \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value, \
                                                      int order, int failure);                            \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value, \
                                                      int order, int failure)                             \
    {                                                                                                     \
        (void)order;                                                                                      \
        (void)failure;                                                                                    \
        before_store((const void *)address, sizeof(type));                                                \
        if (*address != *expected) {                                                                      \
            *expected = *address;                                                                         \
            return 0;                                                                                     \
        }                                                                                                 \
        *address = value;                                                                                 \
        return 1;                                                                                         \
    }                                                                                                     \
    type __tsan_atomic##bits##_exchange(volatile type *address, type value, int order);                   \
    type __tsan_atomic##bits##_exchange(volatile type *address, type value, int order)                    \
    {                                                                                                     \
        (void)order;                                                                                      \
        before_store((const void *)address, sizeof(type));                                                \
        type before = *address;                                                                           \
        *address = value;                                                                                 \
        return before;                                                                                    \
    }

uint64_t __tsan_atomic64_fetch_add(volatile uint64_t *address, uint64_t value, int order);
uint64_t __tsan_atomic64_fetch_add(volatile uint64_t *address, uint64_t value, int order)
{
    (void)order;
    before_store((const void *)address, sizeof(*address));
    *address += value;
    return *address - value;
}

ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
