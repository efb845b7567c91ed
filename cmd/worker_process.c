#include "cmd/worker_process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd/descriptors.h"
#include "cmd/privileges.h"
#include "cmd/sandbox.h"
#include "io/log.h"
#include "io/suspect.h"
#include "io/worker.h"
#include "shm/image_box.h"

static struct worker worker; /* large: not on the stack */
static struct worker_slot *own_slot;

static _Noreturn void die(const char *what, int error)
{
    log_line(LOG_LEVEL_ERROR, "event=worker_failed what=\"%s\" error=\"%s\"", what, strerror(error));
    _exit(EXIT_FAILURE);
}

static void pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0) {
        return;
    }
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set); /* a CPU that went away costs speed, not service */
}

/* Notes a fault, then lets the signal do its work: a fault happens again, what was sent is sent again. */
static void on_fatal_signal(int signal, siginfo_t *info, void *context)
{
    (void)context;
    suspect_fault(own_slot, info->si_code, info->si_pid, getpid());
    (void)tgkill(getpid(), gettid(), signal);
}

static void note_faults(struct worker_slot *slot)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_sigaction = on_fatal_signal, .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND)};

    own_slot = slot;
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
        (void)sigaction(fatal[i], &action, NULL);
    }
}

void worker_process_main(const struct worker_process *process)
{
    static char name[32];
    struct rlimit limit = {.rlim_cur = 1024};

    snprintf(name, sizeof(name), "worker.%u", process->slot);
    log_init(image_box_current(process->region)->log_level, name);
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
    note_faults(region_slot(process->region, process->slot));
    pin(process->cpu);
    getrlimit(RLIMIT_NOFILE, &limit);
    int result = privileges_drop(&process->identity);
    if (result < 0) {
        die("dropping privileges", -result);
    }
    struct worker_setup setup = {
        .region = process->region,
        .slot = process->slot,
        .ring_fds = {FD_RING_EVEN, FD_RING_ODD},
        .watch_fd = FD_WATCH,
        .pipe_base = FD_PIPES,
        .wake_fd = FD_WAKE,
        .inbox_fd = FD_INBOX,
        .listener_base = FD_LISTENERS,
        .descriptors_limit = (uint32_t)limit.rlim_cur,
        .resume_batch = WORKER_RESUME_BATCH,
    };
    result = worker_start(&worker, &setup);
    if (result < 0) {
        die("starting", -result);
    }
    privileges_finish(); /* the ring is there */
    result = sandbox_enter_worker();
    if (result < 0) {
        log_line(LOG_LEVEL_WARNING, "event=no_sandbox error=\"%s\"", strerror(-result));
    }
    result = worker_run(&worker);
    if (result < 0) {
        die("io_uring_enter", -result);
    }
    _exit(EXIT_SUCCESS);
}
