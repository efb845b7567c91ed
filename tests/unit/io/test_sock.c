/* What becomes of bytes that TCP was given to send. */
#include "io/sock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/io/connection.h"

enum { LITTLE = 8192 }; /* the second end takes no more before it is read */

TestSuite(io_sock, .init = connection_isolate);

Test(io_sock, a_reset_leaves_nothing_to_send_and_the_descriptor)
{
    static char bytes[64 * 1024];
    int pair[2];
    ssize_t got;

    connection_make(pair, LITTLE);
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

    connection_make(pair, LITTLE);
    while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    sock_reset(pair[1]);
    cr_expect_lt(recv(pair[0], bytes, 1, 0), 0); /* waits for it */
    cr_expect(sock_is_drained(pair[0]), "though SIOCOUTQ counts what was never acknowledged");
    close(pair[0]);
    close(pair[1]);
}
