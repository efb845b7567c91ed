#include "cmd/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/access_line.h"
#include "cmd/kin.h"
#include "cmd/privileges.h"
#include "cmd/syslog.h"
#include "io/clock.h"
#include "io/log.h"
#include "shm/image_box.h"

enum {
    BATCH_BYTES = 64 * 1024,
    LOOK_EVERY_MS = 100,
    PAUSE_MAX_MS = 5000,
};

struct logger {
    const struct region *region;
    int fd; /* -1: none */
    bool to_syslog;
    char path[IMAGE_PATH_MAX];
    uint64_t retry_ms; /* when what failed is tried again */
    uint64_t pause_ms; /* 0: nothing has failed since the last line */
    size_t cut;        /* bytes of the batch's first line that are written already */
    char batch[BATCH_BYTES];
    size_t used;
};

static volatile sig_atomic_t reopen_wanted;
static volatile sig_atomic_t end_wanted;

static void on_signal(int signal)
{
    if (signal == SIGUSR1) {
        reopen_wanted = 1;
    } else {
        end_wanted = 1;
    }
}

/* --- Writing ------------------------------------------------------------------------------------------------ */

static void close_log(struct logger *logger)
{
    if (logger->fd > STDERR_FILENO) {
        close(logger->fd);
    }
    logger->fd = -1;
}

/* The lines stay. Tried again soon at first, then ever more seldom. */
static void fail(struct logger *logger, int error)
{
    if (logger->pause_ms == 0) {
        log_line(
            LOG_LEVEL_ERROR,
            "event=access_log_failed path=\"%s\" error=\"%s\" what=\"tried again; lines wait meanwhile, and what "
            "workers have no room for is dropped and counted\"",
            logger->path, strerror(error));
    }
    uint64_t pause_ms = logger->pause_ms == 0 ? LOOK_EVERY_MS : 2 * logger->pause_ms;
    logger->pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
    logger->retry_ms = clock_now_us() / 1000 + logger->pause_ms;
    if (logger->to_syslog) { /* a file is another one only when we are told so */
        close_log(logger);
    }
}

static bool may_retry(const struct logger *logger)
{
    return clock_now_us() / 1000 >= logger->retry_ms;
}

static void note_success(struct logger *logger)
{
    if (logger->pause_ms != 0) {
        log_line(LOG_LEVEL_INFO, "event=access_log_resumed path=\"%s\"", logger->path);
    }
    logger->pause_ms = 0;
}

/* One message of the batch, or as much as a file takes. Bytes or -errno. */
static ssize_t write_some(const struct logger *logger, const char *from, size_t length)
{
    if (!logger->to_syslog) {
        ssize_t wrote = write(logger->fd, from, length);
        return wrote < 0 ? -errno : wrote;
    }
    size_t line = (size_t)((const char *)memchr(from, '\n', length) - from);
    int result = syslog_send(logger->fd, from, line);
    return result < 0 ? result : (ssize_t)line + 1;
}

/* Gives who is behind the time that there is until the rings are looked at again. */
static bool wait_writable(const struct logger *logger)
{
    struct pollfd writable = {.fd = logger->fd, .events = POLLOUT};

    return poll(&writable, 1, LOOK_EVERY_MS) == 1;
}

/* Takes whole lines off the batch and remembers what is written of the next. */
static void consume(struct logger *logger, size_t written)
{
    const char *last = memrchr(logger->batch, '\n', written);
    size_t whole = last != NULL ? (size_t)(last - logger->batch) + 1 : 0;

    logger->cut = written - whole;
    logger->used -= whole;
    memmove(logger->batch, logger->batch + whole, logger->used);
}

/* What cannot be written now stays in the batch. */
static void flush(struct logger *logger)
{
    size_t done = logger->cut;
    ssize_t wrote = 0;

    while (logger->fd >= 0 && done < logger->used && may_retry(logger)) {
        wrote = write_some(logger, logger->batch + done, logger->used - done);
        if (wrote >= 0) {
            done += (size_t)wrote;
        } else if (wrote != -EINTR && (wrote != -EAGAIN || !wait_writable(logger))) {
            break;
        }
    }
    if (done > logger->cut) {
        consume(logger, done);
        note_success(logger);
    }
    if (wrote < 0 && wrote != -EAGAIN) {
        fail(logger, (int)-wrote);
    }
}

