/*
 * Workers die at every step there is, one after the other, under load: shm/fault_point.def. Nobody at either
 * end notices, nothing leaks, and each step was really reached.
 *
 * Needs a build with PENSTOCK_FAULT_POINTS, its worker's and its own.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/name_row.h"
#include "shm/order.h"
#include "shm/session_slab.h"
#include "shm/worker_slot.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum {
    LOADS = 5,
    ROUNDS_MAX = 30,
    ROUND_MS = 5000, /* the loads last so long, then take their time to end; others are begun meanwhile */
    DEATHS_EACH = 2, /* at different passings */
    SETTLE_MS = 60,  /* a worker that lived so long is replaced at once: PROGRESS_US in cmd/keeper.c */
    REACHED_MS = 20000,
    DISTURB_EVERY_MS = 20,
    RELOAD_EVERY = 4,      /* disturbances */
    KILL_EVERY = 3,        /* likewise */
    LISTENERS_EVERY = 100, /* more than it takes to close them */
    MORE_LISTENERS = 40,   /* so that they come in several messages */
    BLAST_BYTES = 1 << 20,
};

BED_SUITE(faults, 170);

/* A step, and the step whose death leads to it. */
struct step {
    const char *name;
    enum fault_point point, after;
};

static const struct step steps[] = {
#define FAULT_POINT_STEP(name, after, meaning) {#name, FAULT_##name, FAULT_##after},
#include "shm/fault_point.def"
#undef FAULT_POINT_STEP
};

enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

static struct {
    struct origin origin;
    struct origin echo; /* behind a listener of its own: its clients end by reset */
    uint16_t echo_port;
    uint16_t refusing_port;
    struct killer killer;
    struct region region; /* the instance's own, writable */
    struct worker_slot *slot;
    struct bed_process loads[LOADS * ROUNDS_MAX];
    unsigned load_count;
    struct load_totals totals;
    uint64_t disturbances;
    uint64_t disturbed_ms;
    uint64_t round_ms;
} scene;

static void map_region(void)
{
    int fds[SEGMENT_COUNT];

    for (int i = 0; i < SEGMENT_COUNT; i++) { /* cmd/descriptors.h: FD_HEAD and those that follow */
        fds[i] = open(bed_format("/proc/%d/fd/%d", penstock_worker(0), 3 + i), O_RDWR);
        cr_assert_geq(fds[i], 0, "root only");
    }
    cr_assert_eq(region_attach(&scene.region, fds, true), 0);
    cr_assert_eq(region_write_head(&scene.region, fds[SEGMENT_HEAD]), 0);
    scene.slot = region_slot(&scene.region, 0);
}

/* Listeners that come and go, at addresses of their own. */
static const char *more_binds(void)
{
    const char *binds = bed_format("127.0.0.2:%u", bed.port);

    for (int i = 1; i < MORE_LISTENERS; i++) {
        binds = bed_format("%s, 127.0.0.%d:%u", binds, 2 + i, bed.port);
    }
    return binds;
}

/* One worker, so that all of the load passes it. Every other connect is refused first; buffers are scarce.
 * The flow table, sized for the sessions, has room for the TIME_WAITs of a whole test. */
static struct penstock_config configuration(bool more)
{
    return (struct penstock_config){
        .workers = 1,
        .limits = "sessions: 9000, buffers: 2MiB",
        .servers = bed_format("\"127.0.0.1:%u\", \"127.0.0.1:%u\"", scene.refusing_port, scene.origin.port),
        .bind = bed_format("127.0.0.1:%u%s%s", bed.port, more ? ", " : "", more ? more_binds() : ""),
        .more_listeners = bed_format(
            "  - { name: echo, bind: [ 127.0.0.1:%u ], routes: [ { pool: echo } ] }\n", scene.echo_port),
        .more_pools = bed_format("  - { name: echo, servers: [ \"127.0.0.1:%u\" ] }\n", scene.echo.port),
    };
}

