/*
 * The fake epoll set: io/watch.h.
 */
#include "io/watch.h"

#include <errno.h>

#include "tests/sim/fake_net.h"
#include "tests/sim/store_hook.h"

/* Linux reports a socket writable once a third of its buffer is free. */
static bool is_reportable(const struct net_conn *conn)
{
    return conn->watched && (conn->reset || conn->error != 0 || net_room(conn) >= (conn->out_room + 2) / 3);
}

int watch_create(int fd)
{
    (void)fd;
    for (uint32_t i = 0; i < net_table->watched_count; i++) {
        struct net_conn *conn = &net.conns[net_table->watched[i]];
        conn->watched = false;
        conn->watch_listed = false;
    }
    net_table->watched_count = 0;
    store_point();
    return 0;
}

int watch_add(int watch_fd, int fd, uint64_t handle, bool known)
{
    struct net_conn *conn = net_at(fd);

    (void)watch_fd;
    SIM_CHECK(conn != NULL, "descriptor %d, which is closed, is watched", fd);
    SIM_CHECK(!known || conn->watch_listed, "descriptor %d was not in the set", fd);
    if (sim_once_in(1000)) {
        return -ENOMEM;
    }
    conn->watched = true;
    conn->watch_handle = handle;
    if (!conn->watch_listed) {
        conn->watch_listed = true;
        net_table->watched[net_table->watched_count++] = conn->id;
    }
    store_point();
    return 0;
}

/* Closing takes a socket out. */
static void forget_closed(void)
{
    for (uint32_t i = 0; i < net_table->watched_count;) {
        struct net_conn *conn = &net.conns[net_table->watched[i]];
        if (conn->closed) {
            conn->watch_listed = false;
            net_table->watched[i] = net_table->watched[--net_table->watched_count];
        } else {
            i++;
        }
    }
}

uint32_t watch_take(int watch_fd, uint64_t *handles, uint32_t max)
{
    uint32_t taken = 0;

    (void)watch_fd;
    forget_closed();
    /* In turn, as Linux does: who has been reported goes behind the others. */
    for (uint32_t n = net_table->watched_count; n > 0 && taken < max; n--) {
        struct net_conn *conn =
            &net.conns[net_table->watched[++net_table->watch_turn % net_table->watched_count]];
        if (is_reportable(conn)) {
            conn->watched = false;
            handles[taken++] = conn->watch_handle;
        }
    }
    store_point();
    return taken;
}

bool net_watch_ready(void)
{
    for (uint32_t i = 0; i < net_table->watched_count; i++) {
        const struct net_conn *conn = &net.conns[net_table->watched[i]];
        if (!conn->closed && is_reportable(conn)) {
            return true;
        }
    }
    return false;
}