/* --- Where to ----------------------------------------------------------------------------------------------- */

static bool is_off(const struct logger *logger)
{
    return strcmp(logger->path, "off") == 0;
}

static void open_log(struct logger *logger)
{
    if (is_off(logger)) {
        return;
    }
    if (logger->path[0] == '\0') {
        logger->fd = STDERR_FILENO;
    } else if (logger->to_syslog) {
        logger->fd = syslog_connect(logger->path + sizeof(IMAGE_SYSLOG) - 1);
    } else {
        logger->fd = open(logger->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        logger->fd = logger->fd < 0 ? -errno : logger->fd;
    }
    if (logger->fd < 0) {
        fail(logger, -logger->fd);
    }
}

/* Opens what the current configuration names. */
static void follow_configuration(struct logger *logger)
{
    const struct image *image = image_box_current(logger->region);

    log_set_level(image->log_level);
    if (reopen_wanted || strcmp(image->access_path, logger->path) != 0) {
        reopen_wanted = 0;
        close_log(logger);
        snprintf(logger->path, sizeof(logger->path), "%s", image->access_path);
        logger->to_syslog = strncmp(logger->path, IMAGE_SYSLOG, sizeof(IMAGE_SYSLOG) - 1) == 0;
        logger->pause_ms = 0;
        logger->retry_ms = 0;
        logger->cut = 0; /* there it is begun again */
        logger->used = is_off(logger) ? 0 : logger->used;
    }
    if (logger->fd < 0 && may_retry(logger)) {
        open_log(logger);
    }
}

/* --- Reading ------------------------------------------------------------------------------------------------ */

/* Whether a line fits the batch. */
static bool make_room(struct logger *logger)
{
    if (sizeof(logger->batch) - logger->used < ACCESS_LINE_MAX) {
        flush(logger);
    }
    return sizeof(logger->batch) - logger->used >= ACCESS_LINE_MAX;
}

/* Takes what is in a slot's ring, one round of it at most: head and records are a worker's word. A record is copied
 * before it is looked at and before the tail gives its place back. */
static void take_records(struct logger *logger, uint32_t index)
{
    struct worker_slot *slot = region_slot(logger->region, index);
    uint64_t head = __atomic_load_n(&slot->log_head, __ATOMIC_ACQUIRE); /* pairs with the worker's release */
    enum access_format format = image_box_current(logger->region)->access_format;

    /* Signed: a worker's death may take the head back behind a record that was read already. */
    uint64_t tail = slot->log_tail;
    for (uint32_t i = 0; i < LOG_RING_RECORDS && (int64_t)(head - tail) > 0 && make_room(logger);
         i++, tail++) {
        struct log_record record = *region_log_record(logger->region, index, tail);
        if (!is_off(logger)) {
            logger->used +=
                access_line_format(logger->batch + logger->used, format, logger->region, index, &record);
        }
        __atomic_store_n(&slot->log_tail, tail + 1, __ATOMIC_RELEASE); /* pairs with the worker's acquire */
    }
}

void logger_main(const struct region *region)
{
    static struct logger logger;
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t none;

    log_init(image_box_current(region)->log_level, "logger");
    (void)prctl(PR_SET_NAME, "logger", 0, 0, 0);
    kin_unbind();
    privileges_of_logger();
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    logger = (struct logger){.region = region, .fd = -1, .path = "?"};
    for (bool last = false; !last;) {
        last = end_wanted != 0;
        follow_configuration(&logger);
        for (uint32_t i = 0; i < region_slots_used(region); i++) {
            take_records(&logger, i);
        }
        flush(&logger);
        if (!last) {
            (void)poll(NULL, 0, LOOK_EVERY_MS);
        }
    }
    _exit(EXIT_SUCCESS);
}
