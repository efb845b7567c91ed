#include "io/sock_destroy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    MINISOCKET_TIMER = 3,      /* idiag_timer of a struct inet_timewait_sock, and of nothing else */
    QUEUE_BYTES = 1024 * 1024, /* a batch of answers, as the kernel counts their memory */
    ANSWER_BYTES = 128,        /* what is longer is no minisocket */
    CHUNK_BYTES = 32 * 1024,   /* of a dump: netlink_recvmsg() */
    DUMP_LIMIT_S = 1,
};

/* An answer to one request: a socket, or an error. */
struct answer {
    struct nlmsghdr header;
    union {
        struct inet_diag_msg socket;
        struct nlmsgerr error;
        char bytes[ANSWER_BYTES - sizeof(struct nlmsghdr)];
    };
};

static bool is_mapped(const uint8_t address[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(address, prefix, sizeof(prefix)) == 0;
}

static bool is_minisocket(const struct inet_diag_msg *socket)
{
    return socket->idiag_timer == MINISOCKET_TIMER &&
           (socket->idiag_state == TCP_TIME_WAIT || socket->idiag_state == TCP_FIN_WAIT2);
}

static struct sock_destroy_request request_of(uint16_t type, uint8_t family,
                                              const struct inet_diag_sockid *id)
{
    return (struct sock_destroy_request){
        .header =
            {
                .nlmsg_len = sizeof(struct sock_destroy_request),
                .nlmsg_type = type,
                .nlmsg_flags = NLM_F_REQUEST,
            },
        .wanted = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .id = *id},
    };
}

