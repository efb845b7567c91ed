#include "tests/sim/run.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "io/log.h"
#include "shm/image_box.h"
#include "shm/name_row.h"
#include "shm/order.h"
#include "tests/sim/crew.h"
#include "tests/sim/fake_inbox.h"
#include "tests/sim/fake_lent.h"
#include "tests/sim/fake_pipe.h"
#include "tests/sim/fake_ring.h"
#include "tests/sim/fake_tcp.h"
#include "tests/sim/invariants.h"
#include "tests/sim/ledger.h"
#include "tests/sim/store_hook.h"

struct sim sim;

enum {
    RING_FDS = 180,     /* real numbers: the worker moves its wake-up onto the dead ring's */
    STARTS_MAX = 6,     /* deaths in a row before a turn is through */
    DEATHS_MAX = 20000, /* then lives are long: a run is to end in seconds */
    PATIENCE_S = 600,
    WAIT_MS = 2000,    /* more than one turn of the loop */
    ACCEPT_MS = 15000, /* more than a worker's accepts are begun again */
};

/* What the driver knows of each worker. */
struct life {
    int wake_fd;
    struct worker_setup setup;
    uint64_t stores;        /* until the next death; 0: none */
    uint32_t starts;        /* incarnations since the last whole turn */
    uint64_t checked;       /* completions at the last check */
    uint32_t first_waiting; /* the receiver that is next to get a buffer, and since when that is so */
    uint64_t first_since_us;
    uint32_t pipes_allowed;                  /* free at once */
    uint32_t next_client[SIM_LISTENERS_MAX]; /* who is to be accepted next, and since when that is so */
    uint64_t next_since_us[SIM_LISTENERS_MAX];
};

static struct {
    struct life lives[SIM_CREW_MAX];
    struct region regions[SIM_GENERATIONS_MAX];
    uint32_t generations;
    uint64_t publish_us; /* and when it is */
    bool reloading;      /* sockets are handed out, the image is not yet published */
    uint64_t resize_us;  /* when the number of workers changes next */
    uint32_t begun;      /* slots that began anew */
    bool handing_over;   /* elder workers still have listening sockets */
    uint64_t lines;      /* of the log, and when there were fewer */
    uint64_t lines_us;
} driver;

static struct life *own(void)
{
    return &driver.lives[sim.at];
}

static void print_session(uint32_t index)
{
    const struct session *session = &sim.sessions[index];

    fprintf(
        stderr,
        "session %u: serial %lu generation %u phase %s reason %s flags %x tries %u server %u active_ms %lu\n",
        index, (unsigned long)session->serial, session->generation, session_phase_text(session->phase),
        close_reason_text(session->reason), session->flags, session->tries, session->server_row,
        (unsigned long)session->active_ms);
    for (int side = 0; side < SIDE_COUNT; side++) {
        const struct conn *conn = &session->conn[side];
        const struct net_conn *net_side = net_at(conn->fd);
        fprintf(
            stderr,
            "  %s: fd %d connection %u received %lu queued %u held %u in_flight %x source %u sink %u flags %x "
            "flow %u pipe %u\n",
            side == SIDE_CLIENT ? "client" : "server", conn->fd, net_side != NULL ? net_side->id : 0,
            (unsigned long)conn->received_bytes, conn->queued_bytes, conn->held_bytes, conn->in_flight,
            conn->source, conn->sink, conn->flags, conn->flow, conn->pipe);
    }
}

static void print_place(void)
{
    fprintf(stderr, "sim: FAILED config=%s seed=%lu worker=%u turn=%lu deaths=%lu stores=%lu now_us=%lu\n",
            sim.config->name, (unsigned long)sim.seed, sim.at, (unsigned long)sim.turns,
            (unsigned long)sim.deaths, (unsigned long)store_hook_count(), (unsigned long)sim.now_us);
}

void sim_fail(uint32_t index, const char *format, ...)
{
    va_list arguments;

    store_hook_disarm();
    print_place();
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (index != SESSION_NONE) {
        print_session(index);
    }
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* An assertion of the worker's. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    store_hook_disarm();
    print_place();
}

