/* Bytes in quantity: long streams, tiny writes, slow readers; the buffer bank keeps its bound. */
#include <unistd.h>

#include "bench/pattern.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum {
    LONG_BYTES = 256 << 20,
    TINY_WRITES = 100000,
    SLOW_BYTES = 3 << 20,
    SLOW_CHUNK = 64 * 1024,
};

BED_SUITE(stream, 120);

static struct net_pair begin_pair(void)
{
    int listener = penstock_start_to_test(NULL);

    return net_pair(listener);
}

Test(stream, long_ones_both_ways_at_once)
{
    struct net_pair pair = begin_pair();

    net_stream_both_ways(&pair, LONG_BYTES);
    cr_assert_eq(penstock_number("client_bytes"), LONG_BYTES);
    cr_assert_eq(penstock_number("server_bytes"), LONG_BYTES);
    penstock_end_session(&pair);
}

static void write_tiny(int fd, uint64_t seed)
{
    static uint8_t bytes[TINY_WRITES];

    pattern_fill(bytes, sizeof(bytes), seed, 0);
    for (int i = 0; i < TINY_WRITES; i++) {
        net_write(fd, &bytes[i], 1);
    }
}

Test(stream, writes_of_one_byte)
{
    struct net_pair pair = begin_pair();
    pid_t reader = net_read_behind(pair.server, 3, TINY_WRITES);

    write_tiny(pair.client, 3);
    cr_assert_eq(bed_wait(reader), 0);
    reader = net_read_behind(pair.client, 4, TINY_WRITES);
    write_tiny(pair.server, 4);
    cr_assert_eq(bed_wait(reader), 0);
    penstock_end_session(&pair);
}

/* One chunk every 62 ms is 1 MiB a second; the writer has all the time more than the kernel takes. */
Test(stream, slow_reader_holds_a_bounded_share)
{
    struct net_pair pair = begin_pair();
    uint8_t chunk[SLOW_CHUNK];
    uint64_t lent_max = 0;
    uint64_t idle_lent = penstock_number("buffer_lent_bytes");
    pid_t writer = net_write_behind(pair.server, 5, SLOW_BYTES * 4);

    for (size_t done = 0; done < SLOW_BYTES; done += SLOW_CHUNK) {
        bed_pause_ms(62);
        net_read(pair.client, chunk, SLOW_CHUNK);
        cr_assert_eq(pattern_check(chunk, SLOW_CHUNK, 5, done), SLOW_CHUNK);
        uint64_t lent = penstock_number("buffer_lent_bytes");
        lent_max = lent > lent_max ? lent : lent_max;
    }
    cr_assert(lent_max <= idle_lent + (4 << 20), "%lu bytes lent to one slow reader",
              (unsigned long)lent_max);
    for (size_t done = SLOW_BYTES; done < SLOW_BYTES * 4; done += SLOW_CHUNK) {
        net_read(pair.client, chunk, SLOW_CHUNK);
        cr_assert_eq(pattern_check(chunk, SLOW_CHUNK, 5, done), SLOW_CHUNK);
    }
    cr_assert_eq(bed_wait(writer), 0);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == idle_lent);
    penstock_end_session(&pair);
}

/* Hundreds that never read want more than the bank has: others are served meanwhile, and the bank's size holds. */
Test(stream, stuck_readers_take_nothing_from_others)
{
    struct origin origin = origin_start("auto");

    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port),
                                             .limits = "sessions: 2000, buffers: 8MiB"});
    uint64_t idle_lent = penstock_number("buffer_lent_bytes");
    struct bed_process stuck =
        load_start("slow --connections 400 --read-rate 0 --receive-buffer 8192 --seconds 5");
    WAIT_UNTIL(penstock_number("phases.open") >= 400);
    const char *figures = load_run("pingpong --connections 50 --seconds 2 --size 1000");
    cr_assert(json_number(figures, "completed") > 0);
    load_run("streams --connections 20 --seconds 1 --max-bytes 1M");
    const char *status = penstock_status();
    cr_assert_leq(json_number(status, "buffer_lent_bytes"), json_number(status, "buffer_budget_bytes"));
    load_finish(&stuck);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == idle_lent);
    bed_end();
}
