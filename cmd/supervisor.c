#include "cmd/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/descriptors.h"
#include "cmd/kin.h"
#include "cmd/machine.h"
#include "cmd/notify.h"
#include "cmd/privileges.h"
#include "io/clock.h"
#include "io/heap.h"
#include "io/log.h"
#include "io/probe.h"
#include "shm/image_box.h"
#include "shm/name_row.h"
#include "shm/worker_slot.h"

enum {
    START_TIMEOUT_MS = 10000,
    LOOK_EVERY_MS = 1000,
    SOON_MS = 10,         /* while something is awaited */
    SESSION_MARGIN = 256, /* records beyond the limit: workers may pass it a little */
    SLOT_GROWTH = 2,
    SLOTS_MIN = 8,
    SESSION_GROWTH = 4, /* a reload may raise limits.sessions this much; unused records cost nothing */
    EXPORTER_TRIES = 50,
};

static uint64_t realtime_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A reload may raise the number of workers to this. What is never used takes no memory. */
static uint32_t slots_to_reserve(const struct image *image)
{
    uint32_t wanted = image->workers > machine_cpus() ? image->workers : machine_cpus();

    wanted = wanted * SLOT_GROWTH < SLOTS_MIN ? SLOTS_MIN : wanted * SLOT_GROWTH;
    return wanted < IMAGE_WORKERS_MAX ? wanted : IMAGE_WORKERS_MAX;
}

static void init_header(struct region_header *header)
{
    header->supervisor_pid = (uint32_t)getpid();
    header->image_since_ms = clock_now_us() / 1000;
    header->fd_wake = FD_WAKE;
    header->fd_listeners = FD_LISTENERS;
    header->listener_places = IMAGE_BINDS_MAX;
    snprintf(header->version, sizeof(header->version), "%s", penstock_version());
}

static int create_region(struct supervisor *supervisor)
{
    const struct image *image = supervisor->image;
    struct region_shape shape = {
        .name = image->name,
        .slots = slots_to_reserve(image),
        .sessions_per_slot = (uint32_t)(image->sessions_limit * SESSION_GROWTH + SESSION_MARGIN),
        .flows = image_flows(image),
        .bank_bytes = image->buffer_bytes_limit * slots_to_reserve(image), /* one may come to have it all */
        .monotonic_us = clock_now_us(),
        .realtime_us = realtime_us(),
    };

    if (getrandom(&shape.seed, sizeof(shape.seed), 0) != (ssize_t)sizeof(shape.seed)) {
        return -EIO;
    }
    int result = region_create(&supervisor->region, &shape);
    if (result == 0) {
        init_header(supervisor->region.header);
        supervisor->image->generation = 1;
        result = name_rows_assign(&supervisor->region, supervisor->image);
    }
    if (result == 0) {
        result = supervisor_place_listeners(supervisor, supervisor->image);
    }
    if (result == 0) {
        result = supervisor_choose_time_wait(supervisor);
    }
    return result == 0 ? image_box_publish(&supervisor->region, supervisor->image) : result;
}

static int open_signals(struct supervisor *supervisor)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT, SIGCHLD};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaddset(&set, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return supervisor->signal_fd < 0 ? -errno : 0;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The start-up matrix: what the kernel offers, one line each. 0, or -1 with one line that names cause and remedy. */
static int look_at_kernel(struct supervisor *supervisor)
{
    struct probe_result result;

    if (probe_kernel(&result) != 0) {
        log_line(LOG_LEVEL_ERROR, "event=start_failed cause=\"%s\"", result.cause);
        return -1;
    }
    for (int i = 0; i < PROBE_FEATURES; i++) {
        log_line(LOG_LEVEL_INFO, "event=kernel feature=%s have=%s", probe_name(i),
                 result.have[i] ? "yes" : "no");
    }
    supervisor->has_zero_copy = result.have[PROBE_ZERO_COPY];
    return 0;
}

static uint32_t slots_in(const struct supervisor *supervisor, enum slot_state state)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        count += __atomic_load_n(&region_slot(&supervisor->region, i)->state, __ATOMIC_ACQUIRE) == state;
    }
    return count;
}

