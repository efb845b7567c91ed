#include "cmd/sandbox.h"

#ifdef PENSTOCK_NO_JEMALLOC

int sandbox_enter_worker(void)
{
    return 0;
}

int sandbox_enter_exporter(void)
{
    return 0;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const int always[] = {
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    SCMP_SYS(setsockopt),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(write),
    SCMP_SYS(clock_gettime),
    /* the heap */
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
};

/* The data path. */
static const int of_worker[] = {
    SCMP_SYS(io_uring_enter), SCMP_SYS(getsockopt), SCMP_SYS(getpeername),
    SCMP_SYS(getsockname),    SCMP_SYS(connect),                       /* AF_UNSPEC: a reset */
    SCMP_SYS(bind),                                                    /* to source addresses and ports */
    SCMP_SYS(splice),         SCMP_SYS(dup3),       SCMP_SYS(recvmsg), /* listening sockets */
    SCMP_SYS(poll),           SCMP_SYS(ppoll),                         /* the same, before they go */
    SCMP_SYS(read),
};

/* libmicrohttpd on sockets that are there: it opens no file and connects to nobody. */
static const int of_exporter[] = {
    SCMP_SYS(accept4), SCMP_SYS(recvfrom),  SCMP_SYS(sendto),
    SCMP_SYS(sendmsg), SCMP_SYS(getrandom), /* the page's nonce */
};

static int allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int result = 0;

    for (size_t i = 0; i < count && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    }
    return result;
}

/* Memory is for data; signals are for oneself. */
static int allow_in_part(scmp_filter_ctx filter)
{
    int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

    return result < 0 ? result
                      : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                         SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

/* `more` allows what else depends on arguments. */
static int enter(const int *calls, size_t count, int (*more)(scmp_filter_ctx filter))
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int result = filter == NULL ? -ENOMEM : allow(filter, always, sizeof(always) / sizeof(always[0]));

    if (result == 0) {
        result = allow(filter, calls, count);
    }
    if (result == 0) {
        result = allow_in_part(filter);
    }
    if (result == 0) {
        result = more(filter);
    }
    if (result == 0) {
        result = seccomp_load(filter);
    }
    if (filter != NULL) {
        seccomp_release(filter);
    }
    return result;
}

/* The kernel knows the accept queues. */
static int allow_sock_diag(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
                            SCMP_A2(SCMP_CMP_EQ, NETLINK_SOCK_DIAG));
}

/* Sockets to servers; nothing of a terminal that standard error may be, as typing into it. */
static int allow_for_worker(scmp_filter_ctx filter)
{
    static const struct {
        int call;
        unsigned argument;
        scmp_datum_t value;
    } allowed[] = {
        {SCMP_SYS(socket), 0, AF_INET}, {SCMP_SYS(socket), 0, AF_INET6}, {SCMP_SYS(socket), 0, AF_UNIX},
        {SCMP_SYS(ioctl), 1, SIOCOUTQ}, {SCMP_SYS(ioctl), 1, SIOCINQ}, /* FIONREAD as well */
        {SCMP_SYS(fcntl), 1, F_SETFL},
    };
    int result = 0;

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i].call, 1,
                                  SCMP_CMP(allowed[i].argument, SCMP_CMP_EQ, allowed[i].value));
    }
    return result;
}

int sandbox_enter_worker(void)
{
    return enter(of_worker, sizeof(of_worker) / sizeof(of_worker[0]), allow_for_worker);
}

int sandbox_enter_exporter(void)
{
    return enter(of_exporter, sizeof(of_exporter) / sizeof(of_exporter[0]), allow_sock_diag);
}

#endif