static void build_image(const struct region *region)
{
    static _Alignas(8) unsigned char bytes[IMAGE_BYTES_MAX];
    struct image *image = (struct image *)(void *)bytes;
    const struct sim_config *config = sim.config;
    uint32_t listeners = config->listeners + config->local_listeners;

    memset(bytes, 0, sizeof(bytes));
    image_layout(image, listeners, listeners, 1, config->servers);
    image->magic = IMAGE_MAGIC;
    image->generation = 1;
    image->workers = sim_slots();
    image->backlog = config->backlog;
    image->buffer_bytes_limit = (uint64_t)config->bank_bytes * sim_slots();
    image->spin_us = sim.seed % 2 != 0 ? 200 : 0;
    image->sessions_limit = config->sessions_limit != 0 ? config->sessions_limit : UINT32_MAX;
    image->timeouts = (struct image_timeouts){
        .connect_ms = RUN_CONNECT_MS, .idle_ms = RUN_IDLE_MS, .half_closed_ms = RUN_HALF_CLOSED_MS};
    const struct image_timeouts inherit = {IMAGE_INHERIT, IMAGE_INHERIT, IMAGE_INHERIT, IMAGE_INHERIT};
    for (uint32_t i = 0; i < listeners; i++) {
        struct image_listener *listener = (struct image_listener *)image_listener(image, i);
        struct image_bind *bind = (struct image_bind *)image_bind(image, i);
        snprintf(listener->name, sizeof(listener->name), "listener%u", i);
        listener->timeouts = inherit;
        listener->bind_first = i;
        listener->bind_count = 1;
        listener->zero_copy = config->zero_copy;
        bind->listener = i;
        bind->place = i;
        bind->endpoint.family = i < config->listeners ? ENDPOINT_V4 : ENDPOINT_UNIX;
    }
    struct image_pool *pool = (struct image_pool *)image_pool(image, 0);
    snprintf(pool->name, sizeof(pool->name), "pool");
    pool->timeouts = inherit;
    pool->server_count = config->servers;
    pool->retries = config->retries;
    pool->zero_copy = config->zero_copy;
    snprintf(pool->congestion, sizeof(pool->congestion), "reno");
    pool->buffers.receive = 64 << 10;
    for (uint32_t i = 0; i < config->servers; i++) {
        struct image_server *server = (struct image_server *)image_server(image, i);
        char text[64];
        snprintf(text, sizeof(text), "127.0.0.1:%u", 9000 + i);
        SIM_CHECK(endpoint_parse(&server->address, text, NULL) == 0, "server's address");
        server->weight = 1 + i % 3;
        server->backup = config->servers > 2 && i == config->servers - 1;
    }
    SIM_CHECK(name_rows_assign(region, image) == 0 && image_box_publish(region, image) == 0, "image");
}

static void live(void);

static uint32_t sockets(void)
{
    return sim.config->listeners + sim.config->local_listeners;
}

/* The worker of a slot, and its keeper. */
static void add_worker(struct region *region, uint32_t index)
{
    uint32_t number = crew.count;
    struct life *life = &driver.lives[number];

    region_slot(region, index)->fd_floor = SIM_FD_FLOOR;
    life->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    life->setup = (struct worker_setup){
        .region = region,
        .slot = index,
        .ring_fds = {RING_FDS, RING_FDS + 1},
        .pipe_base = SIM_PIPE_BASE,
        .wake_fd = life->wake_fd,
        .inbox_fd = -1,
        .listener_base = SIM_LISTENER_FD,
        .resume_batch =
            sim.config->resume_batch > 0 ? sim.config->resume_batch : 1 + sim_below(sim.config->at_once / 8),
    };
    crew_add(region, index, live);
    inbox_hand(number, sockets(), 1);
}