static void begin(void)
{
    scene.origin = origin_start("auto");
    scene.echo = origin_start("echo");
    scene.echo_port = bed_reserve_port("127.0.0.1");
    scene.refusing_port = bed_reserve_port("127.0.0.1");
    struct penstock_config config = configuration(false);
    penstock_start(&config);
    killer_begin(&scene.killer, 1);
    map_region();
}

static void begin_round(void)
{
    static const char streams[] = "streams --connections 100 --seconds 5 --max-bytes 4M --slow-readers 40 "
                                  "--slow-origin 20 --early-fin 20 --late-fin 20";
    static const char *const loads[LOADS] = {
        streams,
        "connect --connections 1 --count 300",
        "connect --connections 1 --count 300 --close-first origin",
        "pingpong --connections 60 --seconds 5 --pause 5.5",
        "idle --connections 300 --seconds 5 --touch --verify",
    };

    cr_assert(scene.load_count < LOADS * ROUNDS_MAX);
    for (unsigned i = 0; i < LOADS; i++) {
        scene.loads[scene.load_count++] = load_start(loads[i]);
    }
    scene.round_ms = bed_now_ms();
}

/* The session of a client's socket is killed, if the order before has been answered. */
static void order_end(int fd)
{
    struct session_walk walk;
    struct session session;
    uint16_t port = net_local_port(fd);

    session_walk_begin(&walk, &scene.region);
    while (session_walk_next(&walk, &session)) {
        const struct name_row *name = region_name(&scene.region, NAME_LISTENER, session.listener_row);
        if (session.source_port == port && name != NULL && strcmp(name->name, "echo") == 0) {
            (void)order_kill(&scene.region, 0, walk.index, session.generation);
        }
    }
}

/* A reload, and a client that ends by reset with much on the way in both directions, or is being killed then. */
static void disturb(void)
{
    static uint8_t bytes[64 * 1024];
    size_t sent = 0;
    ssize_t n = 0;

    if (bed_now_ms() < scene.disturbed_ms + DISTURB_EVERY_MS) {
        return;
    }
    scene.disturbed_ms = bed_now_ms();
    if (scene.disturbances % LISTENERS_EVERY == 0) {
        size_t texts = bed_mark();
        struct penstock_config config = configuration(scene.disturbances / LISTENERS_EVERY % 2 == 0);
        penstock_configure(&config);
        bed_release(texts);
    }
    if (scene.disturbances++ % RELOAD_EVERY == 0) {
        cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
    }
    int fd = net_connect(scene.echo_port);
    net_pass(fd, fd, "there");
    for (; n >= 0 && sent < BLAST_BYTES; sent += (size_t)n) {
        n = send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (scene.disturbances % KILL_EVERY == 0) {
        order_end(fd);
    }
    bed_pause_ms(1);
    net_reset(fd);
}

static bool is_chosen(enum fault_point point)
{
    return __atomic_load_n(&scene.slot->fault_choice.point, __ATOMIC_ACQUIRE) == point;
}

static void choose(enum fault_point point, uint32_t countdown, enum fault_point next, uint32_t next_countdown)
{
    struct fault_choice *choice = &scene.slot->fault_choice;

    choice->countdown = countdown;
    choice->next = next;
    choice->next_countdown = next_countdown;
    __atomic_store_n(&choice->point, point, __ATOMIC_RELEASE); /* pairs with fault_point_pass() */
}

/* The worker serves, and has for a while. */
static void await_service(void)
{
    uint64_t since_ms = bed_now_ms();
    uint32_t deaths = scene.slot->deaths;

    while (bed_now_ms() < since_ms + SETTLE_MS) {
        if (scene.slot->deaths != deaths ||
            __atomic_load_n(&scene.slot->state, __ATOMIC_ACQUIRE) != SLOT_SERVING) {
            deaths = scene.slot->deaths;
            since_ms = bed_now_ms();
        }
        disturb();
        bed_pause_ms(1);
    }
}

static void choose_step(const struct step *step, uint32_t passing, uint32_t left)
{
    if (step->after == FAULT_NONE) {
        choose(step->point, left, FAULT_NONE, 0);
    } else {
        choose(step->after, passing, step->point, left);
    }
}

static void go_on_loading(void)
{
    if (scene.load_count == 0 || bed_now_ms() >= scene.round_ms + ROUND_MS) {
        begin_round();
    }
}

/* Lets the worker die at a step, at that passing. An adoption that does not come to it is followed by another. */
static void die_at(const struct step *step, uint32_t passing)
{
    uint64_t give_up_ms = bed_now_ms() + REACHED_MS;

    go_on_loading();
    await_service();
    choose_step(step, passing, passing);
    while (!is_chosen(FAULT_NONE)) {
        go_on_loading();
        cr_assert(bed_now_ms() < give_up_ms, "%s was never reached for the %u. time: %u deaths", step->name,
                  passing, scene.slot->deaths);
        if (step->after != FAULT_NONE && is_chosen(step->point)) {
            await_service();
            if (is_chosen(step->point)) {
                choose_step(step, passing, scene.slot->fault_choice.countdown);
            }
        }
        disturb();
        bed_pause_ms(1);
    }
}

/* Listening sockets come and go only every few seconds. */
static bool is_seldom(const struct step *step)
{
    return step->point >= FAULT_INBOX_LOOKED && step->point <= FAULT_LISTENER_CLOSED;
}

/* At the steps of serving or of adoption. */
static void die_everywhere(bool adopting)
{
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t deaths = is_seldom(&steps[i]) ? 1 : DEATHS_EACH;
        for (uint32_t n = 0; n < deaths && (steps[i].after != FAULT_NONE) == adopting; n++) {
            die_at(&steps[i], 1 + 3 * n);
        }
    }
}