static int wait_until_serving(const struct supervisor *supervisor)
{
    struct timespec pause = {.tv_nsec = 1000000};

    for (int i = 0; i < START_TIMEOUT_MS; i++) {
        if (image_box_taken(&supervisor->region)) {
            return 0;
        }
        nanosleep(&pause, NULL);
    }
    return -ETIMEDOUT;
}

int supervisor_publish(struct supervisor *supervisor)
{
    struct kin_memory elders[ELDERS_MAX];

    for (uint32_t i = 0; i < supervisor->elder_count; i++) {
        elders[i] = supervisor->elders[i].memory;
    }
    return instance_publish(&supervisor->instance, &supervisor->region, elders, supervisor->elder_count);
}

/* Nobody serves: reads the file once more, since memory that is free counts now. */
static int load_to_start(struct supervisor *supervisor)
{
    free(supervisor->image);
    supervisor->image = command_load(supervisor->config_path, true);
    if (supervisor->image == NULL) {
        return -EINVAL;
    }
    supervisor_adapt(supervisor, supervisor->image);
    return 0;
}

static int start(struct supervisor *supervisor)
{
    int result = load_to_start(supervisor);

    if (result < 0) {
        return result;
    }
    result = create_region(supervisor);
    if (result == 0) { /* before there is anything to take over */
        result = supervisor_publish(supervisor);
    }
    if (result == 0) {
        result = supervisor_start_logger(supervisor);
    }
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=start_failed error=\"%s\"", strerror(-result));
        return result;
    }
    supervisor_use_inherited(supervisor, supervisor->image);
    if (supervisor_open_listeners(supervisor, supervisor->image) != 0 ||
        supervisor_open_exporter(supervisor, supervisor->image) != 0) {
        return -EADDRINUSE;
    }
    result = supervisor_tend_slots(supervisor);
    if (result == 0) {
        result = wait_until_serving(supervisor);
    }
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR,
                 "event=start_failed error=\"%s\" what=\"workers do not serve; see the lines above\"",
                 strerror(-result));
    }
    supervisor_follow_exporter(supervisor);
    return result;
}

void supervisor_wake_all(const struct supervisor *supervisor)
{
    uint64_t one = 1;

    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        if (supervisor->slots[i].pidfd >= 0) {
            ssize_t ignored = write(supervisor->slots[i].wake, &one, sizeof(one)); /* full: awake already */
            (void)ignored;
        }
    }
}

static void set_run_state(struct supervisor *supervisor, enum run_state state)
{
    struct region_header *header = supervisor->region.header;

    supervisor_close_listeners(supervisor);
    supervisor->stopping = true;
    header->run_state_since_ms = clock_now_us() / 1000;
    __atomic_store_n(&header->run_state, (uint32_t)state,
                     __ATOMIC_RELEASE); /* pairs with follow_run_state() */
    supervisor_wake_all(supervisor);
    supervisor_tell_elders(supervisor, state);
    log_line(LOG_LEVEL_INFO, "event=%s", state == RUN_DRAIN ? "draining" : "stopping");
    notify_stopping();
}

static void follow_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;

    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGTERM:
            set_run_state(supervisor, supervisor->stopping ? RUN_STOP : RUN_DRAIN);
            break;
        case SIGQUIT:
            supervisor->time_wait.at_once = true;
            set_run_state(supervisor, RUN_STOP);
            break;
        case SIGINT:
            set_run_state(supervisor, RUN_STOP);
            break;
        case SIGHUP:
            supervisor_reload(supervisor);
            break;
        case SIGUSR1:
            if (supervisor->logger_pidfd >= 0) {
                kill(supervisor->logger, SIGUSR1);
            }
            supervisor_reopen_elder_logs(supervisor);
            break;
        case SIGUSR2:
            supervisor->upgrade_wanted = true;
            break;
        case SIGCONT:
            supervisor_wake_all(supervisor);
            break;
        default:
            break;
        }
    }
}

static void reap_logger(struct supervisor *supervisor)
{
    waitpid(supervisor->logger, NULL, 0);
    close(supervisor->logger_pidfd);
    supervisor->logger_pidfd = -1;
    log_line(LOG_LEVEL_WARNING, "event=logger_died what=\"started again within a second\"");
}