/* A region and its workers. */
static void add_generation(void)
{
    const struct sim_config *config = sim.config;
    struct region *region = &driver.regions[driver.generations++];
    struct region_shape shape = {
        .name = "sim",
        .slots = sim_slots(),
        .sessions_per_slot = config->slab,
        .flows = config->flows != 0 ? config->flows
                 : config->owned    ? config->sessions * 4
                                    : (config->slab * 4 + 256) * sim_slots(),
        .bank_bytes = (uint64_t)config->bank_bytes * sim_slots(),
        .monotonic_us = sim.now_us,
        .seed = sim.seed,
    };

    SIM_CHECK(region_create(region, &shape) == 0, "region");
    region->header->flow_mark = driver.generations;
    build_image(region);
    if (config->owned && driver.generations == 1) {
        tcp_world_init(region);
    } else if (config->owned) {
        tcp_world_share(region);
    }
    for (uint32_t index = 0; index < sim_slots(); index++) {
        add_worker(region, index);
    }
}

static void build(void)
{
    crew_init();
    inbox_world_init();
    net_init();
    pipe_world_init();
    lent_world_init();
    add_generation();
    crew_enter(0);
    invariants_init();
    ledger_init();
}

static void tear_down(void)
{
    ledger_free();
    invariants_free();
    store_hook_free();
    ring_world_free();
    pipe_world_free();
    net_free();
    tcp_world_free();
    for (uint32_t i = 0; i < crew.count; i++) {
        close(driver.lives[i].wake_fd);
    }
    crew_free();
    for (uint32_t i = 0; i < driver.generations; i++) {
        struct region *region = &driver.regions[i];
        memset(region->flow_maps, 0, sizeof(region->flow_maps)); /* of the first one's segment */
        region_detach(region);
        close(region->fds[SEGMENT_HEAD]);
        close(region->fds[SEGMENT_TABLES]);
        close(region->fds[SEGMENT_BANK]);
    }
}

/* How many stores the next life lasts: often short, so that deaths in adoption are common. */
static uint64_t draw_life(void)
{
    uint32_t scale = sim.config->crash_scale;

    if (scale == 0) {
        return 0;
    }
    if (own()->starts >= STARTS_MAX || sim.deaths >= DEATHS_MAX) {
        return 20000 + (uint64_t)sim.config->slab * 300 + sim_below(4 * scale);
    }
    switch (sim_below(8)) {
    case 0:
        return 1 + sim_below(100);
    case 1:
        return 1 + sim_below(3000);
    case 2:
        return 1 + sim_below(scale);
    default:
        return 1 + sim_below(2 * scale);
    }
}

static void die(void)
{
    sim.deaths++;
    own()->starts++;
    crew.members[sim.at].settled = false;
    invariants_check_death();
    store_hook_bury();
    ring_freeze();
    uint64_t until_us = sim.now_us + sim_below(20000);
    while (sim.now_us < until_us) {
        (void)crew_sleep(until_us);
    }
}

/* Whoever waits for a buffer gets one when there is one. */
static void check_waiting(void)
{
    const struct worker *worker = sim.worker;
    uint32_t first = worker->waiting.head;

    if (first != own()->first_waiting ||
        worker->ring_filled[BUFFER_LARGE] + worker->ring_filled[BUFFER_SMALL] == 0) {
        own()->first_waiting = first;
        own()->first_since_us = sim.now_us;
    }
    if (first != SESSION_NONE && sim.now_us - own()->first_since_us > (uint64_t)WAIT_MS * 1000) {
        sim_fail(first / SIDE_COUNT, "side %u waits for a buffer, and there are some", first % SIDE_COUNT);
    }
}

/* Whoever comes is accepted, whichever wake-up was lost. */
static void check_queues(void)
{
    for (uint32_t place = 0; place < sockets(); place++) {
        const struct net_queue *queue = net_queue(sim.index, place);
        uint32_t next = queue->count > 0 ? queue->ids[0] : 0;
        if (next != own()->next_client[place] || sim.slot->accept_paused) {
            own()->next_client[place] = next;
            own()->next_since_us[place] = sim.now_us;
        }
        SIM_CHECK(next == 0 || !inbox_is_placed(place) ||
                      sim.now_us - own()->next_since_us[place] < (uint64_t)ACCEPT_MS * 1000,
                  "client %u waits to be accepted", next);
    }
}

