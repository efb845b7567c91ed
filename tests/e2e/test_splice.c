/* Streams that go socket, pipe, socket: every byte arrives, in its place, whatever comes in the middle of one. */
#include <errno.h>
#include <fcntl.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <unistd.h>

#include "bench/pattern.h"
#include "cmd/descriptors.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_killer.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

enum {
    MIB = 1 << 20,
    BULK_BYTES = 32 * MIB,
    CHUNK_BYTES = 64 * 1024,
    URGENT_EVERY = MIB,
    SLOW_BYTES = 2 * MIB,
    STREAMS = 160, /* more than a worker has pipes */
    STREAM_BYTES = 6 * MIB,
    SMALL_BUFFER = 32 * 1024,
    EXCHANGES = 300,
    KILLS = 30,
};

BED_SUITE(splice, 120);

static int listener;

static struct net_pair begin_pair(void)
{
    uint16_t port;

    listener = net_listen(&port, STREAMS);
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .workers = 1});
    return net_pair(listener);
}

static uint64_t spliced_bytes(void)
{
    return penstock_number("stats.spliced_bytes");
}

Test(splice, bulk_is_not_copied)
{
    struct net_pair pair = begin_pair();

    net_stream(pair.server, pair.client, 1, BULK_BYTES);
    net_stream(pair.client, pair.server, 2, BULK_BYTES);
    uint64_t spliced = spliced_bytes();
    cr_assert(spliced > BULK_BYTES && spliced <= 2 * BULK_BYTES, "%lu spliced", (unsigned long)spliced);
    cr_assert_eq(penstock_number("client_bytes"), BULK_BYTES);
    cr_assert_eq(penstock_number("server_bytes"), BULK_BYTES);
    penstock_end_session(&pair);
}

Test(splice, both_directions_at_once_then_half_closes)
{
    struct net_pair pair = begin_pair();

    net_stream_both_ways(&pair, BULK_BYTES);
    net_half_close(pair.client);
    net_expect_eof(pair.server);
    net_stream(pair.server, pair.client, 3, BULK_BYTES); /* the other direction goes on */
    net_half_close(pair.server);
    net_expect_eof(pair.client);
    cr_assert_gt(spliced_bytes(), BULK_BYTES);
    penstock_expect_end("client_closed");
}

/* The end comes right behind the last byte, while there is much in buffers and in the pipe. */
Test(splice, an_end_behind_a_stream_is_seen_after_it)
{
    struct net_pair pair = begin_pair();
    pid_t writer = net_write_behind(pair.server, 4, 2 * MIB);

    net_read_pattern(pair.client, 4, MIB);
    bed_pause_ms(100);
    cr_assert_eq(bed_wait(writer), 0);
    net_half_close(pair.server);
    bed_pause_ms(100);
    net_read_pattern_from(pair.client, 4, MIB, MIB);
    net_expect_eof(pair.client);
    cr_assert_gt(spliced_bytes(), 0);
    close(pair.client);
    WAIT_UNTIL(penstock_number("closes.server_closed") == 1);
    bed_end();
}

/* Urgent bytes arrive as what they are in the stream: bytes. */
Test(splice, urgent_bytes_in_the_middle)
{
    static uint8_t chunk[URGENT_EVERY];
    struct net_pair pair = begin_pair();
    pid_t reader = net_read_behind(pair.server, 5, BULK_BYTES);

    for (size_t done = 0; done < BULK_BYTES; done += URGENT_EVERY) {
        pattern_fill(chunk, sizeof(chunk), 5, done);
        net_write(pair.client, chunk, sizeof(chunk) / 2);
        cr_assert_eq(send(pair.client, chunk + sizeof(chunk) / 2, 1, MSG_OOB | MSG_NOSIGNAL), 1);
        net_write(pair.client, chunk + sizeof(chunk) / 2 + 1, sizeof(chunk) / 2 - 1);
    }
    cr_assert_eq(bed_wait(reader), 0);
    cr_assert_gt(spliced_bytes(), 0);
    penstock_end_session(&pair);
}

Test(splice, a_reset_in_the_middle_is_passed_on)
{
    struct net_pair pair = begin_pair();
    pid_t writer = net_write_behind(pair.server, 6, 8 * (size_t)BULK_BYTES);

    net_read_pattern(pair.client, 6, BULK_BYTES);
    cr_assert_gt(spliced_bytes(), 0);
    cr_assert_eq(kill(writer, SIGKILL), 0); /* it has the sockets open */
    bed_wait(writer);
    net_reset(pair.client);
    net_expect_reset(pair.server);
    WAIT_UNTIL(penstock_number("closes.client_reset") == 1);
    WAIT_UNTIL(penstock_number("sessions") == 0);
    bed_end();
}

