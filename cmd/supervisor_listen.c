/*
 * The supervisor's listening sockets: one a TCP bind and slot, sharing its port; one a unix bind, shared by all slots.
 *
 * The sockets of a TCP bind begin to listen in the order of slots and given up from the last, so the kernel's
 * number of each in its group is the slot's: what steering relies on.
 */
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/supervisor.h"
#include "io/inbox.h"
#include "io/log.h"
#include "io/sock.h"
#include "shm/worker_slot.h"

/* --- Places ----------------------------------------------------------------------------------------------- */

static const struct image_bind *find_bind(const struct image *image, const struct endpoint *endpoint)
{
    for (uint32_t i = 0; image != NULL && i < image->bind_count; i++) {
        const struct image_bind *bind = image_bind(image, i);
        if (endpoint_equal(&bind->endpoint, endpoint)) {
            return bind;
        }
    }
    return NULL;
}

/* Whether we or a worker hold a socket there. */
static bool is_taken(const struct supervisor *supervisor, uint32_t place)
{
    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        const struct supervised_slot *slot = &supervisor->slots[i];
        const struct slot_listener *theirs = &region_slot(&supervisor->region, i)->listeners[place];
        if (slot->listeners[place] >= 0 ||
            (slot->pidfd >= 0 && __atomic_load_n(&theirs->state, __ATOMIC_ACQUIRE) != SLOT_LISTENER_NONE)) {
            return true;
        }
    }
    return false;
}

int supervisor_place_listeners(const struct supervisor *supervisor, struct image *image)
{
    uint32_t next = 0;

    for (uint32_t i = 0; i < image->bind_count; i++) {
        struct image_bind *bind = (struct image_bind *)image_bind(image, i);
        const struct image_bind *known =
            supervisor->image == image ? NULL : find_bind(supervisor->image, &bind->endpoint);
        if (known != NULL) {
            bind->place = known->place;
            continue;
        }
        while (next < IMAGE_BINDS_MAX && is_taken(supervisor, next)) {
            next++;
        }
        if (next == IMAGE_BINDS_MAX) {
            return -EBUSY;
        }
        bind->place = next++;
    }
    return 0;
}

/* --- Opening ---------------------------------------------------------------------------------------------- */

static void complain(const struct endpoint *endpoint, int error)
{
    char text[ENDPOINT_TEXT_MAX];

    log_line(LOG_LEVEL_ERROR, "event=listen_failed address=%s error=\"%s\" what=\"%s\"",
             endpoint_format(endpoint, text, sizeof(text)), strerror(error),
             error == EADDRINUSE
                 ? "another program listens there; stop it or bind another address. After a reload it "
                   "may be a listener of ours that is being closed: try again in a second"
                 : "see bind(2)");
}

/* The socket of the bind for any slot, -1 where there is none. */
static int any_socket(const struct supervisor *supervisor, uint32_t place)
{
    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        if (supervisor->slots[i].listeners[place] >= 0) {
            return supervisor->slots[i].listeners[place];
        }
    }
    return -1;
}

/* Only binds: nobody can be in a queue that is closed again because another bind failed. */
static int open_bind(struct supervisor *supervisor, const struct image *image, const struct image_bind *bind)
{
    int known = any_socket(supervisor, bind->place);
    bool local = bind->endpoint.family == ENDPOINT_UNIX;
    int result = known >= 0 ? 0 : sock_probe(&bind->endpoint);

    for (uint32_t i = 0; i < image->workers && result == 0; i++) {
        int *socket = &supervisor->slots[i].listeners[bind->place];
        if (*socket >= 0) {
            continue;
        }
        int fd = local && known >= 0 ? dup(known) : sock_bind(&bind->endpoint);
        if (fd < 0) {
            result = local && known >= 0 ? -errno : fd;
            break;
        }
        *socket = known = fd;
    }
    if (result < 0) {
        complain(&bind->endpoint, -result);
    }
    return result;
}

