#include "cmd/exporter/accept_queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    ANSWER_BYTES = 32 * 1024, /* what the kernel fills at most: NLMSG_GOODSIZE and netlink_recvmsg() */
    ANSWER_LIMIT_S = 1,
};

static bool is_at(const struct image_bind *bind, const struct inet_diag_msg *socket)
{
    const struct endpoint *endpoint = &bind->endpoint;
    bool v6 = endpoint->family == ENDPOINT_V6;

    return endpoint->family != ENDPOINT_UNIX && socket->idiag_family == (v6 ? AF_INET6 : AF_INET) &&
           ntohs(socket->id.idiag_sport) == endpoint->port &&
           memcmp(socket->id.idiag_src, endpoint->bytes, v6 ? 16 : 4) == 0;
}

/* Connections a listening socket dropped: tcp_listendrop() counts them like packets. */
static uint32_t drops_of(const struct inet_diag_msg *socket, int bytes)
{
    const struct rtattr *attribute = (const struct rtattr *)(socket + 1);
    uint32_t memory[SK_MEMINFO_VARS];

    for (; RTA_OK(attribute, bytes); attribute = RTA_NEXT(attribute, bytes)) {
        if (attribute->rta_type == INET_DIAG_SKMEMINFO && RTA_PAYLOAD(attribute) >= sizeof(memory)) {
            memcpy(memory, RTA_DATA(attribute), sizeof(memory));
            return memory[SK_MEMINFO_DROPS];
        }
    }
    return 0;
}

static void add_socket(struct accept_queue *queues, const struct image *image,
                       const struct inet_diag_msg *socket, int attribute_bytes)
{
    for (uint32_t i = 0; i < image->bind_count; i++) {
        const struct image_bind *bind = image_bind(image, i);
        if (is_at(bind, socket)) {
            struct accept_queue *queue =
                &queues[image_listener(image, bind->listener)->row % IMAGE_LISTENERS_MAX];
            queue->sockets++;
            queue->length += socket->idiag_rqueue;
            queue->limit += socket->idiag_wqueue;
            queue->drops += drops_of(socket, attribute_bytes);
            return;
        }
    }
}

/* One read of the answer. 1: there is more; 0: that was all; -errno. */
static int take_answer(struct accept_queue *queues, const struct image *image, int fd)
{
    static _Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
    ssize_t got = recv(fd, answer, sizeof(answer), 0);
    const struct nlmsghdr *message = (const struct nlmsghdr *)answer;

    if (got <= 0) {
        return got < 0 ? -errno : -EPROTO;
    }
    for (; NLMSG_OK(message, got); message = NLMSG_NEXT(message, got)) {
        if (message->nlmsg_type == NLMSG_DONE) {
            return 0;
        }
        if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            message->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
            return -EPROTO;
        }
        add_socket(queues, image, NLMSG_DATA(message),
                   (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof(struct inet_diag_msg))));
    }
    return 1;
}

/* Asks for all listening TCP sockets of a family. 0 or -errno. */
static int ask(struct accept_queue *queues, const struct image *image, int fd, uint8_t family)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 wanted;
    } request = {
        .header =
            {
                .nlmsg_len = sizeof(request),
                .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
            },
        .wanted =
            {
                .sdiag_family = family,
                .sdiag_protocol = IPPROTO_TCP,
                .idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1),
                .idiag_states = 1 << TCP_LISTEN,
            },
    };
    int result = send(fd, &request, sizeof(request), 0) == (ssize_t)sizeof(request) ? 1 : -errno;

    while (result > 0) {
        result = take_answer(queues, image, fd);
    }
    return result;
}

int accept_queue_read(struct accept_queue queues[IMAGE_LISTENERS_MAX], const struct image *image)
{
    struct timeval limit = {.tv_sec = ANSWER_LIMIT_S};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

    memset(queues, 0, IMAGE_LISTENERS_MAX * sizeof(*queues));
    if (fd < 0) {
        return -errno;
    }
    int result = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 ? 0 : -errno;
    if (result == 0) {
        result = ask(queues, image, fd, AF_INET);
    }
    if (result == 0) {
        result = ask(queues, image, fd, AF_INET6);
    }
    close(fd);
    return result;
}
