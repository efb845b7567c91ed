/*
 * Limits, congestion controls and socket buffers against the machine. Pure: the caller has asked the machine.
 */
#include "config/config.h"

#include <inttypes.h>
#include <string.h>

enum {
    SESSION_DESCRIPTORS = 2,
    WORKER_DESCRIPTORS = 320, /* listening sockets, pipes, rings, logs */
    SESSION_BYTES = 256,      /* two connection blocks */
    FLOW_BYTES = 65,          /* an entry and its tag */
    WORKER_RINGS = 2,         /* while a new worker takes over, the dead one's ring is still open */
    RING_BYTES = 1468006,     /* 1.4 MiB of locked memory */
    MIB = 1024 * 1024,
    NAMES_SHOWN = 100, /* bytes of a list of names that a message can hold */
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

/* Sessions of a worker have a place each in its completion queue. */
static void workers_check(const struct image *image, struct config_place place, struct config_report *report)
{
    uint64_t possible = (uint64_t)image->workers * IMAGE_WORKER_SESSIONS_MAX;

    if (image->sessions_limit > possible)
        config_report_add(report, place,
                          "limits.sessions: a worker serves at most %d sessions, %" PRIu32 " workers %" PRIu64
                          "; write at most that, or more workers",
                          IMAGE_WORKER_SESSIONS_MAX, image->workers, possible);
}

static void memory_check(const struct image *image, const struct config_positions *positions,
                         const struct machine_facts *facts, struct config_report *report)
{
    uint64_t flows_bytes = image_flows(image) * FLOW_BYTES;
    uint64_t sessions_bytes = image->sessions_limit * SESSION_BYTES + flows_bytes;
    uint64_t needed = sessions_bytes + image->buffer_bytes_limit;

    if (image->flows_limit > 0 && flows_bytes > facts->memory_bytes)
        config_report_add(report, positions->flows,
                          "limits.flows: %" PRIu64 " take %" PRIu64 " MiB, but there are %" PRIu64
                          " MiB of memory; write fewer",
                          image->flows_limit, mib_round_up(flows_bytes), facts->memory_bytes / MIB);
    else if (sessions_bytes > facts->memory_bytes)
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

static bool names_contain(const char *names, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = names; *at != '\0'; at += strspn(at, " \n")) {
        size_t word = strcspn(at, " \n");

        if (word == length && memcmp(at, name, length) == 0)
            return true;
        at += word;
    }
    return false;
}

/* Copies as many whole names as fit. Returns `text`. */
static const char *names_shorten(const char *names, char text[NAMES_SHOWN])
{
    size_t length = strcspn(names, "\n");

    if (length >= NAMES_SHOWN)
        for (length = NAMES_SHOWN - 5; length > 0 && names[length] != ' ';)
            length--;
    snprintf(text, NAMES_SHOWN, "%.*s%s", (int)length, names, strcspn(names, "\n") > length ? " ..." : "");
    return text;
}

/* One `congestion` of the file. `any`: who sets it may set all that are available. */
static void congestion_check(const char *name, const char *path, struct config_place place, bool any,
                             const struct machine_facts *facts, struct config_report *report)
{
    char names[NAMES_SHOWN];

    if (name[0] == '\0' || facts->congestion_available[0] == '\0')
        return;
    if (!names_contain(facts->congestion_available, name))
        config_report_add(report, place,
                          "%s: '%s' is not available; load its module (modprobe tcp_%s) or write one of: %s",
                          path, name, name, names_shorten(facts->congestion_available, names));
    else if (!any && !names_contain(facts->congestion_allowed, name))
        config_report_add(report, place,
                          "%s: '%s' is not allowed without CAP_NET_ADMIN, which %s; add it to "
                          "net.ipv4.tcp_allowed_congestion_control or write one of: %s",
                          path, name, facts->is_net_admin ? "workers do not have" : "is missing",
                          names_shorten(facts->congestion_allowed, names));
}

static void congestions_check(const struct image *image, const struct config_positions *positions,
                              const struct machine_facts *facts, struct config_report *report)
{
    bool worker_any = facts->is_net_admin && facts->is_root && image->user[0] == '\0'; /* stays root */
    char path[48];

    for (uint32_t i = 0; i < image->listener_count; i++) {
        snprintf(path, sizeof(path), "listeners[%" PRIu32 "].congestion", i);
        congestion_check(image_listener(image, i)->congestion, path, positions->listener_congestion[i],
                         facts->is_net_admin, facts, report);
    }
    for (uint32_t i = 0; i < image->pool_count; i++) {
        snprintf(path, sizeof(path), "pools[%" PRIu32 "].congestion", i);
        congestion_check(image_pool(image, i)->congestion, path, positions->pool_congestion[i], worker_any,
                         facts, report);
    }
}

/* The kernel would give less without a word. `list` and `index`: whose they are. */
static void socket_buffers_check(const struct image_socket_buffers *buffers,
                                 const struct config_buffer_places *places, const char *list, uint32_t index,
                                 const struct machine_facts *facts, struct config_report *report)
{
    const struct {
        const char *key, *sysctl;
        uint64_t bytes, most; /* most 0: not known */
        struct config_place place;
    } checks[] = {
        {"receive_buffer", "rmem_max", buffers->receive, facts->receive_buffer_bytes, places->receive},
        {"send_buffer", "wmem_max", buffers->send, facts->send_buffer_bytes, places->send},
    };

    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (checks[i].most > 0 && checks[i].bytes > checks[i].most)
            config_report_add(report, checks[i].place,
                              "%s[%" PRIu32 "].%s: the kernel gives a socket at most %" PRIu64
                              " bytes (net.core.%s); raise that or write at most %" PRIu64 "KiB",
                              list, index, checks[i].key, checks[i].most, checks[i].sysctl,
                              checks[i].most / 1024);
}

/* Ports of the host's range are the kernel's to give; others are bound, for which it asks who does. */
static void source_ports_check(const struct image *image, const struct config_positions *positions,
                               const struct machine_facts *facts, struct config_report *report)
{
    bool root = facts->is_root && image->user[0] == '\0'; /* workers stay root */

    for (uint32_t i = 0; i < image->pool_count && !root; i++) {
        const struct image_source *source = &image_pool(image, i)->source;

        if (source->port_low > 0 && source->port_low < facts->unprivileged_port_start &&
            (source->port_low < facts->port_low || source->port_low > facts->port_high))
            config_report_add(
                report, positions->pool_source_ports[i],
                "pools[%" PRIu32 "].source.ports: workers may not use ports below %" PRIu32
                " (net.ipv4.ip_unprivileged_port_start); write a range that begins there or later",
                i, facts->unprivileged_port_start);
    }
}

int config_check_machine(const struct image *image, const struct config_positions *positions,
                         const struct machine_facts *facts, struct config_report *report)
{
    static const struct config_positions nowhere;
    uint32_t before = report->count + report->more;

    if (!positions)
        positions = &nowhere;
    descriptors_check(image, positions->sessions, facts, report);
    workers_check(image, positions->sessions, report);
    memory_check(image, positions, facts, report);
    rings_check(image, positions->workers, facts, report);
    congestions_check(image, positions, facts, report);
    source_ports_check(image, positions, facts, report);
    for (uint32_t i = 0; i < image->listener_count; i++)
        socket_buffers_check(&image_listener(image, i)->buffers, &positions->listener_buffers[i], "listeners",
                             i, facts, report);
    for (uint32_t i = 0; i < image->pool_count; i++)
        socket_buffers_check(&image_pool(image, i)->buffers, &positions->pool_buffers[i], "pools", i, facts,
                             report);
    return report->count + report->more == before ? 0 : -1;
}
