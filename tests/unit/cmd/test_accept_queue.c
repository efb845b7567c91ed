/* Accept queues: the kernel's numbers of a socket that nobody accepts from, found by its address. */
#include "cmd/exporter/accept_queue.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 2, CONNECTS = 8 };

/* An image of a listener in row 3, bound to the address. */
static struct image *image_at(const struct sockaddr_in *address)
{
    struct image *image = calloc(1, IMAGE_BYTES_MAX);

    image_layout(image, 1, 1, 0, 0);
    struct image_listener *listener = (struct image_listener *)image_listener(image, 0);
    struct image_bind *bind = (struct image_bind *)image_bind(image, 0);
    listener->row = 3;
    bind->endpoint.family = ENDPOINT_V4;
    bind->endpoint.port = ntohs(address->sin_port);
    memcpy(bind->endpoint.bytes, &address->sin_addr, 4);
    return image;
}

Test(accept_queue, is_the_kernels_of_the_listeners_address, .timeout = 30)
{
    struct accept_queue queues[IMAGE_LISTENERS_MAX];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fds[CONNECTS];
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(listener, BACKLOG), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    struct image *image = image_at(&address);
    int result = accept_queue_read(queues, image);
    if (result == -EPROTONOSUPPORT) {
        cr_skip("a kernel without sock_diag");
    }
    cr_assert_eq(result, 0, "%s", strerror(-result));
    cr_expect_eq(queues[3].sockets, 1);
    cr_expect_eq(queues[3].length, 0);
    cr_expect_eq(queues[3].limit, BACKLOG);
    cr_expect_eq(queues[0].sockets, 0);
    for (int i = 0; i < CONNECTS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&address, sizeof(address));
        struct pollfd poll_one = {.fd = fds[i], .events = POLLOUT};
        (void)poll(&poll_one, 1, i <= BACKLOG ? 5000 : 0);
    }
    cr_assert_eq(accept_queue_read(queues, image), 0);
    cr_expect_eq(queues[3].length, BACKLOG + 1, "one more than the backlog: sk_acceptq_is_full()");
    cr_expect_gt(queues[3].drops, 0);
    for (int i = 0; i < CONNECTS; i++) {
        close(fds[i]);
    }
    close(listener);
    free(image);
}
