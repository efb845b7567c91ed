/*
 * Limits against the machine. Pure: the caller has asked the machine.
 */
#include "config/config.h"

#include <inttypes.h>

enum {
    SESSION_DESCRIPTORS = 2,
    WORKER_DESCRIPTORS = 256, /* listening sockets, pipes, rings, logs */
    SESSION_BYTES = 448,      /* two connection blocks, two flow entries */
    WORKER_RINGS = 2,         /* while a new worker takes over, the dead one's ring is still open */
    RING_BYTES = 1468006,     /* 1.4 MiB of locked memory */
    MIB = 1024 * 1024,
};

static uint64_t mib_round_up(uint64_t bytes)
{
    return bytes / MIB + (bytes % MIB != 0);
}

/* "raise X" needs no other way out where none is left: writes " or write at most N WHAT" only for an N of 1 or more. */
static const char *at_most(uint64_t count, const char *what, char *text, size_t size)
{
    text[0] = '\0';
    if (count > 0)
        snprintf(text, size, " or write at most %" PRIu64 " %s", count, what);
    return text;
}

static void descriptors_check(const struct image *image, struct config_place place,
                              const struct machine_facts *facts, struct config_report *report)
{
    uint64_t sessions = (image->sessions_limit + image->workers - 1) / image->workers;
    uint64_t needed = sessions * SESSION_DESCRIPTORS + WORKER_DESCRIPTORS;
    uint64_t possible = 0;
    char instead[64];

    if (needed <= facts->nofile_limit)
        return;
    if (facts->nofile_limit > WORKER_DESCRIPTORS)
        possible = (facts->nofile_limit - WORKER_DESCRIPTORS) / SESSION_DESCRIPTORS * image->workers;
    config_report_add(report, place,
                      "limits.sessions: %" PRIu64 " sessions on %" PRIu32 " workers need %" PRIu64
                      " descriptors a worker, but %" PRIu64 " are allowed; raise LimitNOFILE (ulimit -Hn) to "
                      "%" PRIu64 "%s",
                      image->sessions_limit, image->workers, needed, facts->nofile_limit, needed,
                      at_most(possible, "sessions", instead, sizeof(instead)));
}

static void memory_check(const struct image *image, const struct config_positions *positions,
                         const struct machine_facts *facts, struct config_report *report)
{
    uint64_t sessions_bytes = image->sessions_limit * SESSION_BYTES;
    uint64_t needed = sessions_bytes + image->buffer_bytes_limit;

    if (sessions_bytes > facts->memory_bytes)
        config_report_add(report, positions->sessions,
                          "limits.sessions: %" PRIu64 " sessions take %" PRIu64 " MiB, but there are %" PRIu64
                          " MiB of memory; write fewer",
                          image->sessions_limit, mib_round_up(sessions_bytes), facts->memory_bytes / MIB);
    else if (needed > facts->memory_bytes)
        config_report_add(
            report, positions->buffers,
            "limits.buffers: %" PRIu64 " MiB and %" PRIu64 " MiB for sessions are more than the %" PRIu64
            " MiB of memory; write a smaller size",
            mib_round_up(image->buffer_bytes_limit), mib_round_up(sessions_bytes), facts->memory_bytes / MIB);
    else if (facts->free_memory_bytes && needed > facts->free_memory_bytes)
        config_report_add(report, positions->buffers,
                          "limits.buffers: %" PRIu64 " MiB and %" PRIu64
                          " MiB for sessions are more than the %" PRIu64
                          " MiB of memory that are free now; write a smaller size",
                          mib_round_up(image->buffer_bytes_limit), mib_round_up(sessions_bytes),
                          facts->free_memory_bytes / MIB);
}

static void rings_check(const struct image *image, struct config_place place,
                        const struct machine_facts *facts, struct config_report *report)
{
    uint64_t needed = (uint64_t)image->workers * WORKER_RINGS * RING_BYTES;
    char instead[64];

    if (facts->is_root || needed <= facts->memlock_bytes)
        return;
    config_report_add(
        report, place,
        "workers: the rings of %" PRIu32 " workers lock up to %" PRIu64 " KiB, but %" PRIu64
        " KiB are allowed; raise LimitMEMLOCK (ulimit -Hl)%s",
        image->workers, (needed + 1023) / 1024, facts->memlock_bytes / 1024,
        at_most(facts->memlock_bytes / (WORKER_RINGS * RING_BYTES), "workers", instead, sizeof(instead)));
}

int config_check_machine(const struct image *image, const struct config_positions *positions,
                         const struct machine_facts *facts, struct config_report *report)
{
    static const struct config_positions nowhere;
    uint32_t before = report->count + report->more;

    if (!positions)
        positions = &nowhere;
    descriptors_check(image, positions->sessions, facts, report);
    memory_check(image, positions, facts, report);
    rings_check(image, positions->workers, facts, report);
    return report->count + report->more == before ? 0 : -1;
}
