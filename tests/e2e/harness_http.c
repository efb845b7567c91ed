#include "tests/e2e/harness_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"

enum { ANSWER_BYTES = 1024 * 1024 };

/* What comes until the end, or until a reset. */
static const char *read_all(int fd)
{
    char *bytes = malloc(ANSWER_BYTES);
    size_t used = 0;
    ssize_t got;

    cr_assert_not_null(bytes);
    while ((got = read(fd, bytes + used, ANSWER_BYTES - 1 - used)) > 0) {
        used += (size_t)got;
        cr_assert_lt(used, ANSWER_BYTES - 1);
    }
    bytes[used] = '\0';
    const char *text = bed_format("%s", bytes);
    free(bytes);
    return text;
}

struct http_answer http_send(uint16_t port, const char *request)
{
    struct http_answer answer = {0};
    int fd = net_connect(port);

    (void)send(fd, request, strlen(request), MSG_NOSIGNAL); /* the answer may come before all is sent */
    answer.head = read_all(fd);
    close(fd);
    (void)sscanf(answer.head, "HTTP/1.%*u %u", &answer.status);
    const char *end = strstr(answer.head, "\r\n\r\n");
    answer.body = end != NULL ? end + 4 : "";
    return answer;
}

struct http_answer http_get(uint16_t port, const char *path, const char *header)
{
    return http_send(
        port, bed_format("GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n", path, header != NULL ? header : ""));
}

const char *http_body(uint16_t port, const char *path)
{
    struct http_answer answer = http_get(port, path, NULL);

    cr_assert_eq(answer.status, 200, "GET %s: %s", path, answer.head);
    return answer.body;
}

unsigned http_status(uint16_t port, const char *path)
{
    if (!net_can_connect(bed_format("127.0.0.1:%u", port))) {
        return 0;
    }
    return http_get(port, path, NULL).status;
}
