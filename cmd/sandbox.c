#include "cmd/sandbox.h"

#ifdef PENSTOCK_NO_JEMALLOC

int sandbox_enter(void)
{
    return 0;
}

#else

#include <errno.h>
#include <seccomp.h>
#include <stddef.h>

static const int allowed[] = {
    /* the data path */
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(socket),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockname),
    SCMP_SYS(shutdown),
    SCMP_SYS(connect), /* AF_UNSPEC: a reset */
    SCMP_SYS(ioctl),   /* SIOCOUTQ, SIOCINQ, FIONREAD */
    SCMP_SYS(splice),
    SCMP_SYS(fcntl), /* O_NONBLOCK */
    SCMP_SYS(close),
    SCMP_SYS(dup3),
    SCMP_SYS(recvmsg), /* listening sockets */
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(clock_gettime),
    /* the heap */
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    /* the end, regular or not */
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
};

int sandbox_enter(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int result = filter == NULL ? -ENOMEM : 0;

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    }
    if (result == 0) {
        result = seccomp_load(filter);
    }
    if (filter != NULL) {
        seccomp_release(filter);
    }
    return result;
}

#endif