/* At most once a turn of a second, however often it dies. */
static void restart_logger(struct supervisor *supervisor)
{
    if (supervisor->logger_pidfd >= 0 || clock_now_us() < supervisor->logger_after_us) {
        return;
    }
    supervisor->logger_after_us = clock_now_us() + LOOK_EVERY_MS * 1000;
    int result = supervisor_start_logger(supervisor);
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=logger_failed error=\"%s\"", strerror(-result));
    }
}

/* Whether every slot is through. */
static bool all_done(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        if (supervisor->slots[i].pidfd >= 0) {
            return false;
        }
    }
    return supervisor->elder_count == 0;
}

static uint32_t sessions_of(const struct supervisor *supervisor)
{
    uint32_t sessions = 0;

    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        sessions += __atomic_load_n(&region_slot(&supervisor->region, i)->sessions_active, __ATOMIC_RELAXED);
    }
    return sessions;
}

/* Tells the service manager how things are, now and then. */
static void tell_manager(struct supervisor *supervisor)
{
    uint64_t now_us = clock_now_us();

    if (now_us < supervisor->tell_after_us) {
        return;
    }
    supervisor->tell_after_us = now_us + LOOK_EVERY_MS * 1000;
    notify_watchdog();
    notify_status("%s; %u workers, %u sessions", supervisor->stopping ? "ending" : "serving",
                  slots_in(supervisor, SLOT_SERVING), sessions_of(supervisor));
}

static void note_reload(struct supervisor *supervisor)
{
    supervisor_settle_listeners(supervisor);
    if (supervisor->reload_pending && image_box_taken(&supervisor->region)) {
        supervisor->reload_pending = false;
        log_line(LOG_LEVEL_INFO, "event=reloaded generation=%lu",
                 (unsigned long)image_box_current(&supervisor->region)->generation);
        notify_ready();
    }
}

static void supervise(struct supervisor *supervisor)
{
    struct pollfd polls[IMAGE_WORKERS_MAX + 3];
    uint32_t exporter = supervisor->region.header->slot_count + 2; /* its place among them */

    notify_ready();
    while (!supervisor->stopping || !all_done(supervisor)) {
        polls[0] = (struct pollfd){.fd = supervisor->signal_fd, .events = POLLIN};
        polls[1] = (struct pollfd){.fd = supervisor->logger_pidfd, .events = POLLIN};
        for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
            polls[i + 2] = (struct pollfd){.fd = supervisor->slots[i].pidfd, .events = POLLIN};
        }
        polls[exporter] = (struct pollfd){.fd = supervisor->exporter.pidfd, .events = POLLIN};
        bool soon = supervisor->stopping || supervisor->reload_pending || supervisor->steered ||
                    supervisor->reload_by_us != 0 || supervisor->upgrade_wanted || supervisor->upgrading ||
                    supervisor_is_handing_over(supervisor);
        int time_wait_ms = supervisor_time_wait_ms(supervisor);
        int look_ms = time_wait_ms >= 0 ? time_wait_ms : LOOK_EVERY_MS;
        (void)poll(polls, exporter + 1, soon ? SOON_MS : look_ms);
        follow_signals(supervisor);
        if (supervisor->logger_pidfd >= 0 && polls[1].revents) {
            reap_logger(supervisor);
        }
        if (polls[exporter].fd >= 0 && polls[exporter].fd == supervisor->exporter.pidfd &&
            polls[exporter].revents) {
            supervisor_reap_exporter(supervisor);
        }
        restart_logger(supervisor);
        supervisor_start_exporter(supervisor);
        supervisor_watch_slots(supervisor);
        supervisor_watch_elders(supervisor);
        supervisor_follow_upgrade(supervisor);
        supervisor_follow_reload(supervisor);
        supervisor_watch_time_wait(supervisor);
        note_reload(supervisor);
        tell_manager(supervisor);
    }
}

