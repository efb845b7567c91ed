#include "cmd/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/descriptors.h"
#include "cmd/inherit.h"
#include "cmd/worker_process.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/worker.h"
#include "shm/image_box.h"

enum {
    PROGRESS_US = 50000, /* a worker that lived this long made progress */
    BACKOFF_AFTER = 3,   /* deaths without progress before the next is delayed */
    BACKOFF_MAX_MS = 1000,
    MOVE_ABOVE = FD_SESSIONS, /* where descriptors are parked while the low numbers are laid out */
};

/* bench/price.sh measures a build whose workers have a table of their own. */
#ifdef PENSTOCK_WITHOUT_ADOPTION
enum { SHARED = 0 };
#else
enum { SHARED = CLONE_FILES };
#endif

struct keeper {
    const struct keeper_setup *setup;
    struct worker_slot *slot;
    uint32_t deaths_in_a_row;
    uint64_t started_us;
    bool killed; /* by us: it hung */
    pid_t dead;  /* a worker that is still to be reaped; 0: none */
};

static _Noreturn void die(const char *what, int error)
{
    log_line(LOG_LEVEL_ERROR, "event=keeper_failed what=\"%s\" error=\"%s\"", what, strerror(error));
    _exit(EXIT_FAILURE);
}

static void place(int from, int to)
{
    if (dup3(from, to, O_CLOEXEC) < 0) {
        die("dup3", errno);
    }
}

/* Lays the descriptors out as cmd/descriptors.h says and closes all others. */
static void lay_out_descriptors(const struct keeper_setup *setup)
{
    const int *segments = setup->region->fds;
    int sources[] = {segments[SEGMENT_HEAD], segments[SEGMENT_TABLES],
                     segments[SEGMENT_BANK], setup->inbox,
                     setup->outbox,          setup->wake};
    int targets[] = {FD_HEAD, FD_TABLES, FD_BANK, FD_INBOX, FD_OUTBOX, FD_WAKE};
    enum { COUNT = sizeof(sources) / sizeof(sources[0]) };
    int parked[COUNT];

    for (int i = 0; i < COUNT; i++) {
        parked[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, MOVE_ABOVE);
        if (parked[i] < 0) {
            die("fcntl F_DUPFD", errno);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        place(parked[i], targets[i]);
    }
    place(FD_WAKE, FD_RING_EVEN); /* placeholders: the numbers are taken, sessions come above */
    place(FD_WAKE, FD_RING_ODD);
    place(FD_WAKE, FD_WATCH);
    (void)close_range(FD_PIPES, ~0u, 0);
    for (uint32_t i = 0; i < PIPE_COUNT; i++) {
        int result = pipe_make(FD_PIPES, i);
        if (result < 0) {
            die("pipe2", -result);
        }
    }
    for (int fd = FD_LISTENERS; fd < FD_SESSIONS; fd++) {
        place(FD_WAKE, fd);
    }
}

/* Where somebody has listed its descriptors through /proc this takes a microsecond for each: not while
 * sessions wait. */
static void reap_dead(struct keeper *keeper)
{
    if (keeper->dead != 0) {
        (void)waitid(P_PID, (id_t)keeper->dead, NULL, WEXITED);
        keeper->dead = 0;
    }
}

/* Clones the worker: a child with this process's descriptor table and a copy of its memory. */
static pid_t start_worker(struct keeper *keeper)
{
    struct worker_process process = {
        .region = keeper->setup->region,
        .slot = keeper->setup->slot,
        .cpu = keeper->setup->cpu,
        .identity = keeper->setup->identity,
    };

    keeper->started_us = clock_now_us();
    /* The C library's fork() would copy the table. The child's cached thread id is stale from here on. */
    pid_t pid = (pid_t)syscall(SYS_clone, SHARED | SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0) {
        worker_process_main(&process);
    }
    if (pid < 0) {
        die("clone", errno);
    }
    reap_dead(keeper);
    return pid;
}

static const char *describe(const siginfo_t *info, char *text, size_t size)
{
    if (info->si_code == CLD_EXITED) {
        snprintf(text, size, "exit status %d", info->si_status);
    } else {
        snprintf(text, size, "signal %d (%s)", info->si_status, strsignal(info->si_status));
    }
    return text;
}

/* A worker whose loop does not turn any more is killed; whatever it was handling is to blame, as for a fault. */
static void end_if_hanging(struct keeper *keeper, pid_t pid)
{
    uint32_t limit_ms = image_box_current(keeper->setup->region)->watchdog_ms;
    uint64_t started_ms = keeper->started_us / 1000;
    uint64_t beat_ms = __atomic_load_n(&keeper->slot->beat_ms, __ATOMIC_RELAXED);
    uint64_t since_ms = beat_ms > started_ms ? beat_ms : started_ms;

    if (limit_ms == 0 || keeper->killed || clock_now_us() / 1000 <= since_ms + limit_ms) {
        return;
    }
    log_line(LOG_LEVEL_ERROR,
             "event=worker_hangs slot=%u pid=%d what=\"killed; its loop has not turned for %u ms\"",
             keeper->setup->slot, pid, limit_ms);
    keeper->killed = true;
    keeper->slot->fault = 1;
    (void)kill(pid, SIGKILL);
}

/* SIGCHLD is blocked, so it waits for whoever asks. */
static siginfo_t wait_for_end(struct keeper *keeper, pid_t pid)
{
    const struct timespec look = {.tv_sec = 1};
    siginfo_t info = {0};
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    keeper->killed = false;
    for (;;) {
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno != EINTR) {
            die("waitid", errno);
        }
        if (info.si_pid != 0) {
            keeper->dead = pid;
            return info;
        }
        (void)sigtimedwait(&child, NULL, &look);
        end_if_hanging(keeper, pid);
    }
}