/* Whether the slot's socket is not yet the worker's. */
static bool is_new(const struct supervised_slot *slot, uint32_t place)
{
    return slot->listeners[place] >= 0 && !slot->handed[place];
}

/* A reload that failed is as if it had not been. */
static void close_new(struct supervisor *supervisor, const struct image *image)
{
    for (uint32_t k = 0; k < image->bind_count; k++) {
        const struct image_bind *bind = image_bind(image, k);
        bool known = find_bind(supervisor->image, &bind->endpoint) != NULL && supervisor->image != image;
        for (uint32_t i = image->workers; i-- > 0;) {
            struct supervised_slot *slot = &supervisor->slots[i];
            if (is_new(slot, bind->place)) {
                close(slot->listeners[bind->place]);
                slot->listeners[bind->place] = -1;
                if (bind->endpoint.family == ENDPOINT_UNIX && !known && supervisor->elder_count == 0) {
                    (void)unlink((const char *)bind->endpoint.bytes);
                }
            }
        }
    }
}

static int listen_new(struct supervisor *supervisor, const struct image *image)
{
    for (uint32_t k = 0; k < image->bind_count; k++) {
        const struct image_bind *bind = image_bind(image, k);
        for (uint32_t i = 0; i < image->workers; i++) {
            struct supervised_slot *slot = &supervisor->slots[i];
            if (is_new(slot, bind->place) && listen(slot->listeners[bind->place], (int)image->backlog) != 0) {
                int error = errno;
                complain(&bind->endpoint, error);
                return -error;
            }
        }
    }
    return 0;
}

int supervisor_open_listeners(struct supervisor *supervisor, const struct image *image)
{
    int result = supervisor_open_slots(supervisor, image);

    for (uint32_t i = 0; i < image->bind_count && result == 0; i++) {
        result = open_bind(supervisor, image, image_bind(image, i));
    }
    if (result == 0) {
        result = supervisor_set_options(supervisor, image);
    }
    if (result == 0) {
        result = listen_new(supervisor, image);
    }
    if (result < 0) {
        close_new(supervisor, image);
    }
    return result;
}

static int hand(const struct supervised_slot *slot, uint64_t generation)
{
    struct inbox_message message = {.generation = generation};
    int fds[INBOX_SOCKETS_MAX];
    int result = 0;

    for (uint32_t place = 0; place < IMAGE_BINDS_MAX && result == 0; place++) {
        if (is_new(slot, place)) {
            message.places[message.count] = place;
            fds[message.count++] = slot->listeners[place];
        }
        if (message.count == INBOX_SOCKETS_MAX || (message.count > 0 && place + 1 == IMAGE_BINDS_MAX)) {
            result = inbox_send(slot->outbox, &message, fds);
            message.count = 0;
        }
    }
    return result;
}

int supervisor_hand_listeners(struct supervisor *supervisor, const struct image *image)
{
    int result = 0;

    for (uint32_t i = 0; i < image->workers && result == 0; i++) {
        result = hand(&supervisor->slots[i], image->generation);
    }
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR,
                 "event=hand_failed what=\"handing listening sockets to workers\" error=\"%s\"",
                 strerror(-result));
        close_new(supervisor, image);
        return result;
    }
    for (uint32_t i = 0; i < image->workers; i++) {
        struct supervised_slot *slot = &supervisor->slots[i];
        for (uint32_t place = 0; place < IMAGE_BINDS_MAX; place++) {
            slot->handed[place] = slot->listeners[place] >= 0;
        }
    }
    return 0;
}

static int set_options(int fd, const struct image_listener *listener)
{
    int result = sock_set_congestion(fd, listener->congestion);

    if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=congestion_failed listener=%s congestion=%s error=\"%s\"",
                 listener->name, listener->congestion, strerror(-result));
        return result;
    }
    result = sock_set_buffers(fd, &listener->buffers);
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR,
                 "event=socket_buffers_failed listener=%s receive_buffer=%u send_buffer=%u error=\"%s\"",
                 listener->name, listener->buffers.receive, listener->buffers.send, strerror(-result));
    }
    return result;
}

