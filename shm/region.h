/*
 * The region: all shared memory of one Penstock instance.
 *
 * Three memfds: the head (header, configuration, names), the tables and the bank of buffers. The supervisor creates
 * them, and it alone can write the head: what processes with more rights read of it a worker cannot have forged.
 * Keepers and workers map the others for writing, everybody else reads. Their sizes are sealed. Everything is reached
 * by offset and index, so a process may map the region anywhere. Pages are taken when they are first written. Not in
 * core dumps.
 */
#ifndef PENSTOCK_SHM_REGION_H
#define PENSTOCK_SHM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image.h"
#include "core/time_wait_counter.h"

enum region_segment { SEGMENT_HEAD, SEGMENT_TABLES, SEGMENT_BANK, SEGMENT_COUNT };

enum region_table {
#define REGION_TABLE(name, segment, stride, what) TABLE_##name,
#include "shm/tables.def"
#undef REGION_TABLE
    TABLE_COUNT
};

#define REGION_MAGIC 0x314e4f4947455250ull /* "PREGION1" */

/* Changes whenever a struct in the region does. Tests build one with another. */
#ifndef PENSTOCK_LAYOUT_VERSION
#define PENSTOCK_LAYOUT_VERSION 9
#endif

enum {
    REGION_LAYOUT_VERSION = PENSTOCK_LAYOUT_VERSION,
    REGION_HEADER_BYTES = 4096,
    REGION_VERSION_MAX = 32,
    REGION_WHY_MAX = 160,
    REGION_PINS_MAX = 128,
    REGION_FLOW_MAPS = 2, /* tags, entries */
};

enum run_state {
    RUN_SERVE = 0,
    RUN_DRAIN = 1, /* accept nothing more, end when the last session has */
    RUN_STOP = 2,  /* end now */
    /* Somebody else accepts on the same sockets: let go of them now, end when the last session has. */
    RUN_HANDOVER = 3,
};

struct region_table_place {
    uint64_t offset; /* in its segment */
    uint64_t count;  /* rows reserved */
    uint32_t stride; /* bytes a row */
    uint32_t segment;
};

/* Who keeps TIME_WAIT. Written by the supervisor; what is counted, about once a second. */
struct region_time_wait {
    uint32_t owned;      /* by the flow table, else by the kernel */
    uint32_t two_msl_ms; /* of entries */
    uint32_t interfaces; /* that a responder is attached to */
    uint32_t reserved;
    uint64_t destroyed; /* of the kernel's own, after they had been published */
    struct time_wait_counters counters;
    char why[REGION_WHY_MAX];   /* the kernel keeps it */
    char pins[REGION_PINS_MAX]; /* the directory the table is pinned in; "": the region's own is used */
};

/*
 * Written by the supervisor, its end by operators' commands; read by all. What comes after `version` does not
 * change after creation, but for what follows `created_realtime_us`.
 *
 * What comes before `segment_bytes` stays where it is in every layout version to come: by these fields a supervisor of
 * another version finds the listening sockets and hands over. So do the values of enum run_state, FD_HEAD and FD_TABLES
 * (cmd/descriptors.h) and the names of the processes (cmd/kin.c).
 */
struct region_header {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t slot_count; /* reserved */
    uint32_t run_state;  /* enum run_state; atomic */
    uint32_t supervisor_pid;
    uint64_t run_state_since_ms;
    uint32_t upgrades; /* carried out since creation, and refused or failed */
    uint32_t upgrades_failed;
    uint32_t fd_wake; /* descriptors of keepers: the eventfd, and the first of `listener_places` */
    uint32_t fd_listeners;
    uint32_t listener_places;
    uint32_t
        flow_mark; /* of what its slots have in a flow table that elder regions still have, too; 8 bits */
    uint32_t reserved[2];
    char name[IMAGE_NAME_MAX];
    char version[REGION_VERSION_MAX]; /* of the supervisor that runs */

