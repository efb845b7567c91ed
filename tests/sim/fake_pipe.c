/*
 * The fake kernel's splices: io/pipe.h.
 *
 * A death may fall before a call and after its bytes have moved, when the worker does not know yet.
 */
#include "tests/sim/fake_pipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/pipe.h"
#include "tests/sim/store_hook.h"

enum { PLACE_BYTES = 1024 * 1024, PIECE_BYTES = 16 * 1024 };

struct fake_pipe {
    uint32_t stream; /* the connection whose bytes are in it */
    uint32_t first;  /* of `bytes`, from place[first] on */
    uint32_t bytes;
    uint8_t *place;
};

struct pipe_world pipe_world;
static struct fake_pipe keepers[SIM_CREW_MAX][PIPE_COUNT]; /* by worker's number */

void pipe_world_init(void)
{
    memset(&pipe_world, 0, sizeof(pipe_world));
    memset(keepers, 0, sizeof(keepers));
}

void pipe_world_free(void)
{
    for (int number = 0; number < SIM_CREW_MAX; number++) {
        for (int i = 0; i < PIPE_COUNT; i++) {
            free(keepers[number][i].place);
        }
    }
}

void pipe_begin(void)
{
    for (int i = 0; i < PIPE_COUNT; i++) {
        keepers[sim.at][i].bytes = 0;
    }
}

uint32_t pipe_holds(uint32_t index)
{
    return keepers[sim.at][index].bytes;
}

uint32_t pipe_stream(uint32_t index)
{
    return keepers[sim.at][index].bytes > 0 ? keepers[sim.at][index].stream : 0;
}

static struct fake_pipe *pipe_at(int base, uint32_t index)
{
    SIM_CHECK(base == SIM_PIPE_BASE && index < PIPE_COUNT, "pipe %u of those at %d", index, base);
    return &keepers[sim.at][index];
}

int pipe_make(int base, uint32_t index)
{
    (void)pipe_at(base, index); /* the keeper's call */
    return -ENOSYS;
}

static bool is_local(const struct net_conn *conn)
{
    const struct net_conn *client = conn->server ? net_conn(conn->partner) : conn;

    return client->listener >= sim.config->listeners;
}

/* What one splice into the pipe does: fragments of packets fill its places long before its bytes do. */
static uint32_t fill_length(const struct net_conn *conn)
{
    uint64_t length = net_readable(conn);

    length = length < PIPE_FILL_BYTES ? length : PIPE_FILL_BYTES;
    return sim_once_in(4) ? 1 + sim_below((uint32_t)length) : (uint32_t)length;
}

/* Nothing to read: what the kernel says then. */
static int32_t fill_nothing(struct net_conn *conn)
{
    int error = net_take_error(conn);

    pipe_world.empty++;
    store_risk(4);
    return error != 0 ? error : -EAGAIN;
}

int32_t pipe_fill(int base, uint32_t index, int from)
{
    struct fake_pipe *pipe = pipe_at(base, index);
    struct net_conn *conn = net_at(from);

    store_point();
    SIM_CHECK(conn != NULL && conn->state == NET_CONNECTED, "splice from descriptor %d", from);
    SIM_CHECK(!is_local(conn), "connection %u: a unix socket's stream is spliced", conn->id);
    SIM_CHECK((conn->outstanding & CONN_OP_INPUT) == 0, "connection %u is received from in two ways: %x",
              conn->id, conn->outstanding);
    SIM_CHECK(conn->nonblocking, "connection %u: a splice from it may wait for ever", conn->id);
    SIM_CHECK(pipe->bytes == 0, "pipe %u is filled with %u bytes in it", index, pipe->bytes);
    if (net_readable(conn) == 0) {
        return fill_nothing(conn);
    }
    if (sim_once_in(100)) { /* an urgent byte looks like nothing */
        pipe_world.empty++;
        return -EAGAIN;
    }
    /* And lets the error through that waits behind. */
    if (conn->error != 0 && sim_once_in(8)) {
        int error = net_take_error(conn);
        store_risk(4);
        return error;
    }
    if (sim_once_in(500)) {
        static const int again[] = {EAGAIN, ENOMEM, EINTR};
        pipe_world.empty++;
        return -again[sim_below(3)];
    }
    uint32_t length = fill_length(conn);
    pipe->place = pipe->place != NULL ? pipe->place : malloc(PLACE_BYTES);
    SIM_CHECK(pipe->place != NULL, "no memory");
    pipe->stream = conn->id;
    pipe->first = 0;
    pipe->bytes = length;
    net_read(conn, pipe->place, length);
    pipe_world.fills++;
    store_risk(30);
    return (int32_t)length;
}

/* Bytes or -errno. */
static int32_t splice_out(struct fake_pipe *pipe, struct net_conn *conn, uint32_t length)
{
    if (conn->error != 0 || conn->reset) {
        int error = net_take_error(conn);
        store_risk(4);
        return error != 0 ? error : -EPIPE;
    }
    if (net_room(conn) == 0) {
        return -EAGAIN;
    }
    if (sim_once_in(500)) {
        static const int again[] = {EAGAIN, ENOBUFS, ENOMEM, EINTR};
        return -again[sim_below(4)];
    }
    length = length < net_room(conn) ? length : (uint32_t)net_room(conn);
    length = sim_once_in(4) ? 1 + sim_below(length) : length;
    struct iovec piece = {.iov_base = pipe->place + pipe->first, .iov_len = length};
    net_write(conn, &piece, 1, length);
    pipe->first += length;
    pipe->bytes -= length;
    pipe_world.streamed += length;
    pipe_world.partial += pipe->bytes > 0;
    return (int32_t)length;
}

int32_t pipe_drain(int base, uint32_t index, int to, uint32_t length)
{
    struct fake_pipe *pipe = pipe_at(base, index);
    struct net_conn *conn = net_at(to);

    store_point();
    SIM_CHECK(conn != NULL && conn->state == NET_CONNECTED, "splice to descriptor %d", to);
    SIM_CHECK(!is_local(conn), "connection %u: a unix socket is spliced to", conn->id);
    SIM_CHECK(conn->nonblocking, "connection %u: a splice to it may wait for ever", conn->id);
    SIM_CHECK(conn->partner == pipe->stream, "connection %u gets what connection %u sent", conn->id,
              pipe->stream);
    SIM_CHECK(length > 0 && length == pipe->bytes, "pipe %u has %u bytes, the record says %u", index,
              pipe->bytes, length);
    SIM_CHECK(!(conn->outstanding & CONN_OP_SEND), "connection %u is sent to in two ways", conn->id);
    int32_t result = splice_out(pipe, conn, length);
    store_risk(100);
    return result;
}

uint32_t pipe_bytes(int base, uint32_t index)
{
    const struct fake_pipe *pipe = pipe_at(base, index);

    store_point();
    pipe_world.settled += pipe->bytes > 0;
    return pipe->bytes;
}

void pipe_discard(int base, uint32_t index)
{
    struct fake_pipe *pipe = pipe_at(base, index);

    bool some = pipe->bytes > 0;
    while (pipe->bytes > 0) {
        store_risk(8);

        uint32_t piece = pipe->bytes < PIECE_BYTES ? pipe->bytes : PIECE_BYTES;
        pipe->first += piece;
        pipe->bytes -= piece;
    }
    if (some) {
        store_risk(2);
    }
}