int supervisor_set_options(const struct supervisor *supervisor, const struct image *image)
{
    for (uint32_t k = 0; k < image->bind_count; k++) {
        const struct image_bind *bind = image_bind(image, k);

        for (uint32_t i = 0; i < image->workers && bind->endpoint.family != ENDPOINT_UNIX; i++) {
            int fd = supervisor->slots[i].listeners[bind->place];
            int result = fd < 0 ? 0 : set_options(fd, image_listener(image, bind->listener));
            if (result < 0) {
                return result;
            }
        }
    }
    return 0;
}

/* --- Giving up -------------------------------------------------------------------------------------------- */

/* From here on a listening socket takes no SYN. Who is half open or in the accept queue is not touched: workers take
 * them and then find the queue empty, however many others keep coming. Accepted sockets inherit the filter, which
 * means nothing to them. */
static void refuse_syns(int fd)
{
    enum {
        FLAGS_OFFSET = 13,
        SYN = 0x02,
        ACK = 0x10
    }; /* of the TCP header, where a socket's filter begins */
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_OFFSET),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                     sizeof(program)); /* a drain takes longer without */
}

/* New connections go to the sockets of the first `slots` only, by chance: socket(7), SO_ATTACH_REUSEPORT_CBPF. */
static void steer(int fd, uint32_t slots)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, slots),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    const struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) != 0) {
        log_line(LOG_LEVEL_WARNING, "event=steer_failed error=\"%s\" what=\"some connections may be reset\"",
                 strerror(errno));
    }
}

static void give_up(struct supervisor *supervisor, uint32_t slot, const struct image_bind *bind, bool refuse)
{
    int *fd = &supervisor->slots[slot].listeners[bind->place];

    if (*fd < 0) {
        return;
    }
    if (refuse && bind->endpoint.family != ENDPOINT_UNIX) {
        refuse_syns(*fd);
    }
    close(*fd);
    *fd = -1;
    supervisor->slots[slot].handed[bind->place] = false;
}

void supervisor_leave_listeners(struct supervisor *supervisor, const struct image *old,
                                const struct image *image)
{
    for (uint32_t k = 0; k < old->bind_count; k++) {
        const struct image_bind *bind = image_bind(old, k);
        bool goes = find_bind(image, &bind->endpoint) == NULL;
        uint32_t stay = goes ? 0 : image->workers;
        bool tcp = bind->endpoint.family != ENDPOINT_UNIX;

        if (!goes && tcp && old->workers > stay) {
            steer(supervisor->slots[0].listeners[bind->place], stay);
            supervisor->steered = true;
        }
        for (uint32_t i = old->workers; i-- > stay;) {
            give_up(supervisor, i, bind, goes);
        }
        if (goes && !tcp) {
            (void)unlink((const char *)bind->endpoint.bytes);
        }
    }
}

void supervisor_settle_listeners(struct supervisor *supervisor)
{
    const struct image *image = supervisor->image;
    int none = 0;

    if (!supervisor->steered) {
        return;
    }
    for (uint32_t i = image->workers; i < supervisor->region.header->slot_count; i++) {
        for (uint32_t k = 0; k < IMAGE_BINDS_MAX; k++) {
            const struct slot_listener *theirs = &region_slot(&supervisor->region, i)->listeners[k];
            if (supervisor->slots[i].pidfd >= 0 &&
                __atomic_load_n(&theirs->state, __ATOMIC_ACQUIRE) != SLOT_LISTENER_NONE) {
                return;
            }
        }
    }
    for (uint32_t k = 0; k < image->bind_count; k++) {
        int fd = supervisor->slots[0].listeners[image_bind(image, k)->place];
        (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none,
                         sizeof(none)); /* where it was attached */
    }
    supervisor->steered = false;
}

void supervisor_close_listeners(struct supervisor *supervisor)
{
    static const struct image nothing;

    supervisor_leave_listeners(supervisor, supervisor->image, &nothing);
}