/* Few pipes: the others are put away at the end of a turn, and given back when as many are to be there. */
static void limit_pipes(void)
{
    struct worker *worker = sim.worker;

    pipe_world.scarce += worker->pipes_free == 0;
    if (sim.config->pipes == 0) {
        return;
    }
    if (sim_once_in(50)) {
        own()->pipes_allowed = sim_below(sim.config->pipes + 1);
    }
    while (worker->pipes_free < own()->pipes_allowed && sim.away->count > 0) {
        worker->pipes[worker->pipes_free++] = sim.away->ids[--sim.away->count];
    }
    while (worker->pipes_free > own()->pipes_allowed) {
        sim.away->ids[sim.away->count++] = worker->pipes[--worker->pipes_free];
    }
}

static void wake(uint32_t number)
{
    crew_enter(number);
    ring_world->wake_wanted = true;
    crew_wake(number);
}

/* Wakes the workers of a region. */
static void wake_region(const struct region *region)
{
    uint32_t at = sim.at;

    for (uint32_t i = 0; i < crew.count; i++) {
        if (crew.members[i].region == region) {
            wake(i);
        }
    }
    crew_enter(at);
}

static void tell(struct region *region, enum run_state state)
{
    region->header->run_state_since_ms = sim.now_us / 1000;
    region->header->run_state = state;
    wake_region(region);
}

static struct region *newest(void)
{
    return &driver.regions[driver.generations - 1];
}

static bool is_serving(const struct region *region)
{
    for (uint32_t index = 0; index < sim_slots(); index++) {
        if (region_slot(region, index)->state != SLOT_SERVING) {
            return false;
        }
    }
    return true;
}

static bool has_let_go(void)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        if (crew.members[i].region != newest() && !inbox_is_empty(i)) {
            return false;
        }
    }
    return true;
}

/* As cmd/supervisor_elders.c does it: the next generation has the same listening sockets, then the elder one lets go
 * of them. */
static void hand_over_now_and_then(void)
{
    uint32_t next = sim.config->sessions / (sim.config->handovers + 1) * driver.generations;

    if (driver.generations <= sim.config->handovers && net.clients >= next && !driver.handing_over) {
        add_generation();
        driver.handing_over = true;
        return;
    }
    if (!driver.handing_over) {
        return;
    }
    struct region *elder = &driver.regions[driver.generations - 2];
    if (elder->header->run_state == RUN_SERVE && (is_serving(newest()) || sim_once_in(100))) {
        tell(elder, RUN_HANDOVER);
    }
    if (has_let_go()) {
        driver.handing_over = false;
        newest()->header->accept_kick++;
        wake_region(newest());
    }
}

/* Follows the run's plan; true once it is through. */
static bool is_over(int result)
{
    const struct sim_config *config = sim.config;
    bool last = sim.region == newest();

    bool leaves = sim.region->header->run_state != RUN_SERVE ||
                  sim.index >= sim.worker->image->workers; /* which need not be the current one */
    SIM_CHECK(result == 0 || (result == WORKER_DONE && leaves), "the worker ended: %d", result);
    hand_over_now_and_then();
    if (result == WORKER_DONE) {
        return true;
    }
    if (config->ending == RUN_SERVE && last) {
        return net.clients == config->sessions && net.clients_alive == 0 && sim.worker->slab.active == 0;
    }
    if (last && !net.silent && net.clients >= config->sessions / 2) {
        net.silent = true;
        tell(newest(), config->ending);
    }
    return false;
}

static void check_turn(void)
{
    ledger_read();
    if (ledger.lines != driver.lines || net.clients_alive == 0) {
        driver.lines = ledger.lines;
        driver.lines_us = sim.now_us;
    }
    SIM_CHECK(sim.now_us - driver.lines_us < (uint64_t)PATIENCE_S * 1000000, "no session has ended for %d s",
              PATIENCE_S);
    check_waiting();
    check_queues();
    /* The last place goes to whichever listener is first: all of them ask for it. */
    uint32_t over = sim.config->listeners + sim.config->local_listeners - 1;
    uint32_t limit = sim.config->sessions_limit != 0 ? sim.config->sessions_limit + over : sim.config->slab;
    SIM_CHECK(sim.worker->slab.active <= limit, "%u sessions, limit %u", sim.worker->slab.active, limit);
    /* Everything is looked at, so not more often than something happens. */
    if (sim.config->one_by_one || (ring_world->completions - own()->checked) * 8 >= sim.worker->slab.active) {
        own()->checked = ring_world->completions;
        invariants_check();
    }
    if (sim.config->one_by_one || sim_once_in(64)) {
        invariants_check_flows();
    }
}