/* Waits for the worker's end. Returns whether it was done. */
static bool wait_for_worker(struct keeper *keeper, pid_t pid)
{
    siginfo_t info = wait_for_end(keeper, pid);
    char text[64];

    log_set_level(image_box_current(keeper->setup->region)->log_level); /* of now */
    if (info.si_code == CLD_EXITED && info.si_status == 0) {
        return true;
    }
    keeper->slot->deaths++;
    keeper->deaths_in_a_row =
        clock_now_us() - keeper->started_us < PROGRESS_US ? keeper->deaths_in_a_row + 1 : 0;
    log_line(LOG_LEVEL_WARNING, "event=worker_died slot=%u pid=%d cause=\"%s\" deaths=%u",
             keeper->setup->slot, info.si_pid, describe(&info, text, sizeof(text)), keeper->slot->deaths);
    if (__atomic_load_n(&keeper->setup->region->header->run_state, __ATOMIC_ACQUIRE) == RUN_STOP) {
        __atomic_store_n(&keeper->slot->state, SLOT_DONE,
                         __ATOMIC_RELEASE); /* no use in another incarnation */
        return true;
    }
    return false;
}

static void back_off(const struct keeper *keeper)
{
    if (keeper->deaths_in_a_row <= BACKOFF_AFTER) {
        return;
    }
    uint32_t doublings = keeper->deaths_in_a_row - BACKOFF_AFTER;
    uint32_t wait_ms = doublings > 6 ? BACKOFF_MAX_MS : 10u << doublings;
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = (long)(wait_ms % 1000) * 1000000};
    nanosleep(&wait, NULL);
}

/* Nothing of an earlier use of the slot holds: the descriptor table is new. */
static void begin_slot(struct worker_slot *slot)
{
    slot->fd_floor = FD_SESSIONS;
    slot->epoch = 0;
    memset(slot->listeners, 0, sizeof(slot->listeners));
}

/* The slot goes on. */
static void take_over(const struct keeper_setup *setup)
{
    struct worker_slot *slot = region_slot(setup->region, setup->slot);
    uint64_t started_us = clock_now_us();
    int result = inherit_descriptors(setup->orphan);

    if (result < 0) {
        die("copying the worker's descriptors", -result);
    }
    __atomic_store_n(&slot->state, (uint32_t)SLOT_ADOPTING, __ATOMIC_RELEASE); /* not the dead worker's */
    log_line(LOG_LEVEL_INFO, "event=keeper_replaced slot=%u took_us=%lu", setup->slot,
             (unsigned long)(clock_now_us() - started_us));
}

void keeper_main(const struct keeper_setup *setup)
{
    static char name[32];
    struct keeper keeper = {.setup = setup, .slot = region_slot(setup->region, setup->slot)};
    sigset_t child;

    kin_bind(setup->supervisor);
    snprintf(name, sizeof(name), "keeper.%u", setup->slot);
    log_init(image_box_current(setup->region)->log_level, name);
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
    signal(SIGINT, SIG_IGN); /* the terminal's Ctrl-C is the supervisor's business */
    signal(SIGTERM, SIG_IGN);
    signal(SIGQUIT, SIG_IGN); /* and what is sent to a whole control group */
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD); /* wait_for_end() */
    sigprocmask(SIG_SETMASK, &child, NULL);
    int result = region_confine(setup->region);
    if (result < 0) {
        die("opening the region's head read-only through /proc", -result);
    }
    if (setup->orphan != NULL) {
        take_over(setup);
    } else {
        lay_out_descriptors(setup);
        kin_unbind();
        begin_slot(keeper.slot);
    }
    privileges_of_keeper();
    keeper.slot->keeper_pid = (uint32_t)getpid();
    do {
        back_off(&keeper);
    } while (!wait_for_worker(&keeper, start_worker(&keeper)));
    reap_dead(&keeper);
    keeper.slot->pid = 0;
    _exit(EXIT_SUCCESS);
}