static struct sock_destroy_request lookup_of(const struct flow_key *key)
{
    bool ipv4 = is_mapped(key->local);
    struct inet_diag_sockid id = {
        .idiag_sport = htons(key->local_port),
        .idiag_dport = htons(key->remote_port),
        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE},
    };

    memcpy(id.idiag_src, key->local + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
    memcpy(id.idiag_dst, key->remote + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
    return request_of(SOCK_DIAG_BY_FAMILY, ipv4 ? AF_INET : AF_INET6, &id);
}

static void add(struct sock_destroy_batch *batch, const struct inet_diag_msg *socket)
{
    if (is_minisocket(socket) && batch->count < SOCK_DESTROY_BATCH) {
        batch->requests[batch->count++] = request_of(SOCK_DESTROY, socket->idiag_family, &socket->id);
    }
}

/* The kernel has done all of it when this returns. 0 or -errno. */
static int send_batch(struct sock_destroy *destroy, struct sock_destroy_batch *batch)
{
    size_t bytes = batch->count * sizeof(batch->requests[0]);

    for (uint32_t i = 0; i < batch->count; i++) {
        batch->requests[i].header.nlmsg_seq = destroy->sequence++;
    }
    return send(destroy->fd, batch->requests, bytes, 0) == (ssize_t)bytes ? 0 : -errno;
}

/* Takes up to a batch of the answers that are there; 0: no more. */
static int receive(const struct sock_destroy *destroy, struct answer answers[SOCK_DESTROY_BATCH])
{
    struct mmsghdr messages[SOCK_DESTROY_BATCH];
    struct iovec places[SOCK_DESTROY_BATCH];

    memset(messages, 0, sizeof(messages));
    for (uint32_t i = 0; i < SOCK_DESTROY_BATCH; i++) {
        places[i] = (struct iovec){.iov_base = &answers[i], .iov_len = sizeof(answers[i])};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &places[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(destroy->fd, messages, SOCK_DESTROY_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        if (messages[i].msg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
            return -EPROTO;
        }
    }
    return count >= 0 || errno == EAGAIN ? (count > 0 ? count : 0) : -errno;
}

/* Takes every answer to a batch that was sent: adds minisockets to `found`, counts errors. How many errors that say
 * the socket is not there, or -errno. */
static int take_answers(const struct sock_destroy *destroy, uint32_t first, uint32_t count,
                        struct sock_destroy_batch *found)
{
    struct answer answers[SOCK_DESTROY_BATCH];
    int missing = 0;
    int failed = 0;
    int got;

    while ((got = receive(destroy, answers)) > 0 || got == -ENOBUFS) {
        failed = got < 0 ? got : failed;
        for (int i = 0; i < got; i++) {
            const struct answer *answer = &answers[i];
            if (answer->header.nlmsg_seq - first >= count) {
                continue; /* of a batch that failed */
            }
            if (answer->header.nlmsg_type == SOCK_DIAG_BY_FAMILY && found != NULL) {
                add(found, &answer->socket);
            } else if (answer->header.nlmsg_type == NLMSG_ERROR && answer->error.error == -ENOENT) {
                missing++;
            } else if (answer->header.nlmsg_type == NLMSG_ERROR) {
                failed = answer->error.error;
            }
        }
    }
    failed = got < 0 ? got : failed;
    return failed != 0 ? failed : missing;
}

/* Sends the batch and takes what is answered. */
static int carry_out(struct sock_destroy *destroy, struct sock_destroy_batch *batch,
                     struct sock_destroy_batch *found)
{
    uint32_t first = destroy->sequence;
    int result = batch->count > 0 ? send_batch(destroy, batch) : 0;

    return result < 0 ? result : take_answers(destroy, first, batch->count, found);
}

int sock_destroy_find(struct sock_destroy *destroy, const struct flow_key *keys, uint32_t count,
                      struct sock_destroy_batch *batch)
{
    struct sock_destroy_batch lookups = {.count = count < SOCK_DESTROY_BATCH ? count : SOCK_DESTROY_BATCH};

    for (uint32_t i = 0; i < lookups.count; i++) {
        lookups.requests[i] = lookup_of(&keys[i]);
    }
    batch->count = 0;
    int result = carry_out(destroy, &lookups, batch);
    return result < 0 ? result : (int)batch->count;
}

int sock_destroy_found(struct sock_destroy *destroy, struct sock_destroy_batch *batch)
{
    int missing = carry_out(destroy, batch, NULL);

    return missing < 0 ? missing : (int)batch->count - missing;
}

int sock_destroy_tuples(struct sock_destroy *destroy, const struct flow_key *keys, uint32_t count)
{
    struct sock_destroy_batch batch;
    int destroyed = 0;

    for (uint32_t done = 0; done < count; done += SOCK_DESTROY_BATCH) {
        int result = sock_destroy_find(destroy, keys + done, count - done, &batch);
        if (result >= 0) {
            result = sock_destroy_found(destroy, &batch);
        }
        if (result < 0) {
            return result;
        }
        destroyed += result;
    }
    return destroyed;
}

/* A socket for one dump, whose answers must not mix with those to destroying. */
static int open_dump(uint8_t family)
{
    struct timeval limit = {.tv_sec = DUMP_LIMIT_S};
    struct sock_destroy_request dump = request_of(SOCK_DIAG_BY_FAMILY, family, &(struct inet_diag_sockid){0});
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    dump.header.nlmsg_flags |= NLM_F_DUMP;
    dump.wanted.idiag_states = 1 << TCP_TIME_WAIT | 1 << TCP_FIN_WAIT2;
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        send(fd, &dump, sizeof(dump), 0) != (ssize_t)sizeof(dump)) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static struct flow_key key_of(const struct inet_diag_msg *socket)
{
    bool ipv4 = socket->idiag_family == AF_INET;
    uint32_t at = ipv4 ? 12 : 0;
    struct flow_key key = {
        .local_port = ntohs(socket->id.idiag_sport),
        .remote_port = ntohs(socket->id.idiag_dport),
    };

    if (ipv4) {
        memset(key.local + 10, 0xff, 2);
        memset(key.remote + 10, 0xff, 2);
    }
    memcpy(key.local + at, socket->id.idiag_src, 16 - at);
    memcpy(key.remote + at, socket->id.idiag_dst, 16 - at);
    return key;
}

/* Who is to be destroyed, and how many were. */
struct sweep {
    struct sock_destroy *destroy;
    bool (*ours)(void *context, const struct flow_key *key);
    void *context;
    struct sock_destroy_batch batch;
    int destroyed;
};

static int flush(struct sweep *sweep)
{
    int result = sock_destroy_found(sweep->destroy, &sweep->batch);

    sweep->batch.count = 0;
    sweep->destroyed += result > 0 ? result : 0;
    return result < 0 ? result : 0;
}

static int consider(struct sweep *sweep, const struct inet_diag_msg *socket)
{
    struct flow_key key = key_of(socket);

    if (is_minisocket(socket) && sweep->ours(sweep->context, &key)) {
        add(&sweep->batch, socket);
    }
    return sweep->batch.count == SOCK_DESTROY_BATCH ? flush(sweep) : 0;
}

/* One read of a dump. 1: there is more; 0: that was all; -errno. */
static int take_chunk(struct sweep *sweep, int fd)
{
    _Alignas(struct nlmsghdr) char chunk[CHUNK_BYTES];
    ssize_t got = recv(fd, chunk, sizeof(chunk), 0);
    const struct nlmsghdr *message = (const struct nlmsghdr *)chunk;
    int result = got > 0 ? 0 : (got < 0 ? -errno : -EPROTO);

    for (; result == 0 && NLMSG_OK(message, got); message = NLMSG_NEXT(message, got)) {
        if (message->nlmsg_type == NLMSG_DONE) {
            return 0;
        }
        if (message->nlmsg_type == NLMSG_ERROR) {
            return ((const struct nlmsgerr *)NLMSG_DATA(message))->error;
        }
        if (message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
            return -EPROTO;
        }
        result = consider(sweep, NLMSG_DATA(message));
    }
    return result < 0 ? result : 1;
}

static int sweep_family(struct sweep *sweep, uint8_t family)
{
    int fd = open_dump(family);

    if (fd < 0) {
        return fd;
    }
    int result = 1;
    while (result > 0 && sweep->destroyed < SOCK_DESTROY_ALL_MAX) {
        result = take_chunk(sweep, fd);
    }
    close(fd);
    return result < 0 ? result : flush(sweep);
}

int sock_destroy_all(struct sock_destroy *destroy, bool (*ours)(void *context, const struct flow_key *key),
                     void *context)
{
    struct sweep sweep = {.destroy = destroy, .ours = ours, .context = context};
    int result = sweep_family(&sweep, AF_INET);

    if (result == 0) {
        result = sweep_family(&sweep, AF_INET6);
    }
    return result < 0 ? result : sweep.destroyed;
}

/* Asks for the impossible: no socket has the cookie 0. 0 where the kernel would look for it. */
static int probe(struct sock_destroy *destroy)
{
    struct sock_destroy_batch batch = {.count = 1};

    batch.requests[0] = request_of(SOCK_DESTROY, AF_INET, &(struct inet_diag_sockid){0});
    int missing = carry_out(destroy, &batch, NULL);
    return missing == 0 ? -EPROTO : (missing < 0 ? missing : 0);
}

int sock_destroy_open(struct sock_destroy *destroy)
{
    int bytes = QUEUE_BYTES;

    *destroy = (struct sock_destroy){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)};
    if (destroy->fd < 0) {
        return -errno;
    }
    int result = setsockopt(destroy->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) == 0 ? 0 : -errno;
    if (result == 0) {
        result = probe(destroy);
    }
    if (result != 0) {
        sock_destroy_close(destroy);
    }
    return result;
}

void sock_destroy_close(struct sock_destroy *destroy)
{
    close(destroy->fd);
    destroy->fd = -1;
}