static bool is_of_newest(uint32_t number)
{
    return crew.members[number].region == newest();
}

/* Whether those without a place in the image have given up their listening sockets. */
static bool has_settled(const struct image *image)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        if (is_of_newest(i) && crew.members[i].index >= image->workers && !inbox_is_empty(i)) {
            return false;
        }
    }
    return true;
}

/* A keeper of its own for a slot whose last one has ended: cmd/keeper.c. */
static void begin_slot(uint32_t number)
{
    struct crew_member *member = &crew.members[number];
    uint32_t at = sim.at;

    member->slot->epoch = 0;
    memset(member->slot->listeners, 0, sizeof(member->slot->listeners));
    crew_enter(number);
    SIM_CHECK(net_table->open == 0, "a worker that ended left descriptors");
    inbox_begin(number);
    if (inbox_is_empty(number)) { /* its sockets came to the one before it */
        inbox_hand(number, sockets(), image_box_current(member->region)->generation);
    }
    pipe_begin();
    crew_enter(at);
    crew_revive(number);
    driver.begun++;
}

/* Sockets and keepers for the slots that the new image adds. */
static void add_slots(const struct image *old, const struct image *image)
{
    for (uint32_t i = 0; i < crew.count; i++) {
        uint32_t index = crew.members[i].index;
        if (is_of_newest(i) && index >= old->workers && index < image->workers) {
            inbox_hand(i, sockets(), image->generation);
        }
    }
}

static void tend_slots(const struct image *image)
{
    for (uint32_t i = 0; i < crew.count && newest()->header->run_state == RUN_SERVE; i++) {
        if (is_of_newest(i) && crew.members[i].index < image->workers && !crew.members[i].alive &&
            crew.members[i].slot->state == SLOT_DONE) {
            begin_slot(i);
        }
    }
}

/* Whether the slots from `first` on serve by the image. */
static bool has_begun(uint32_t first, const struct image *image)
{
    for (uint32_t index = first; index < image->workers; index++) {
        const struct worker_slot *slot = region_slot(newest(), index);
        if (slot->state == SLOT_DONE || slot->image_generation != image->generation) {
            return false;
        }
    }
    return true;
}

/* The image that comes next: the bank of another size, and perhaps another number of workers. False: not now. */
static bool draw_image(struct image *image)
{
    const struct image *old = image_box_current(newest());
    bool resizes = sim.config->resize_ms != 0 && sim.now_us >= driver.resize_us;
    bool reloads = resizes || sim_below(1000) < sim.config->reloads;

    if (!reloads || !image_box_is_free(newest())) {
        return false;
    }
    memcpy(image, old, old->size);
    image->generation++;
    if (resizes) {
        image->workers = 1 + sim_below(sim_slots());
        driver.resize_us = sim.now_us + sim_below(sim.config->resize_ms * (sim_once_in(2) ? 2000 : 100));
    }
    image->buffer_bytes_limit = (uint64_t)sim.config->bank_bytes * image->workers / (1 + sim_below(3));
    return image->workers <= old->workers ? has_begun(image->workers, old) : has_settled(old);
}

/* What the supervisor does between two turns: cmd/supervisor_reload.c. */
static void reload_now_and_then(void)
{
    static _Alignas(8) unsigned char bytes[IMAGE_BYTES_MAX];
    const struct image *old = image_box_current(newest());
    struct image *image = (struct image *)(void *)bytes;

    tend_slots(old);
    if (!driver.reloading) {
        driver.reloading = draw_image(image);
        driver.publish_us = sim.now_us + (sim_once_in(2) ? 0 : sim_below(3000000));
        if (driver.reloading) {
            add_slots(old, image);
            net.slots = image->workers;
        }
    } else if (sim.now_us >= driver.publish_us) {
        driver.reloading = false;
        SIM_CHECK(image_box_publish(newest(), image) == 0, "publishing");
        wake_region(newest());
    }
}