/* What the server said before its reset may be lost to it, but never ends as if that had been all. */
Test(splice, a_reset_by_the_one_who_streams_is_no_end)
{
    static char chunk[CHUNK_BYTES];
    struct net_pair pair = begin_pair();
    pid_t writer = net_write_behind(pair.server, 7, 8 * (size_t)BULK_BYTES);
    ssize_t got;

    net_read_pattern(pair.client, 7, BULK_BYTES);
    cr_assert_eq(kill(writer, SIGKILL), 0);
    bed_wait(writer);
    net_reset(pair.server);
    while ((got = recv(pair.client, chunk, sizeof(chunk), 0)) > 0) {
    }
    cr_assert(got < 0 && errno == ECONNRESET, "%s", got == 0 ? "an end" : strerror(errno));
    cr_assert_gt(spliced_bytes(), 0);
    WAIT_UNTIL(penstock_number("closes.server_reset") == 1);
    bed_end();
}

Test(splice, a_slow_reader_that_gets_fast)
{
    struct net_pair pair = begin_pair();
    uint64_t idle_lent = penstock_number("buffer_lent_bytes");
    pid_t writer = net_write_behind(pair.server, 8, BULK_BYTES);
    size_t done = 0;

    for (; done < SLOW_BYTES; done += CHUNK_BYTES) {
        bed_pause_ms(20);
        net_read_pattern_from(pair.client, 8, done, CHUNK_BYTES);
    }
    WAIT_UNTIL(penstock_number("buffer_lent_bytes") == idle_lent); /* it is all in the pipe */
    net_read_pattern_from(pair.client, 8, done, BULK_BYTES - done);
    cr_assert_eq(bed_wait(writer), 0);
    cr_assert_gt(spliced_bytes(), 0);
    penstock_end_session(&pair);
}

/* --- Many ------------------------------------------------------------------------------------------------- */

struct slow_stream {
    struct net_pair pair;
    size_t written, read;
};

/* Writes what is taken at once. Whether anything was. */
static bool write_some(struct slow_stream *stream, uint64_t seed)
{
    uint8_t chunk[CHUNK_BYTES];
    size_t left = STREAM_BYTES - stream->written;
    size_t next = left < sizeof(chunk) ? left : sizeof(chunk);

    if (next == 0) {
        return false;
    }
    pattern_fill(chunk, next, seed, stream->written);
    ssize_t sent = send(stream->pair.server, chunk, next, MSG_DONTWAIT | MSG_NOSIGNAL);
    cr_assert(sent > 0 || errno == EAGAIN, "stream %lu: %s", (unsigned long)seed, strerror(errno));
    stream->written += sent > 0 ? (size_t)sent : 0;
    return sent > 0;
}

static bool read_some(struct slow_stream *stream, uint64_t seed)
{
    uint8_t chunk[CHUNK_BYTES];
    ssize_t got = recv(stream->pair.client, chunk, sizeof(chunk), MSG_DONTWAIT);

    cr_assert(got > 0 || (got < 0 && errno == EAGAIN), "stream %lu ended at %zu", (unsigned long)seed,
              stream->read);
    if (got > 0) {
        cr_assert_eq(pattern_check(chunk, (size_t)got, seed, stream->read), (size_t)got,
                     "stream %lu: wrong bytes behind %zu", (unsigned long)seed, stream->read);
        stream->read += (size_t)got;
    }
    return got > 0;
}

