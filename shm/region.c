#include "shm/region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/chain.h"
#include "shm/buffer_bank.h"
#include "shm/flow_table.h"
#include "shm/name_row.h"
#include "shm/worker_slot.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* linux/memfd.h, since Linux 6.3 */
#endif

enum { PAGE = 4096 };

static const uint32_t table_strides[TABLE_COUNT] = {
#define REGION_TABLE(name, segment, stride, what) [TABLE_##name] = (uint32_t)(stride),
#include "shm/tables.def"
#undef REGION_TABLE
};

static const uint32_t table_segments[TABLE_COUNT] = {
#define REGION_TABLE(name, segment, stride, what) [TABLE_##name] = SEGMENT_##segment,
#include "shm/tables.def"
#undef REGION_TABLE
};

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void count_rows(const struct region_header *header, uint64_t counts[TABLE_COUNT])
{
    uint64_t slots = header->slot_count;
    uint64_t buffers = header->large_per_slot + header->small_per_slot;
    uint64_t bank_per_slot = (uint64_t)header->large_per_slot * BUFFER_LARGE_STRIDE +
                             (uint64_t)header->small_per_slot * BUFFER_SMALL_BYTES;

    counts[TABLE_IMAGES] = 2;
    counts[TABLE_NAMES] =
        name_rows_max(NAME_LISTENER) + name_rows_max(NAME_POOL) + name_rows_max(NAME_SERVER);
    counts[TABLE_SLOTS] = slots;
    counts[TABLE_SERVER_COUNTERS] = slots * IMAGE_SERVERS_MAX;
    counts[TABLE_ADOPTION_TIMES] = slots;
    counts[TABLE_CONNECT_TIMES] = slots * IMAGE_SERVERS_MAX;
    counts[TABLE_LISTENER_COUNTERS] = slots * IMAGE_LISTENERS_MAX;
    counts[TABLE_LOG_RECORDS] = slots * LOG_RING_RECORDS;
    counts[TABLE_FLOW_SWEEP] = 1;
    counts[TABLE_FLOW_TAGS] = header->flow_groups;
    counts[TABLE_FLOW_ENTRIES] = header->flow_groups;
    counts[TABLE_SESSIONS] = slots * header->sessions_per_slot;
    counts[TABLE_BUFFER_RECORDS] = slots * buffers;
    counts[TABLE_BANK] = slots * round_up(bank_per_slot, PAGE) / PAGE;
}

static void place_tables(struct region_header *header)
{
    uint64_t counts[TABLE_COUNT];
    uint64_t ends[SEGMENT_COUNT] = {[SEGMENT_HEAD] = REGION_HEADER_BYTES};

    count_rows(header, counts);
    for (int i = 0; i < TABLE_COUNT; i++) {
        uint64_t *end = &ends[table_segments[i]];
        header->tables[i] = (struct region_table_place){
            .offset = *end,
            .count = counts[i],
            .stride = table_strides[i],
            .segment = table_segments[i],
        };
        *end = round_up(*end + counts[i] * table_strides[i], PAGE);
    }
    memcpy(header->segment_bytes, ends, sizeof(ends));
}

/* Nobody may cut a segment short under those who read it, nor open it again with more rights through /proc. */
static int make_segment(const char *name, uint64_t bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL) { /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)bytes) != 0 || fchmod(fd, S_IRUSR | S_IWUSR) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int map_segment(struct region *region, int segment, uint64_t bytes, bool writable)
{
    void *address = mmap(NULL, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_NORESERVE,
                         region->fds[segment], 0);
    if (address == MAP_FAILED) {
        return -errno;
    }
    region->segments[segment] = address;
    /* A core dump of gigabytes would delay the next incarnation; failing only costs that. */
    (void)madvise(address, bytes, MADV_DONTDUMP);
    return 0;
}

