#include "cmd/logger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "cmd/kin.h"
#include "cmd/source.h"
#include "io/clock.h"
#include "io/log.h"
#include "shm/image_box.h"
#include "shm/name_row.h"

enum {
    LINE_MAX_BYTES = 640,
    BATCH_BYTES = 64 * 1024,
    LOOK_EVERY_MS = 100,
    RETRY_OPEN_MS = 5000,
};

struct logger {
    const struct region *region;
    int fd; /* -1: none */
    char path[IMAGE_PATH_MAX];
    uint64_t retry_ms;
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

static const char *name_of(const struct region *region, enum name_kind kind, uint16_t row)
{
    const struct name_row *entry = region_name(region, kind, row);

    return entry != NULL && entry->name[0] != '\0' ? entry->name : "-";
}

/* Milliseconds from `from_us` to `to_us`, or "-" where it never came to that. */
static const char *format_span(char *text, size_t size, uint64_t from_us, uint64_t to_us)
{
    if (to_us == 0) {
        return "-";
    }
    snprintf(text, size, "%" PRIu64 ".%03" PRIu64, (to_us - from_us) / 1000, (to_us - from_us) % 1000);
    return text;
}

size_t logger_format(char *line, size_t size, const struct region *region, uint32_t slot,
                     const struct log_record *record)
{
    const struct region_header *header = region->header;
    uint64_t real_us = record->accepted_us - header->created_monotonic_us + header->created_realtime_us;
    time_t seconds = (time_t)(real_us / 1000000);
    struct tm utc;
    char source[ENDPOINT_TEXT_MAX];
    char spans[3][32];

    gmtime_r(&seconds, &utc);
    size_t used = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int rest = snprintf(line + used, size - used,
                        ".%06" PRIu64 "Z %s %s %s/%s %s/%s/%s %" PRIu64 " %" PRIu64 " %s %u %u %" PRIu64 "\n",
                        real_us % 1000000,
                        source_format(source, sizeof(source), record->source_family, record->source_port,
                                      record->source_address),
                        name_of(region, NAME_LISTENER, record->listener_row),
                        name_of(region, NAME_POOL, record->pool_row),
                        name_of(region, NAME_SERVER, record->server_row),
                        format_span(spans[0], sizeof(spans[0]), record->accepted_us, record->connected_us),
                        format_span(spans[1], sizeof(spans[1]), record->accepted_us, record->first_byte_us),
                        format_span(spans[2], sizeof(spans[2]), record->accepted_us, record->closed_us),
                        record->bytes_from_client, record->bytes_from_server,
                        close_reason_text(record->reason), record->tries, slot, record->serial);
    if (rest < 0) {
        return 0;
    }
    used += (size_t)rest;
    return used < size ? used : size - 1;
}

static void flush(struct logger *logger)
{
    size_t done = 0;

    while (logger->fd >= 0 && done < logger->used) {
        ssize_t wrote = write(logger->fd, logger->batch + done, logger->used - done);
        if (wrote < 0 && errno != EINTR) {
            log_line(LOG_LEVEL_ERROR, "event=access_log_failed path=\"%s\" error=\"%s\"", logger->path,
                     strerror(errno));
            break;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    logger->used = 0;
}

/* Opens what the current configuration names. */
static void open_log(struct logger *logger)
{
    const struct image *image = image_box_current(logger->region);
    const char *path = image->access_path;
    bool same = strcmp(path, logger->path) == 0;

    log_set_level(image->log_level);
    if (same && !reopen_wanted && (logger->fd >= 0 || clock_now_us() / 1000 < logger->retry_ms)) {
        return;
    }
    reopen_wanted = 0;
    if (logger->fd > STDERR_FILENO) {
        close(logger->fd);
    }
    snprintf(logger->path, sizeof(logger->path), "%s", path);
    logger->retry_ms = clock_now_us() / 1000 + RETRY_OPEN_MS;
    logger->fd = -1;
    if (path[0] == '\0') {
        logger->fd = STDERR_FILENO;
    } else if (strcmp(path, "off") != 0) {
        logger->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (logger->fd < 0) {
            log_line(LOG_LEVEL_ERROR,
                     "event=access_log_failed path=\"%s\" error=\"%s\" what=\"tried again in 5 s\"", path,
                     strerror(errno));
        }
    }
}

/* Takes what is in a slot's ring, one round of it at most: head and records are a worker's word. A record is copied
 * before it is looked at and before the tail gives its place back. */
static void take_records(struct logger *logger, uint32_t index)
{
    struct worker_slot *slot = region_slot(logger->region, index);
    uint64_t head = __atomic_load_n(&slot->log_head, __ATOMIC_ACQUIRE); /* pairs with the worker's release */

    /* Signed: a worker's death may take the head back behind a record that was read already. */
    uint64_t tail = slot->log_tail;
    for (uint32_t i = 0; i < LOG_RING_RECORDS && (int64_t)(head - tail) > 0; i++, tail++) {
        struct log_record record = *region_log_record(logger->region, index, tail);
        if (sizeof(logger->batch) - logger->used < LINE_MAX_BYTES) {
            flush(logger);
        }
        if (logger->fd >= 0) {
            logger->used +=
                logger_format(logger->batch + logger->used, LINE_MAX_BYTES, logger->region, index, &record);
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
        open_log(&logger);
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