/* Ends what is left of the children, after a start that failed or a regular end. */
static void end_children(struct supervisor *supervisor)
{
    if (supervisor->region.header == NULL) {
        return;
    }
    __atomic_store_n(&supervisor->region.header->run_state, (uint32_t)RUN_STOP, __ATOMIC_RELEASE);
    supervisor_wake_all(supervisor);
    for (uint32_t i = 0; i < supervisor->region.header->slot_count; i++) {
        struct supervised_slot *slot = &supervisor->slots[i];
        if (slot->pidfd >= 0) {
            (void)kin_wait_end(slot->pidfd, -1);
            close(slot->pidfd);
        }
    }
    supervisor_end_exporter(supervisor);
    if (supervisor->logger > 0 && supervisor->logger_pidfd >= 0) {
        kill(supervisor->logger, SIGTERM);
        waitpid(supervisor->logger, NULL, 0);
    }
}

static void init(struct supervisor *supervisor)
{
    raise_descriptor_limit();
    supervisor->logger_pidfd = -1;
    supervisor->time_wait.destroy.fd = -1;
    supervisor->exporter = (struct supervised_exporter){.socket = -1, .next_socket = -1, .pidfd = -1};
    for (uint32_t i = 0; i < IMAGE_WORKERS_MAX; i++) {
        struct supervised_slot *slot = &supervisor->slots[i];
        slot->pidfd = slot->inbox = slot->outbox = slot->wake = -1;
        memset(slot->listeners, -1, sizeof(slot->listeners));
        memset(slot->inherited, -1, sizeof(slot->inherited));
    }
    memset(supervisor->region.fds, -1, sizeof(supervisor->region.fds));
}

/* The dead supervisor's exporter ends with it, some moments later perhaps. Without one the others serve all
 * the same. */
static void open_exporter_again(struct supervisor *supervisor)
{
    const struct timespec pause = {.tv_nsec = 10000000};

    for (int i = 0; i < EXPORTER_TRIES && supervisor_open_exporter(supervisor, supervisor->image) != 0; i++) {
        nanosleep(&pause, NULL);
    }
    supervisor_follow_exporter(supervisor);
}

static void warn_of_root(const char *user)
{
    struct identity identity;

    if (privileges_resolve(user, &identity) == 0 && (identity.change ? identity.uid : geteuid()) == 0) {
        log_line(
            LOG_LEVEL_WARNING,
            "event=no_user what=\"workers and the exporter run as root, though without capabilities; better "
            "is a user without rights, as in user: nobody\"");
    }
}

/* Takes over or starts. 0; -errno; `ended` says whether it left nobody. */
static int begin(struct supervisor *supervisor)
{
    int result = look_at_kernel(supervisor);

    if (result == 0) {
        result = open_signals(supervisor);
    }
    if (result == 0) {
        result = supervisor_take_over(supervisor);
    }
    if (result < 0) {
        supervisor->ended = supervisor->instance.left_count == 0;
        return result;
    }
    bool taken = result == 1;
    if (!taken) {
        supervisor->ended = supervisor->elder_count == 0;
        result = start(supervisor);
    }
    if (result < 0) {
        return result;
    }
    supervisor->ended = true;
    supervisor_hand_over(supervisor);
    if (taken) {
        open_exporter_again(supervisor);
        supervisor_follow_file(supervisor);
    }
    warn_of_root(supervisor->image->user);
    log_line(LOG_LEVEL_INFO, "event=ready name=%s workers=%u sessions=%lu buffers=%lu heap=%lu pid=%d",
             supervisor->image->name, supervisor->image->workers,
             (unsigned long)supervisor->image->sessions_limit,
             (unsigned long)supervisor->image->buffer_bytes_limit, (unsigned long)heap_allocated_bytes(),
             getpid());
    return 0;
}

int supervisor_run(struct supervisor *supervisor)
{
    init(supervisor);
    int result = begin(supervisor);
    if (result == 0) {
        supervise(supervisor);
    } else if (!supervisor->ended && supervisor->elder_count == 0) {
        return EXIT_FAILURE; /* the others serve on */
    }
    if (supervisor->elder_count == 0) { /* else the sockets are theirs */
        supervisor_close_listeners(supervisor);
    }
    end_children(supervisor);
    supervisor_leave_time_wait(supervisor);
    log_line(LOG_LEVEL_INFO, "event=ended");
    return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
