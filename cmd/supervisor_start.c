/*
 * The supervisor's children and sockets: keepers, the logger, listening sockets.
 */
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/keeper.h"
#include "cmd/logger.h"
#include "cmd/machine.h"
#include "cmd/supervisor.h"
#include "io/log.h"
#include "io/sock.h"

static int open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

int supervisor_start_keeper(struct supervisor *supervisor, uint32_t index)
{
    struct supervised_slot *slot = &supervisor->slots[index];
    int pair[2];

    slot->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (slot->wake < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    bool pinned = supervisor->image->workers <= machine_cpus();
    struct keeper_setup setup = {
        .region = &supervisor->region,
        .slot = index,
        .control = pair[1],
        .wake = slot->wake,
        .cpu = pinned ? machine_cpu(index) : -1,
    };
    int resolved = privileges_resolve(supervisor->image->user, &setup.identity);
    if (resolved < 0) {
        close(pair[0]);
        close(pair[1]);
        return resolved;
    }
    pid_t pid = fork();
    if (pid == 0) {
        keeper_main(&setup);
    }
    int error = errno;
    close(pair[1]);
    slot->control = pair[0];
    slot->keeper = pid;
    slot->pidfd = pid < 0 ? -1 : open_pidfd(pid);
    if (slot->pidfd < 0) { /* a keeper that waits for its sockets ends with the other end of the pair */
        error = pid < 0 ? error : errno;
        close(slot->control);
        return -error;
    }
    return 0;
}

int supervisor_start_logger(struct supervisor *supervisor)
{
    pid_t pid = fork();

    if (pid == 0) {
        /* Listening sockets held here too would keep accepting into nothing. The region is mapped. */
        int result = region_confine(&supervisor->region);
        if (result < 0) {
            log_line(LOG_LEVEL_ERROR,
                     "event=logger_failed what=\"opening the region's head read-only\" error=\"%s\"",
                     strerror(-result));
            _exit(EXIT_FAILURE);
        }
        (void)close_range(3, ~0u, 0);
        logger_main(&supervisor->region);
    }
    if (pid < 0) {
        return -errno;
    }
    supervisor->logger = pid;
    supervisor->logger_pidfd = open_pidfd(pid);
    return supervisor->logger_pidfd < 0 ? -errno : 0;
}

static void complain(const struct endpoint *endpoint, int error)
{
    char text[ENDPOINT_TEXT_MAX];

    log_line(LOG_LEVEL_ERROR, "event=listen_failed address=%s error=\"%s\" what=\"%s\"",
             endpoint_format(endpoint, text, sizeof(text)), strerror(error),
             error == EADDRINUSE ? "another program listens there; stop it or bind another address"
                                 : "see bind(2)");
}

/* One socket a slot, sharing the port; a unix socket is one for all. */
static int open_bind(struct supervisor *supervisor, uint32_t index)
{
    const struct endpoint *endpoint = &image_bind(supervisor->image, index)->endpoint;
    int result = sock_probe(endpoint);
    int shared = -1;

    for (uint32_t i = 0; i < supervisor->slot_count && result == 0; i++) {
        int fd = shared >= 0 ? dup(shared) : sock_listen(endpoint, (int)supervisor->image->backlog);
        if (fd < 0) {
            result = shared >= 0 ? -errno : fd;
            break;
        }
        supervisor->slots[i].listeners[index] = fd;
        if (endpoint->family == ENDPOINT_UNIX) {
            shared = fd;
        }
    }
    if (result < 0) {
        complain(endpoint, -result);
        return -1;
    }
    return 0;
}

void supervisor_adapt(const struct supervisor *supervisor, struct image *image)
{
    if (!supervisor->has_zero_copy && image_clear_zero_copy(image)) {
        log_line(LOG_LEVEL_WARNING,
                 "event=zero_copy_off what=\"the kernel has no such sends that report (since Linux 6.2); it "
                 "copies\"");
    }
}

static const char *congestion_of(const struct image *image, uint32_t bind)
{
    return image_listener(image, image_bind(image, bind)->listener)->congestion;
}

int supervisor_set_congestion(const struct supervisor *supervisor, const struct image *image,
                              const struct image *old)
{
    for (uint32_t k = 0; k < image->bind_count; k++) {
        const char *name = congestion_of(image, k);
        bool local = image_bind(image, k)->endpoint.family == ENDPOINT_UNIX;

        if (local || strcmp(name, old == NULL ? "" : congestion_of(old, k)) == 0) {
            continue;
        }
        for (uint32_t i = 0; i < supervisor->slot_count; i++) {
            const struct supervised_slot *slot = &supervisor->slots[i];
            int result =
                slot->pidfd < 0 ? 0 : sock_set_congestion(slot->listeners[k], name); /* lost: closed */
            if (result < 0) {
                log_line(LOG_LEVEL_ERROR, "event=congestion_failed listener=%s congestion=%s error=\"%s\"",
                         image_listener(image, image_bind(image, k)->listener)->name, name,
                         strerror(-result));
                return result;
            }
        }
    }
    return 0;
}

int supervisor_open_listeners(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->image->bind_count; i++) {
        if (open_bind(supervisor, i) != 0) {
            return -1;
        }
        supervisor->listener_count = i + 1;
    }
    if (supervisor_set_congestion(supervisor, supervisor->image, NULL) < 0) {
        return -1;
    }
    for (uint32_t i = 0; i < supervisor->slot_count; i++) {
        struct supervised_slot *slot = &supervisor->slots[i];
        int result = keeper_send_listeners(slot->control, slot->listeners, supervisor->listener_count);
        if (result < 0) {
            log_line(LOG_LEVEL_ERROR, "event=start_failed what=\"handing sockets to keeper %u\" error=\"%s\"",
                     i, strerror(-result));
            return -1;
        }
    }
    return 0;
}

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

void supervisor_close_listeners(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->slot_count; i++) {
        for (uint32_t k = 0; k < supervisor->listener_count; k++) {
            if (image_bind(supervisor->image, k)->endpoint.family != ENDPOINT_UNIX) {
                refuse_syns(supervisor->slots[i].listeners[k]);
            }
            close(supervisor->slots[i].listeners[k]);
        }
    }
    for (uint32_t k = 0; k < supervisor->listener_count; k++) {
        const struct endpoint *endpoint = &image_bind(supervisor->image, k)->endpoint;
        if (endpoint->family == ENDPOINT_UNIX) {
            (void)unlink((const char *)endpoint->bytes);
        }
    }
    supervisor->listener_count = 0;
}