/* Pipes of the worker with something in them. */
static unsigned count_full_pipes(pid_t worker)
{
    unsigned count = 0;

    for (int i = 0; i < PIPE_COUNT; i++) {
        size_t texts = bed_mark();
        int bytes = 0;
        int fd = open(bed_format("/proc/%d/fd/%d", worker, FD_PIPES + PIPE_DESCRIPTORS * i),
                      O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        cr_assert(fd >= 0, "pipe %d: %s", i, strerror(errno));
        cr_assert_eq(ioctl(fd, FIONREAD, &bytes), 0);
        count += bytes > 0;
        close(fd);
        bed_release(texts);
    }
    return count;
}

/* All stand still with their pipe full; those that got none go on without. */
Test(splice, more_slow_streams_than_pipes)
{
    static struct slow_stream streams[STREAMS];
    int small = SMALL_BUFFER;
    uint16_t port;

    listener = net_listen(&port, STREAMS);
    penstock_start(&(struct penstock_config){.servers = bed_format("127.0.0.1:%u", port), .workers = 1});
    for (int i = 0; i < STREAMS; i++) {
        streams[i].pair = net_pair(listener);
        cr_assert_eq(setsockopt(streams[i].pair.client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    }
    for (int still = 0; still < 20;) { /* until nobody can write any more */
        bool moved = false;
        for (int i = 0; i < STREAMS; i++) {
            moved |= write_some(&streams[i], (uint64_t)i);
        }
        still = moved ? 0 : still + 1;
        bed_pause_ms(moved ? 0 : 10);
    }
    if (geteuid() == 0) {
        unsigned full = count_full_pipes(penstock_worker(0));
        cr_assert_gt(full, PIPE_COUNT * 3 / 4, "%u of them are full",
                     full); /* some streams rest for another reason */
    }
    for (int left = STREAMS; left > 0;) {
        bool moved = false;
        left = 0;
        for (int i = 0; i < STREAMS; i++) {
            moved |= read_some(&streams[i], (uint64_t)i);
            moved |= write_some(&streams[i], (uint64_t)i);
            left += streams[i].read < STREAM_BYTES;
        }
        bed_pause_ms(moved ? 0 : 2);
    }
    if (geteuid() == 0) {
        WAIT_UNTIL(count_full_pipes(penstock_worker(0)) == 0);
    }
    cr_assert_gt(spliced_bytes(), 0);
    cr_assert_eq(penstock_number("server_bytes"), (uint64_t)STREAMS * STREAM_BYTES);

    bed_end();
}

Test(splice, many_paces_at_once)
{
    struct origin origin = origin_start("auto");

    penstock_start(
        &(struct penstock_config){.servers = bed_format("127.0.0.1:%u", origin.port), .workers = 1});
    struct bed_process load =
        load_start("streams --connections 120 --seconds 4 --max-bytes 8M --slow-readers 60 "
                   "--slow-origin 30 --early-fin 20 --late-fin 20");
    (void)loads_expect(&load, 1);
    cr_assert_gt(spliced_bytes(), 0);
    bed_end();
}

/* --- Leaving, and where it is never entered --------------------------------------------------------------- */

Test(splice, small_messages_after_bulk_are_received_again)
{
    struct net_pair pair = begin_pair();

    for (uint64_t round = 0; round < 3; round++) {
        uint64_t before = spliced_bytes();
        net_stream(pair.server, pair.client, round, BULK_BYTES);
        net_stream(pair.client, pair.server, round, BULK_BYTES);
        cr_assert_gt(spliced_bytes(), before);
        for (int i = 0; i < 10; i++) {
            net_exchange(&pair);
        }
        uint64_t after = spliced_bytes();
        for (int i = 0; i < EXCHANGES; i++) {
            net_exchange(&pair);
        }
        cr_assert_eq(spliced_bytes(), after);
    }
    penstock_end_session(&pair);
}

static void expect_unspliced(const char *bind, const char *server)
{
    struct origin origin = origin_start_at("auto", server);

    penstock_start(&(struct penstock_config){.servers = bed_format("\"%s\"", server),
                                             .bind = bed_format("\"%s\"", bind)});
    load_run(bed_format("streams --connect %s --connections 8 --seconds 2 --max-bytes 8M", bind));
    cr_assert_gt(penstock_number("stats.server_bytes"), BULK_BYTES);
    cr_assert_eq(spliced_bytes(), 0);
    bed_end();
    (void)origin;
}

Test(splice, never_from_a_unix_socket)
{
    expect_unspliced(bed_format("unix:%s/in.sock", bed.dir),
                     bed_format("127.0.0.1:%u", bed_reserve_port("127.0.0.1")));
}

Test(splice, never_to_a_unix_socket)
{
    expect_unspliced(bed_format("127.0.0.1:%u", bed.port), bed_format("unix:%s/server.sock", bed.dir));
}

/* --- Deaths ----------------------------------------------------------------------------------------------- */

Test(splice, workers_die_in_the_middle)
{
    struct origin origin = origin_start("auto");
    struct killer killer;

    penstock_start_to(origin.port);
    killer_begin(&killer, 2);
    struct bed_process load =
        load_start("streams --connections 16 --seconds 4 --max-bytes 64M --slow-readers 20 --slow-origin 20");
    killer_run(&killer, KILLS, 30, 120, 0);
    (void)loads_expect(&load, 1);
    cr_assert_gt(spliced_bytes(), 0);
    killer_expect_all_back(&killer);
    bed_end();
}

/* A pipe that is full when its worker dies is emptied by the next one. */
Test(splice, a_worker_dies_with_full_pipes)
{
    struct net_pair pair = begin_pair();

    killer_stop_reading(&pair, BULK_BYTES);
    cr_assert_gt(spliced_bytes(), 0);
    cr_assert_eq(penstock_number("server_bytes"), BULK_BYTES);
    penstock_end_session(&pair);
}