int region_create(struct region *region, const struct region_shape *shape)
{
    struct region_header header = {
        .magic = REGION_MAGIC,
        .layout_version = REGION_LAYOUT_VERSION,
        .slot_count = shape->slots,
        .sessions_per_slot = shape->sessions_per_slot,
        .flow_groups = (uint32_t)((shape->flows + FLOW_GROUP - 1) / FLOW_GROUP),
        .flow_seed = shape->seed,
        .created_monotonic_us = shape->monotonic_us,
        .created_realtime_us = shape->realtime_us,
    };
    static const char *const names[SEGMENT_COUNT] = {"penstock-head", "penstock-tables", "penstock-bank"};
    int result = 0;

    strncpy(header.name, shape->name, sizeof(header.name) - 1);
    buffer_bank_divide(shape->bank_bytes / shape->slots, &header.large_per_slot, &header.small_per_slot);
    place_tables(&header);
    *region = (struct region){.fds = {-1, -1, -1}};
    for (int i = 0; i < SEGMENT_COUNT && result == 0; i++) {
        result = region->fds[i] = make_segment(names[i], header.segment_bytes[i]);
        if (result >= 0) {
            result = map_segment(region, i, header.segment_bytes[i], true);
        }
    }
    if (result < 0) {
        region_detach(region);
        for (int i = 0; i < SEGMENT_COUNT; i++) {
            if (region->fds[i] >= 0) {
                close(region->fds[i]);
            }
        }
        return result;
    }
    region->header = (struct region_header *)region->segments[SEGMENT_HEAD];
    *region->header = header;
    for (uint32_t i = 0; i < header.slot_count; i++) {
        struct worker_slot *slot = region_slot(region, i);
        slot->flow_claim = FLOW_NONE;
        slot->handling = SESSION_NONE;
        memset(slot->ring_buffers, 0xff, sizeof(slot->ring_buffers)); /* BUFFER_NONE */
    }
    return 0;
}

static uint64_t flow_map_bytes(const struct region *region, int map)
{
    static const enum region_table tables[REGION_FLOW_MAPS] = {TABLE_FLOW_TAGS, TABLE_FLOW_ENTRIES};
    const struct region_table_place *place = &region->header->tables[tables[map]];

    return round_up(place->count * place->stride, PAGE);
}

/* The kernel refuses to map more than there is. */
static int map_flows(struct region *region, int map, bool writable)
{
    unsigned char *old = region->flow_maps[map];
    void *address = mmap(old, flow_map_bytes(region, map), PROT_READ | (writable ? PROT_WRITE : 0),
                         MAP_SHARED | (old != NULL ? MAP_FIXED : 0), region->flow_fds[map], 0);

    if (address == MAP_FAILED) {
        return -errno;
    }
    region->flow_maps[map] = address;
    return 0;
}

void region_leave_flow_maps(struct region *region)
{
    for (int i = 0; i < REGION_FLOW_MAPS; i++) {
        if (region->flow_maps[i] != NULL) {
            (void)munmap(region->flow_maps[i], flow_map_bytes(region, i));
            region->flow_maps[i] = NULL;
        }
    }
}

int region_use_flow_maps(struct region *region, const int fds[REGION_FLOW_MAPS], bool writable)
{
    int result = 0;

    memcpy(region->flow_fds, fds, sizeof(region->flow_fds));
    for (int i = 0; i < REGION_FLOW_MAPS && result == 0; i++) {
        result = map_flows(region, i, writable);
    }
    if (result < 0) {
        region_leave_flow_maps(region);
    }
    return result;
}

/* A descriptor opened for reading takes the segment's number, a mapping of it the segment's place. 0 or -errno. */
static int confine_segment(struct region *region, enum region_segment segment)
{
    int fd = region->fds[segment];
    uint64_t bytes = region->header->segment_bytes[segment];
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    if (reader < 0) {
        return -errno;
    }
    void *address = mmap(region->segments[segment], bytes, PROT_READ, MAP_SHARED | MAP_FIXED, reader, 0);
    int result = address != MAP_FAILED && dup3(reader, fd, O_CLOEXEC) == fd ? 0 : -errno;
    close(reader);
    if (result == 0) {
        (void)madvise(address, bytes, MADV_DONTDUMP);
    }
    return result;
}

int region_confine(struct region *region)
{
    return confine_segment(region, SEGMENT_HEAD);
}

int region_confine_reader(struct region *region)
{
    int result = confine_segment(region, SEGMENT_HEAD);

    if (result == 0) {
        result = confine_segment(region, SEGMENT_TABLES);
    }
    for (int i = 0; i < REGION_FLOW_MAPS && result == 0 && region->flow_maps[i] != NULL; i++) {
        result = map_flows(region, i, false);
        close(region->flow_fds[i]);
    }
    if (result == 0 && region->segments[SEGMENT_BANK] != NULL) {
        munmap(region->segments[SEGMENT_BANK], region->header->segment_bytes[SEGMENT_BANK]);
        region->segments[SEGMENT_BANK] = NULL;
        close(region->fds[SEGMENT_BANK]);
        region->fds[SEGMENT_BANK] = -1;
    }
    return result;
}

