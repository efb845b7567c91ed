#include "io/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { TAKE_MAX = 256 };

int watch_create(int fd)
{
    int made = epoll_create1(EPOLL_CLOEXEC);

    if (made < 0) {
        return -errno;
    }
    int result = dup3(made, fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(made);
    return result;
}

int watch_add(int watch_fd, int fd, uint64_t handle, bool known)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data.u64 = handle};
    int result = epoll_ctl(watch_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);

    if (result != 0 && (errno == ENOENT || errno == EEXIST)) {
        result = epoll_ctl(watch_fd, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    }
    return result == 0 ? 0 : -errno;
}

uint32_t watch_take(int watch_fd, uint64_t *handles, uint32_t max)
{
    struct epoll_event events[TAKE_MAX];
    int count = epoll_wait(watch_fd, events, max < TAKE_MAX ? (int)max : TAKE_MAX, 0);

    for (int i = 0; i < count; i++) {
        handles[i] = events[i].data.u64;
    }
    return count > 0 ? (uint32_t)count : 0;
}
