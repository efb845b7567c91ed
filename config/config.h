/*
 * From a YAML file to the run-time configuration image (core/image.h).
 *
 * Used by the supervisor and the command line, never by a worker. Reads one file and makes no other system call. The
 * keys and their meaning: config/README.md.
 */
#ifndef PENSTOCK_CONFIG_CONFIG_H
#define PENSTOCK_CONFIG_CONFIG_H

#include "config/report.h"
#include "core/image.h"

struct config_options {
    uint32_t cpus; /* usable ones (sched_getaffinity): what "workers: auto" stands for; 0 counts as 1 */
};

/* Where `receive_buffer` and `send_buffer` of a listener or pool were written. */
struct config_buffer_places {
    struct config_place receive, send;
};

/* Where values stand that the machine may not be able to give; line 0 where the file leaves them to their default. */
struct config_positions {
    struct config_place sessions, flows, buffers, workers;
    struct config_place listener_congestion[IMAGE_LISTENERS_MAX], pool_congestion[IMAGE_POOLS_MAX];
    struct config_buffer_places listener_buffers[IMAGE_LISTENERS_MAX], pool_buffers[IMAGE_POOLS_MAX];
    struct config_place pool_source_ports[IMAGE_POOLS_MAX];
};

/* Reads the file at `path`. Returns 0 and an image from malloc, for the caller to free; or -1 with one mistake or more
 * in `report` and *image NULL. Initialises `report` in both cases. `positions` may be NULL. The image's
 * generation and all rows are 0: the supervisor sets them. Blocks as long as reading `path` does. */
int config_load(const char *path, const struct config_options *options, struct config_report *report,
                struct image **image, struct config_positions *positions);

/* The same for `size` bytes in memory; `name` stands for the file in the report. */
int config_parse_memory(const char *name, const char *bytes, size_t size,
                        const struct config_options *options, struct config_report *report,
                        struct image **image, struct config_positions *positions);

enum { CONFIG_CONGESTION_BYTES = 2048 }; /* names of all congestion controls: the kernel's own bound */

/* What the machine has; UINT64_MAX stands for "without limit". */
struct machine_facts {
    uint64_t nofile_limit;      /* RLIMIT_NOFILE, hard: descriptors of one process */
    uint64_t memlock_bytes;     /* RLIMIT_MEMLOCK, hard */
    uint64_t memory_bytes;      /* all of the machine's, or what the control group may use if that is less */
    uint64_t free_memory_bytes; /* available now; 0 leaves it out: what runs already has taken its part */
    uint64_t receive_buffer_bytes; /* net.core.rmem_max and wmem_max; 0: not known */
    uint64_t send_buffer_bytes;
    uint32_t cpus;
    uint16_t port_low, port_high;     /* net.ipv4.ip_local_port_range; 0, 0: not known */
    uint32_t unprivileged_port_start; /* net.ipv4.ip_unprivileged_port_start */
    bool is_root;                     /* with CAP_IPC_LOCK: locked memory is not limited */
    bool is_net_admin;                /* with CAP_NET_ADMIN: any available congestion control may be set */
    char congestion_available[CONFIG_CONGESTION_BYTES]; /* names with blanks between them; "": not known */
    char congestion_allowed[CONFIG_CONGESTION_BYTES];   /* to those without CAP_NET_ADMIN: workers */
};

/* Adds a mistake to `report` for each limit of `image` that the machine cannot give. Returns 0, or -1 if there is one.
 * The report is the one the image was loaded with, or an initialised one. `positions` may be NULL. */
int config_check_machine(const struct image *image, const struct config_positions *positions,
                         const struct machine_facts *facts, struct config_report *report);

#endif