/* What an operator does, whatever the session is at. */
static void kill_now_and_then(void)
{
    if (sim.slot->session_high == 0 || sim_below(1000) >= sim.config->kills) {
        return;
    }
    uint32_t index = sim_below(sim.slot->session_high);
    const struct session *session = &sim.sessions[index];
    if (session->phase != SESSION_FREE && order_kill(sim.region, sim.index, index, session->generation)) {
        ledger_note_kill(session->serial);
        ring_world->wake_wanted = true;
    }
}

/* Lives and deaths until the run is over. */
static void live(void)
{
    int result;

    if (sigsetjmp(*store_hook_death(), 0) != 0) {
        die();
    }
    struct life *life = own();
    life->setup.descriptors_limit = net_table->limit;
    life->stores = draw_life();
    sim.away->count = 0;
    crew.members[sim.at].settled = false;
    bool adopts = sim_below(8) < 5; /* the others may die in adoption */
    store_hook_arm(adopts ? 0 : life->stores);
    result = worker_start(sim.worker, &life->setup);
    uint64_t left = store_hook_disarm();
    life->stores = adopts ? life->stores : left;
    SIM_CHECK(result == 0, "no start: %d", result);
    do {
        crew.members[sim.at].settled = false;
        store_hook_arm(life->stores);
        result = worker_turn(sim.worker);
        life->stores = store_hook_disarm();
        crew.members[sim.at].settled = true;
        life->starts = 0;
        sim.turns++;
        limit_pipes();
        reload_now_and_then();
        kill_now_and_then();
        check_turn();
    } while (!is_over(result));
    if (result == WORKER_DONE) { /* worker_run() */
        sim.slot->state = SLOT_DONE;
        store_hook_bury();
        ring_end();
    }
}

void run(const struct sim_config *config, uint64_t seed)
{
    struct timespec begin, end;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    signal(SIGABRT, on_abort);
    memset(&sim, 0, sizeof(sim));
    memset(&driver, 0, sizeof(driver));
    sim.config = config;
    sim.seed = seed;
    sim.random = seed;
    sim.now_us = 1000000000;
    log_init(LOG_LEVEL_ERROR, "sim");
    build();
    driver.lines_us = sim.now_us;
    crew_run();
    peers_finish();
    tcp_finish();
    for (uint32_t i = 0; i < crew.count; i++) {
        crew_enter(i);
        invariants_check_flows();
    }
    ledger_close();
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    const struct slot_stats stats = ledger_stats();
    fprintf(
        stderr,
        "sim: %s seed=%lu workers=%u begun=%u changes=%lu sessions=%lu deaths=%lu undone=%lu turns=%lu completions=%lu refused=%lu beside=%lu streamed=%lu fills=%lu partial=%lu empty=%lu settled=%lu scarce=%lu zero_copy=%lu notices=%lu blind=%lu resets=%lu seconds=%.1f",
        config->name, (unsigned long)seed, crew.count, driver.begun, (unsigned long)crew.changes,
        (unsigned long)stats.accepted, (unsigned long)sim.deaths, (unsigned long)stats.undone,
        (unsigned long)sim.turns, (unsigned long)ring_completions_total(),
        (unsigned long)stats.buffers_refused, (unsigned long)net.refused_beside,
        (unsigned long)pipe_world.streamed, (unsigned long)pipe_world.fills,
        (unsigned long)pipe_world.partial, (unsigned long)pipe_world.empty, (unsigned long)pipe_world.settled,
        (unsigned long)pipe_world.scarce, (unsigned long)lent_world.sends, (unsigned long)lent_world.notices,
        (unsigned long)lent_world.blind, (unsigned long)lent_world.resets, seconds);
    for (int reason = 0; reason < CLOSE_REASON_COUNT; reason++) {
        if (ledger.closes[reason] > 0) {
            fprintf(stderr, " %s=%lu", close_reason_text(reason), (unsigned long)ledger.closes[reason]);
        }
    }
    fputc('\n', stderr);
    tear_down();
}
