#include "cmd/syslog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 64 };

int syslog_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* "<30>Nov 23 02:30:40 penstock[123]: ", in local time: section 4.1 of the RFC. */
static size_t format_head(char *head)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm local;

    localtime_r(&now, &local);
    return (size_t)snprintf(
        head, HEAD_BYTES, "<%d>%s %2d %02d:%02d:%02d penstock[%d]: ", LOG_DAEMON | LOG_INFO,
        months[local.tm_mon], local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec, getpid());
}

int syslog_send(int fd, const char *line, size_t length)
{
    char head[HEAD_BYTES];
    struct iovec parts[] = {
        {.iov_base = head, .iov_len = format_head(head)},
        {.iov_base = (char *)line, .iov_len = length},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
