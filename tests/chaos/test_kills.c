/*
 * Workers die at random moments under load: nobody at either end notices, and nothing is counted twice or lost.
 *
 * The seed is printed; CHAOS_SEED=N repeats the choices (not the moments).
 */
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum { WORKERS = 2, LOADS_MAX = 4 };

BED_SUITE(kills, 300);

/* Loads that run at the same time, all through one instance. */
struct scene {
    struct origin origin;
    struct killer killer;
    struct bed_process loads[LOADS_MAX];
    unsigned load_count;
};

static void begin(struct scene *scene)
{
    *scene = (struct scene){.origin = origin_start("auto")};
    penstock_start_to(scene->origin.port);
    killer_begin(&scene->killer, WORKERS);
}

static void add_load(struct scene *scene, const char *arguments)
{
    scene->loads[scene->load_count++] = load_start(arguments);
}

/* Every byte was right, every end in its place, every count exact. */
static void expect_unharmed(struct scene *scene)
{
    struct load_totals totals = loads_expect(scene->loads, scene->load_count);

    killer_expect_all_back(&scene->killer);
    cr_assert_eq(penstock_number("stats.log_dropped"), 0);
    WAIT_UNTIL(bed_count_lines(bed_path("access.log")) == totals.opened);
    origin_expect_unharmed(&scene->origin, totals.bytes_up);
    bed_end();
}

Test(kills, under_everything_at_once)
{
    struct scene scene;

    begin(&scene);
    add_load(&scene,
             "streams --connections 60 --seconds 18 --max-bytes 8M --slow-readers 20 --slow-origin 10 "
             "--early-fin 20 --late-fin 20");
    add_load(&scene, "connect --connections 4 --seconds 18");
    add_load(&scene, "idle --connections 300 --seconds 18 --touch --verify");
    killer_run(&scene.killer, 100, 20, 300, 0);
    expect_unharmed(&scene);
}

/* A server that refuses and one that does not answer are tried besides the one that serves. */
Test(kills, with_servers_that_refuse_or_do_not_answer)
{
    struct scene scene = {.origin = origin_start("auto")};
    uint16_t silent;
    int filler;

    net_listen_full(&silent, &filler);
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u, 127.0.0.1:%u, 127.0.0.1:%u",
                                                                   bed_reserve_port("127.0.0.1"), silent,
                                                                   scene.origin.port),
                                             .timeouts = "connect: 100ms"});
    killer_begin(&scene.killer, WORKERS);
    add_load(&scene,
             "streams --connections 60 --seconds 6 --max-bytes 2M --slow-readers 20 --slow-origin 10");
    killer_run(&scene.killer, 0, 20, 200, scene.loads[0].pid);
    expect_unharmed(&scene);
}

Test(kills, of_all_workers_at_once)
{
    struct scene scene;

    begin(&scene);
    add_load(&scene, "idle --connections 1000 --seconds 8 --touch --verify");
    add_load(&scene, "streams --connections 100 --seconds 8 --max-bytes 4M --slow-readers 20 --late-fin 20");
    WAIT_UNTIL(penstock_number("sessions") > 1050);
    for (int i = 0; i < 5; i++) {
        bed_pause_ms(1000);
        killer_kill_all(&scene.killer);
    }
    expect_unharmed(&scene);
}

/* As long as one load lasts. */
static void kill_during(const char *load, unsigned max_pause_ms)
{
    struct scene scene;

    begin(&scene);
    add_load(&scene, load);
    killer_run(&scene.killer, 0, 20, max_pause_ms, scene.loads[0].pid);
    expect_unharmed(&scene);
}

Test(kills, during_connects)
{
    kill_during("connect --connections 16 --seconds 5", 100);
}

/* Streams that are spliced: a death may fall on either side of each splice. */
Test(kills, during_bulk)
{
    struct scene scene;

    begin(&scene);
    add_load(&scene,
             "streams --connections 24 --seconds 24 --max-bytes 64M --slow-readers 20 --slow-origin 10 "
             "--early-fin 20 --late-fin 20");
    killer_run(&scene.killer, 300, 20, 100, 0);
    cr_assert_gt(penstock_number("stats.spliced_bytes"), 0);
    expect_unharmed(&scene);
}

Test(kills, during_closes_by_the_server)
{
    kill_during("connect --connections 16 --seconds 5 --close-first origin", 100);
}

Test(kills, during_small_messages)
{
    kill_during("pingpong --connections 100 --seconds 5 --size 100 --response 1000", 150);
}

Test(kills, of_streams_through_unix_sockets)
{
    struct scene scene = {.load_count = 0};
    const char *server = bed_format("unix:%s/server.sock", bed.dir);
    const char *client = bed_format("unix:%s/client.sock", bed.dir);

    scene.origin = origin_start_at("auto", server);
    penstock_start(&(struct penstock_config){.servers = bed_format("\"%s\"", server),
                                             .bind = bed_format("\"%s\"", client)});
    killer_begin(&scene.killer, WORKERS);
    add_load(&scene,
             bed_format("streams --connect %s --connections 40 --seconds 5 --max-bytes 4M --slow-readers 20",
                        client));
    killer_run(&scene.killer, 0, 20, 200, scene.loads[0].pid);
    expect_unharmed(&scene);
}

/* A bank that is too small for all keeps its queue of receivers over deaths, too. */
Test(kills, while_buffers_are_scarce)
{
    struct scene scene = {.origin = origin_start("auto")};

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", scene.origin.port),
                                             .limits = "sessions: 2000, buffers: 4MiB"});
    killer_begin(&scene.killer, WORKERS);
    add_load(&scene,
             "streams --connections 200 --seconds 6 --max-bytes 4M --slow-readers 50 --slow-origin 20");
    killer_run(&scene.killer, 0, 20, 200, scene.loads[0].pid);
    expect_unharmed(&scene);
}
