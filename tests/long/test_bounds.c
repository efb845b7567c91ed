/*
 * What is promised in bytes: user memory of an idle session, and the bounds that hold behind thousands of readers
 * that stand still.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum {
    IDLE_SESSIONS = 8000,
    IDLE_BYTES_MAX = 640,
    SLOW_SESSIONS = 5000,
    BUDGET_BYTES = 64 * 1024 * 1024,
    /* A session that stands still: unsent bytes towards the client (TCP_NOTSENT_LOWAT, with the kernel's overhead),
     * and what the kernel takes from the server before its window closes. */
    SLOW_SOCKET_BYTES_MAX = 384 * 1024,
    SLOW_SOCKET_BYTES_MAX_OF_SMALL = 112 * 1024, /* where both are bounded to 16 KiB of data */
    DESCRIPTORS = 17000,
};

BED_SUITE(long_bounds, 300);

static void require_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < DESCRIPTORS) {
        cr_skip("needs %d descriptors a process", DESCRIPTORS);
    }
}

/* From an untouched start: every page is new that the sessions, and an exchange of each before it rests, need. */
Test(long_bounds, user_memory_of_an_idle_session)
{
    require_descriptors();
    struct origin origin = origin_start("auto");
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", origin.port),
        .limits = "sessions: 8192, buffers: 64MiB",
        .workers = 2,
    });
    bed_pause_ms(1500); /* the first second's housekeeping */
    uint64_t before = penstock_memory_kib(2);
    struct bed_process load = load_start(bed_format(
        "idle --touch --connections %d --open-rate 4000 --seconds 10 --source-range 127.0.0.10-127.0.0.13",
        IDLE_SESSIONS));
    WAIT_UNTIL(penstock_number("phases.open") == IDLE_SESSIONS);
    bed_pause_ms(1500);
    uint64_t bytes = (penstock_memory_kib(2) - before) * 1024 / IDLE_SESSIONS;
    fprintf(stderr, "long_bounds: %lu bytes of user memory an idle session\n", (unsigned long)bytes);
    cr_assert_leq(bytes, IDLE_BYTES_MAX);
    load_finish(&load);
    bed_end();
}

/* The kernel's memory of the sockets that `filter` selects, in bytes. */
static uint64_t socket_bytes(const char *filter)
{
    const char *argv[] = {
        "/bin/sh", "-c",
        bed_format("ss -tmnH '%s' | sed -n 's/.*skmem:(r\\([0-9]*\\),.*,f[0-9]*,w\\([0-9]*\\),.*/\\1 "
                   "\\2/p' | awk '{sum += $1 + $2} END {printf \"%%.0f\", sum}'",
                   filter),
        NULL};
    struct bed_process process;

    cr_assert_eq(bed_run(argv, &process), 0, "%s", bed_read_file(process.err));
    return strtoull(bed_read_file(process.out), NULL, 10);
}

/* For a second: all have filled what they may. */
static bool nobody_wants_a_buffer(void)
{
    uint64_t refused = penstock_number("stats.buffers_refused");

    bed_pause_ms(1000);
    return penstock_number("receivers_waiting") == 0 && penstock_number("stats.buffers_refused") == refused;
}

static void hold_slow_readers(const char *listener, const char *pool, uint64_t bytes_max)
{
    require_descriptors();
    struct origin slow_origin = origin_start("auto");
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", slow_origin.port),
        .limits = "sessions: 8192, buffers: 64MiB",
        .listener = listener,
        .pool = pool,
        .workers = 1,
    });
    struct bed_process slow = load_start(
        bed_format("slow --connections %d --read-rate 1000 --seconds 30 --source-range 127.0.0.10-127.0.0.13",
                   SLOW_SESSIONS));
    WAIT_UNTIL(penstock_number("phases.open") == SLOW_SESSIONS);
    WAIT_UNTIL(nobody_wants_a_buffer());

    /* The bank is within its budget, and others are served. */
    cr_assert_leq(penstock_number("buffer_lent_bytes"), BUDGET_BYTES);
    cr_assert_eq(penstock_number("accept_paused"), 0);
    const char *others = load_run("pingpong --connections 20 --seconds 3");
    cr_assert_gt(json_number(others, "completed"), 0);

    uint64_t bytes = socket_bytes(bed_format("sport = :%u", bed.port)) +
                     socket_bytes(bed_format("dport = :%u", slow_origin.port));
    fprintf(stderr, "long_bounds: %lu bytes of socket memory a session that stands still\n",
            (unsigned long)(bytes / SLOW_SESSIONS));
    cr_assert_leq(bytes / SLOW_SESSIONS, bytes_max);
    load_finish(&slow);
    bed_end();
}

Test(long_bounds, five_thousand_slow_readers)
{
    hold_slow_readers(NULL, NULL, SLOW_SOCKET_BYTES_MAX);
}

Test(long_bounds, five_thousand_slow_readers_with_small_socket_buffers)
{
    hold_slow_readers("send_buffer: 16KiB", "receive_buffer: 16KiB", SLOW_SOCKET_BYTES_MAX_OF_SMALL);
}