/* At the steps of serving, by a worker that has just followed another and may still be applying what that one left. */
static void die_again_everywhere(void)
{
    for (unsigned i = 0; i < STEPS; i++) {
        if (steps[i].after == FAULT_NONE && !is_seldom(&steps[i])) {
            struct step again = steps[i];
            again.after = FAULT_COMPLETION_SAVED;
            die_at(&again, 1);
        }
    }
}

/* Every byte was right, every end in its place, every count exact. */
static void expect_unharmed(void)
{
    for (unsigned i = 0; i < scene.load_count; i++) {
        load_totals_add(&scene.totals, load_finish(&scene.loads[i]));
    }
    WAIT_UNTIL(penstock_number("sessions") == 0);
    const char *status = penstock_status();
    uint64_t closed =
        json_number(status, "closes.client_closed") + json_number(status, "closes.server_closed");
    cr_assert_eq(json_number(status, "stats.accepted"), scene.totals.opened + scene.disturbances, "%s",
                 status);
    cr_assert_eq(json_number(status, "stats.connects"), scene.totals.opened + scene.disturbances, "%s",
                 status);
    cr_assert_eq(closed, scene.totals.opened, "%lu were opened: %s", scene.totals.opened, status);
    cr_assert_eq(json_number(status, "stats.damaged"), 0, "%s", status);
    cr_assert_eq(json_number(status, "stats.log_dropped"), 0, "%s", status);
    scene.killer.kills = scene.slot->fault_choice.deaths;
    killer_expect_all_back(&scene.killer);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == scene.totals.opened + scene.disturbances);
    origin_expect_unharmed(&scene.origin, scene.totals.bytes_up);
    (void)origin_stop(&scene.echo);
    bed_end();
}

Test(faults, at_every_step_of_serving)
{
    begin();
    die_everywhere(false);
    expect_unharmed();
}

Test(faults, at_every_step_of_adoption)
{
    begin();
    die_everywhere(true);
    expect_unharmed();
}

Test(faults, twice_in_a_row)
{
    begin();
    die_again_everywhere();
    expect_unharmed();
}