    uint64_t segment_bytes[SEGMENT_COUNT];
    struct region_table_place tables[TABLE_COUNT];
    uint32_t sessions_per_slot; /* capacity of a slot's slab */
    uint32_t large_per_slot;    /* buffers of each class in a slot's shard */
    uint32_t small_per_slot;
    uint32_t flow_groups;
    uint64_t flow_seed;
    uint64_t created_monotonic_us; /* the two clocks at creation: the log turns one into the other */
    uint64_t created_realtime_us;
    uint32_t image_current; /* 0 or 1; atomic, release paired with the workers' acquire */
    uint32_t reloads_failed;
    uint32_t accept_kick;    /* workers look into their accept queues once more when it changes */
    uint32_t slots_used;     /* slots ever used: 0..slots_used-1; atomic */
    uint64_t image_since_ms; /* when the current image was published */
    struct region_time_wait time_wait;

    /* Written by operators' commands: shm/order.h. */
    uint64_t kill_orders[IMAGE_WORKERS_MAX];   /* by slot */
    uint16_t server_orders[IMAGE_SERVERS_MAX]; /* by server row */
};

_Static_assert(offsetof(struct region_header, run_state) == 16 &&
                   offsetof(struct region_header, run_state_since_ms) == 24 &&
                   offsetof(struct region_header, upgrades) == 32 &&
                   offsetof(struct region_header, fd_wake) == 40 &&
                   offsetof(struct region_header, flow_mark) == 52 &&
                   offsetof(struct region_header, name) == 64 &&
                   offsetof(struct region_header, version) == 112 &&
                   offsetof(struct region_header, segment_bytes) == 144,
               "the same in every layout version");
_Static_assert(sizeof(struct region_header) <= REGION_HEADER_BYTES, "the header is one page");

/* One process's view. */
struct region {
    int fds[SEGMENT_COUNT];
    unsigned char *segments[SEGMENT_COUNT];
    struct region_header *header;
    /* BPF arrays in the place of FLOW_TAGS and FLOW_ENTRIES; NULL: none, and no descriptors. */
    unsigned char *flow_maps[REGION_FLOW_MAPS];
    int flow_fds[REGION_FLOW_MAPS];
};

struct region_shape {
    const char *name;
    uint32_t slots;
    uint32_t sessions_per_slot;
    uint64_t flows;      /* entries wanted, all slots together; rounded up to whole groups */
    uint64_t bank_bytes; /* all slots together */
    uint64_t monotonic_us, realtime_us, seed;
};

/* Creates the memfds and writes the header. 0 or -errno. */
int region_create(struct region *region, const struct region_shape *shape);

/* Gives up for good what only the supervisor may: this process's mapping and descriptor of the head become read-only,
 * in the same place and under the same number, and nothing can make them writable again. 0 or -errno. */
int region_confine(struct region *region);

/* The same for a process that only ever reads: the tables too, and the bank is unmapped. 0 or -errno. */
int region_confine_reader(struct region *region);

/* The layout version of this build. */
uint32_t region_layout_version(void);

/* Maps a region that exists from its memfds, the head read-only. 0, -errno, or -EPROTO where it is no region of this
 * layout version. With `writable` false the bank is not mapped. */
int region_attach(struct region *region, const int fds[SEGMENT_COUNT], bool writable);

/* The same for a supervisor that takes over: all of it for writing. */
int region_take_over(struct region *region, const int fds[SEGMENT_COUNT]);

/* Makes the head of an attached region writable, by a descriptor of it that is; for who has the supervisor's rights.
 * 0 or -errno. */
int region_write_head(const struct region *region, int head_fd);

/* Maps the header of a region of any layout version for writing; only what stays the same in all may be used.
 * 0, -errno, or -EPROTO where it is no region. */
int region_map_header(int head_fd, struct region_header **header);
void region_unmap_header(struct region_header *header);

/* Maps two BPF arrays, of the tags and of the entries, in the place of the region's own flow table; keeps the
 * descriptors. 0 or -errno. */
int region_use_flow_maps(struct region *region, const int fds[REGION_FLOW_MAPS], bool writable);

/* The region's own table again. */
void region_leave_flow_maps(struct region *region);

/* Unmaps; leaves the descriptors open. */
void region_detach(struct region *region);

/* Whether header and table places are sound. */
bool region_check(const struct region *region);

static inline void *region_row(const struct region *region, enum region_table table, uint64_t row)
{
    const struct region_table_place *place = &region->header->tables[table];
    return region->segments[place->segment] + place->offset + row * place->stride;
}

/* Slots that are or were in use: those others may have something to read in. */
static inline uint32_t region_slots_used(const struct region *region)
{
    return __atomic_load_n(&region->header->slots_used, __ATOMIC_ACQUIRE);
}

#endif