/* Maps the first `segments`; for writing those from `writable` on. */
static int attach(struct region *region, const int fds[SEGMENT_COUNT], int segments, int writable)
{
    struct region_header header;

    *region = (struct region){0};
    memcpy(region->fds, fds, sizeof(region->fds));
    ssize_t got = pread(fds[SEGMENT_HEAD], &header, sizeof(header), 0);
    if (got != (ssize_t)sizeof(header)) {
        return got < 0 ? -errno : -EPROTO;
    }
    if (header.magic != REGION_MAGIC || header.layout_version != REGION_LAYOUT_VERSION) {
        return -EPROTO;
    }
    for (int i = 0; i < segments; i++) {
        struct stat stat;
        if (fstat(fds[i], &stat) != 0 || (uint64_t)stat.st_size < header.segment_bytes[i]) {
            region_detach(region);
            return -EPROTO;
        }
        int result = map_segment(region, i, header.segment_bytes[i], i >= writable);
        if (result < 0) {
            region_detach(region);
            return result;
        }
    }
    region->header = (struct region_header *)region->segments[SEGMENT_HEAD];
    if (!region_check(region)) {
        region_detach(region);
        return -EPROTO;
    }
    return 0;
}

int region_attach(struct region *region, const int fds[SEGMENT_COUNT], bool writable)
{
    return writable ? attach(region, fds, SEGMENT_COUNT, SEGMENT_TABLES)
                    : attach(region, fds, SEGMENT_BANK, SEGMENT_COUNT);
}

int region_take_over(struct region *region, const int fds[SEGMENT_COUNT])
{
    return attach(region, fds, SEGMENT_COUNT, SEGMENT_HEAD);
}

int region_write_head(const struct region *region, int head_fd)
{
    void *head = region->segments[SEGMENT_HEAD];

    return mmap(head, region->header->segment_bytes[SEGMENT_HEAD], PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED, head_fd, 0) == MAP_FAILED
               ? -errno
               : 0;
}

uint32_t region_layout_version(void)
{
    return REGION_LAYOUT_VERSION;
}

int region_map_header(int head_fd, struct region_header **header)
{
    struct stat stat;

    if (fstat(head_fd, &stat) != 0 || stat.st_size < REGION_HEADER_BYTES) {
        return -EPROTO;
    }
    void *address = mmap(NULL, REGION_HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, head_fd, 0);
    if (address == MAP_FAILED) {
        return -errno;
    }
    *header = address;
    if ((*header)->magic != REGION_MAGIC || (*header)->slot_count > IMAGE_WORKERS_MAX) {
        region_unmap_header(*header);
        return -EPROTO;
    }
    return 0;
}

void region_unmap_header(struct region_header *header)
{
    (void)munmap(header, REGION_HEADER_BYTES);
}

void region_detach(struct region *region)
{
    const struct region_header *header = region->header;
    uint64_t bytes[SEGMENT_COUNT] = {0};

    if (header != NULL) {
        region_leave_flow_maps(region);
        memcpy(bytes, header->segment_bytes, sizeof(bytes));
    }
    for (int i = 0; i < SEGMENT_COUNT; i++) {
        struct stat stat;
        if (region->segments[i] == NULL) {
            continue;
        }
        if (bytes[i] == 0 && fstat(region->fds[i], &stat) == 0) {
            bytes[i] = (uint64_t)stat.st_size;
        }
        munmap(region->segments[i], bytes[i]);
        region->segments[i] = NULL;
    }
    region->header = NULL;
}

bool region_check(const struct region *region)
{
    const struct region_header *header = region->header;

    if (header->magic != REGION_MAGIC || header->layout_version != REGION_LAYOUT_VERSION ||
        header->slot_count == 0 || header->slot_count > IMAGE_WORKERS_MAX ||
        header->slots_used > header->slot_count || header->run_state > RUN_HANDOVER ||
        header->image_current > 1) {
        return false;
    }
    /* The places follow from the counts before them. */
    struct region_header expected = *header;
    place_tables(&expected);
    return memcmp(expected.tables, header->tables, sizeof(expected.tables)) == 0 &&
           memcmp(expected.segment_bytes, header->segment_bytes, sizeof(expected.segment_bytes)) == 0;
}
