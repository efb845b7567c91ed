#include "io/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/check.h"
#include "core/image.h"

union ancillary {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * INBOX_SOCKETS_MAX)];
};

static void close_all(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

int inbox_send(int fd, const struct inbox_message *message, const int *fds)
{
    union ancillary ancillary = {.bytes = {0}};
    struct iovec vector = {.iov_base = (void *)message, .iov_len = sizeof(*message)};
    struct msghdr envelope = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &ancillary,
        .msg_controllen = CMSG_SPACE(sizeof(int) * message->count),
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&envelope);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * message->count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * message->count);
    ssize_t sent = sendmsg(fd, &envelope, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent == (ssize_t)sizeof(*message) ? 0 : -errno;
}

/* With MSG_PEEK too the kernel installs the descriptors. */
static int receive(int fd, int flags, struct inbox_message *message, int fds[INBOX_SOCKETS_MAX])
{
    union ancillary ancillary;
    struct iovec vector = {.iov_base = message, .iov_len = sizeof(*message)};
    struct msghdr envelope = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = &ancillary,
        .msg_controllen = sizeof(ancillary),
    };
    ssize_t got = recvmsg(fd, &envelope, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (got <= 0) {
        return got == 0 || errno == EAGAIN ? 0 : -errno;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&envelope);
    size_t received = header == NULL ? 0 : (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (header != NULL) {
        memcpy(fds, CMSG_DATA(header), sizeof(int) * received);
    }
    if (received < message->count) {
        close_all(fds, (uint32_t)received);
        return -EMFILE;
    }
    return 1;
}

int inbox_look(int fd, int base, struct inbox_message *message)
{
    int fds[INBOX_SOCKETS_MAX] = {0};
    int result = receive(fd, MSG_PEEK, message, fds);

    for (uint32_t i = 0; result == 1 && i < message->count; i++) {
        CHECK(message->places[i] < IMAGE_BINDS_MAX);
        CHECK(dup3(fds[i], base + (int)message->places[i], O_CLOEXEC) >= 0);
    }
    if (result == 1) {
        close_all(fds, message->count);
    }
    return result;
}

void inbox_drop(int fd)
{
    struct inbox_message message;
    int fds[INBOX_SOCKETS_MAX] = {0};

    if (receive(fd, 0, &message, fds) == 1) {
        close_all(fds, message.count);
    }
}
