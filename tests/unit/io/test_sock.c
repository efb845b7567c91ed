/* What becomes of bytes that TCP was given to send. */
#include "io/sock.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

/* Both ends of a TCP connection; the second takes little before it is read. */
static void pair_make(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int little = 8192;

    cr_assert_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(pair[0], (struct sockaddr *)&address, length), 0);
    pair[1] = accept(listener, NULL, NULL);
    cr_assert_geq(pair[1], 0);
    close(listener);
}

Test(io_sock, a_reset_leaves_nothing_to_send_and_the_descriptor)
{
    static char bytes[64 * 1024];
    int pair[2];
    ssize_t got;

    pair_make(pair);
    cr_expect(sock_is_drained(pair[0]));
    uint64_t cookie = sock_cookie(pair[0]);
    while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    cr_expect_not(sock_is_drained(pair[0]));
    sock_reset(pair[0]);
    cr_expect(sock_is_drained(pair[0]));
    cr_expect(sock_is_closed(pair[0]));
    cr_expect_eq(sock_cookie(pair[0]), cookie);
    while ((got = recv(pair[1], bytes, sizeof(bytes), 0)) > 0) {
    }
    cr_expect(got < 0 && errno == ECONNRESET);
    sock_reset(pair[0]); /* may be repeated */
    cr_expect(sock_is_drained(pair[0]));
    close(pair[0]);
    close(pair[1]);
}

Test(io_sock, a_peers_reset_leaves_nothing_to_send)
{
    static char bytes[64 * 1024];
    int pair[2];

    pair_make(pair);
    while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    sock_reset(pair[1]);
    cr_expect_lt(recv(pair[0], bytes, 1, 0), 0); /* waits for it */
    cr_expect(sock_is_drained(pair[0]), "though SIOCOUTQ counts what was never acknowledged");
    close(pair[0]);
    close(pair[1]);
}
