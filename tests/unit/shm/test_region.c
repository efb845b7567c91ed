/* The region: what creation lays out and leaves untouched, who may map it how, what is refused. */
#include "shm/region.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/flow_table.h"
#include "shm/worker_slot.h"
#include "tests/unit/shm/region_make.h"

TestSuite(region);

Test(region, create_writes_the_header)
{
    struct region region = region_make();
    const struct region_header *header = region.header;

    cr_expect(region_check(&region));
    cr_expect_eq(header->magic, REGION_MAGIC);
    cr_expect_eq(header->layout_version, REGION_LAYOUT_VERSION);
    cr_expect_eq(header->slot_count, MAKE_SLOTS);
    cr_expect_str_eq(header->name, "test");
    cr_expect_eq(header->sessions_per_slot, MAKE_SESSIONS);
    cr_expect_eq(header->flow_groups, 64);
    cr_expect_eq(header->flow_seed, 33);
    cr_expect_eq(header->created_monotonic_us, 11);
    cr_expect_eq(header->created_realtime_us, 22);
    cr_expect_eq(header->run_state, RUN_SERVE);
    cr_expect_eq(header->tables[TABLE_SESSIONS].count, MAKE_SLOTS * MAKE_SESSIONS);
    for (uint32_t i = 0; i < MAKE_SLOTS; i++) {
        const struct worker_slot *slot = region_slot(&region, i);
        cr_expect_eq(slot->flow_claim, FLOW_NONE);
        cr_expect_eq(slot->ring_buffers[0][0], BUFFER_NONE);
        cr_expect_eq(slot->ring_buffers[SLOT_CLASSES - 1][SLOT_RING_BUFFERS - 1], BUFFER_NONE);
        cr_expect_eq((uintptr_t)slot % 64, 0);
    }
}

Test(region, tables_follow_each_other_on_pages_without_overlap)
{
    struct region region = region_make();
    uint64_t ends[SEGMENT_COUNT] = {[SEGMENT_HEAD] = REGION_HEADER_BYTES};

    for (int i = 0; i < TABLE_COUNT; i++) {
        const struct region_table_place *place = &region.header->tables[i];
        cr_expect_eq(place->offset % 4096, 0, "table %d", i);
        cr_expect_geq(place->offset, ends[place->segment], "table %d", i);
        cr_expect_gt(place->count, 0, "table %d", i);
        ends[place->segment] = place->offset + place->count * place->stride;
    }
    for (int i = 0; i < SEGMENT_COUNT; i++) {
        struct stat stat;
        cr_assert_eq(fstat(region.fds[i], &stat), 0);
        cr_expect_eq((uint64_t)stat.st_size, region.header->segment_bytes[i]);
        cr_expect_leq(ends[i], region.header->segment_bytes[i]);
    }
}

Test(region, flows_are_rounded_up_to_groups_and_small_buffers_take_a_quarter)
{
    struct region_shape shape = region_shape_small();
    struct region region;

    shape.flows = 65;
    shape.slots = 1;
    shape.bank_bytes = 1024 * 1024;
    cr_assert_eq(region_create(&region, &shape), 0);
    cr_expect_eq(region.header->flow_groups, 2);
    cr_expect_eq(region.header->small_per_slot, 128);
    cr_expect_eq(region.header->large_per_slot, 47);
    cr_expect_eq(region.header->tables[TABLE_BUFFER_RECORDS].count, 175);
}

Test(region, a_name_too_long_is_cut)
{
    struct region_shape shape = region_shape_small();
    struct region region;
    char name[100];

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    shape.name = name;
    cr_assert_eq(region_create(&region, &shape), 0);
    cr_expect_eq(strlen(region.header->name), IMAGE_NAME_MAX - 1);
}

static uint64_t memory_of(int fd)
{
    struct stat stat;

    cr_assert_eq(fstat(fd, &stat), 0);
    return (uint64_t)stat.st_blocks * 512;
}

/* A million sessions and 4 GiB of buffers cost nothing until they are used. */
Test(region, creation_leaves_the_memory_untouched)
{
    struct region_shape shape = region_shape_small();
    struct region region;
    unsigned char resident[4096] = {0};
    size_t pages = 0;

    shape.slots = 4;
    shape.sessions_per_slot = 250000;
    shape.flows = 4000000;
    shape.bank_bytes = 4ull << 30;
    cr_assert_eq(region_create(&region, &shape), 0);
    cr_expect_gt(region.header->segment_bytes[SEGMENT_TABLES], 400ull << 20);
    cr_expect_leq(memory_of(region.fds[SEGMENT_TABLES]), 4096 * 2 * 4);
    cr_expect_leq(memory_of(region.fds[SEGMENT_HEAD]), 4096);
    cr_expect_eq(memory_of(region.fds[SEGMENT_BANK]), 0);
    const struct region_table_place *sessions = &region.header->tables[TABLE_SESSIONS];
    cr_assert_eq(
        mincore(region.segments[SEGMENT_TABLES] + sessions->offset, sizeof(resident) * 4096, resident), 0);
    for (size_t i = 0; i < sizeof(resident); i++) {
        pages += resident[i] & 1;
    }
    cr_expect_eq(pages, 0);
}

/* How many mappings of /proc/self/smaps hold `text` in their first line, and of these how many are left out of core
 * dumps. */
static int mappings(const char *text, int *dont_dump)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    bool ours = false;
    int count = 0;

    cr_assert_not_null(file);
    *dont_dump = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strstr(line, "/memfd:") != NULL) {
            ours = strstr(line, text) != NULL;
            count += ours;
        } else if (ours && strncmp(line, "VmFlags:", 8) == 0) {
            *dont_dump += strstr(line, " dd") != NULL;
            ours = false;
        }
    }
    fclose(file);
    return count;
}

Test(region, is_left_out_of_core_dumps)
{
    struct region region = region_make();
    int dont_dump;

    cr_expect_eq(mappings("penstock-", &dont_dump), SEGMENT_COUNT);
    cr_expect_eq(dont_dump, SEGMENT_COUNT);
    region_detach(&region);
    cr_expect_eq(mappings("penstock-", &dont_dump), 0);
}

Test(region, attached_for_writing_it_is_the_same_memory)
{
    struct region one = region_make();
    struct region two;

    cr_assert_eq(region_attach(&two, one.fds, true), 0);
    cr_expect_neq(one.header, two.header);
    region_slot(&one, 2)->pid = 4711;
    cr_expect_eq(region_slot(&two, 2)->pid, 4711);
    *(uint32_t *)region_row(&two, TABLE_BANK, 5) = 99;
    cr_expect_eq(*(uint32_t *)region_row(&one, TABLE_BANK, 5), 99);
    region_detach(&two);
    cr_expect_null(two.header);
    cr_expect(region_check(&one));
}

Test(region, attached_for_reading_it_comes_without_the_bank)
{
    struct region one = region_make();
    struct region two;

    cr_assert_eq(region_attach(&two, one.fds, false), 0);
    cr_expect_null(two.segments[SEGMENT_BANK]);
    region_slot(&one, 1)->deaths = 3;
    cr_expect_eq(region_slot(&two, 1)->deaths, 3);
}

Test(region, attached_for_reading_it_cannot_be_written)
{
    struct region one = region_make();
    struct region two;
    int ends[2];

    cr_assert_eq(region_attach(&two, one.fds, false), 0);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_expect_eq(read(ends[0], region_slot(&two, 0), 1), -1); /* the kernel's store faults without a signal */
    cr_expect_eq(errno, EFAULT);
}

Test(region, attached_for_reading_its_head_can_be_made_writable)
{
    struct region one = region_make();
    struct region two;
    int ends[2];

    cr_assert_eq(region_attach(&two, one.fds, false), 0);
    cr_assert_eq(region_write_head(&two, one.fds[SEGMENT_HEAD]), 0);
    two.header->server_orders[1] = 3;
    cr_expect_eq(one.header->server_orders[1], 3);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_expect_eq(read(ends[0], region_slot(&two, 0), 1), -1, "the tables are not");
    cr_expect_eq(region_write_head(&two, -1), -EBADF);
    region_detach(&two);
}

Test(region, taken_over_all_of_it_can_be_written)
{
    struct region one = region_make();
    struct region two;

    cr_assert_eq(region_take_over(&two, one.fds), 0);
    two.header->supervisor_pid = 4712;
    cr_expect_eq(one.header->supervisor_pid, 4712);
    region_slot(&two, 2)->pid = 4711;
    cr_expect_eq(region_slot(&one, 2)->pid, 4711);
    *(uint32_t *)region_row(&two, TABLE_BANK, 5) = 99;
    cr_expect_eq(*(uint32_t *)region_row(&one, TABLE_BANK, 5), 99);
}

#define REFUSED(damage)                                                                   \
    do {                                                                                  \
        struct region region = region_make();                                             \
        struct region_header *header = region.header;                                     \
        struct region other;                                                              \
        int before, after, unused;                                                        \
        damage;                                                                           \
        before = mappings("penstock-", &unused);                                          \
        cr_expect_not(region_check(&region), #damage);                                    \
        cr_expect_eq(region_attach(&other, region.fds, true), -EPROTO, #damage);          \
        after = mappings("penstock-", &unused);                                           \
        cr_expect_eq(after, before, #damage ": left %d mappings behind", after - before); \
    } while (0)

Test(region, damaged_header_is_refused)
{
    REFUSED(header->magic ^= 1);
    REFUSED(header->layout_version++);
    REFUSED(header->slot_count = 0);
    REFUSED(header->slot_count = IMAGE_WORKERS_MAX + 1);
    REFUSED(header->slot_count++);
    REFUSED(header->run_state = RUN_HANDOVER + 1);
    REFUSED(header->image_current = 2);
    REFUSED(header->sessions_per_slot++);
    REFUSED(header->large_per_slot++);
    REFUSED(header->small_per_slot = UINT32_MAX);
    REFUSED(header->flow_groups++);
}

Test(region, damaged_places_are_refused)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        REFUSED(header->tables[i].stride++);
        REFUSED(header->tables[i].segment ^= 1);
        REFUSED(header->tables[i].segment = 77);
        REFUSED(header->tables[i].offset += header->segment_bytes[header->tables[i].segment]);
        REFUSED(header->tables[i].offset = UINT64_MAX - 4096);
        REFUSED(header->tables[i].count += header->segment_bytes[header->tables[i].segment]);
        REFUSED(header->tables[i].count = UINT64_MAX / header->tables[i].stride + 2); /* wraps */
    }
}

Test(region, what_is_no_region_is_refused)
{
    struct region region = region_make();
    struct region other;
    int none = memfd_create("none", 0);

    int head = region.fds[SEGMENT_HEAD];
    int tables = region.fds[SEGMENT_TABLES];

    cr_expect_eq(region_attach(&other, (int[]){none, none, none}, true), -EPROTO);
    cr_expect_eq(region_attach(&other, (int[]){-1, -1, -1}, true), -EBADF);
    cr_expect_eq(region_attach(&other, (int[]){head, none, none}, false), -EPROTO, "no tables");
    cr_expect_eq(region_attach(&other, (int[]){head, tables, none}, true), -EPROTO, "no bank");
    cr_expect_eq(region_attach(&other, (int[]){head, tables, none}, false), 0, "readers need none");
}

Test(region, its_size_is_sealed)
{
    struct region region = region_make();

    for (int i = 0; i < SEGMENT_COUNT; i++) {
        cr_expect_eq(ftruncate(region.fds[i], 4096), -1);
        cr_expect_eq(errno, EPERM);
    }
}

/* Whatever its layout version: what is the same in all can be read and written. */
Test(region, header_of_another_version_is_mapped)
{
    struct region region = region_make();
    struct region_header *header;

    region.header->layout_version++;
    cr_assert_eq(region_map_header(region.fds[SEGMENT_HEAD], &header), 0);
    header->run_state = RUN_HANDOVER;
    cr_expect_eq(region.header->run_state, RUN_HANDOVER);
    region_unmap_header(header);
    region.header->magic++;
    cr_expect_eq(region_map_header(region.fds[SEGMENT_HEAD], &header), -EPROTO);
    cr_expect_eq(region_map_header(memfd_create("none", 0), &header), -EPROTO);
}

/* A process that confined itself, and whatever has its memory and descriptors, cannot write the head again. */
Test(region, confined_the_head_can_only_be_read)
{
    struct region region = region_make();
    struct region other;
    int head = region.fds[SEGMENT_HEAD];
    uint64_t bytes = region.header->segment_bytes[SEGMENT_HEAD];
    const void *before = region.header;
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "xy", 2), 2);
    cr_expect_eq(read(ends[0], region.header->name, 1), 1);
    cr_assert_eq(region_confine(&region), 0);
    cr_expect_eq(region.header, before);
    cr_expect_eq(read(ends[0], region.header->name, 1), -1);
    cr_expect_eq(errno, EFAULT);
    cr_expect_neq(mprotect(region.header, bytes, PROT_READ | PROT_WRITE), 0);
    cr_expect_eq(mmap(NULL, bytes, PROT_WRITE, MAP_SHARED, head, 0), MAP_FAILED);
    cr_expect_eq(pwrite(head, "x", 1, 64), -1);
    region_slot(&region, 0)->deaths = 5;
    cr_assert_eq(region_attach(&other, region.fds, true), 0, "it still leads to all of it");
    cr_expect_eq(region_slot(&other, 0)->deaths, 5);
}

Test(region, a_confined_reader_can_change_nothing)
{
    struct region region = region_make();
    struct region whole = region;
    int tables = region.fds[SEGMENT_TABLES];
    int bank = region.fds[SEGMENT_BANK];
    uint64_t bytes = region.header->segment_bytes[SEGMENT_TABLES];
    int ends[2];

    region_slot(&region, 1)->deaths = 5;
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "xy", 2), 2);
    cr_assert_eq(region_confine_reader(&region), 0);
    cr_expect_eq(region_slot(&region, 1)->deaths, 5);
    cr_expect_eq(read(ends[0], region.header->name, 1), -1);
    cr_expect_eq(read(ends[0], region_slot(&region, 1), 1), -1);
    cr_expect_eq(errno, EFAULT);
    cr_expect_neq(mprotect(region.segments[SEGMENT_TABLES], bytes, PROT_READ | PROT_WRITE), 0);
    cr_expect_eq(pwrite(tables, "x", 1, 64), -1);
    cr_expect_eq(fcntl(bank, F_GETFD), -1);
    cr_expect_null(region.segments[SEGMENT_BANK]);
    cr_expect_eq(read(ends[0], whole.segments[SEGMENT_BANK], 1), -1, "it is mapped no more");
}

/* --- A flow table that is somebody else's --- */

static int make_map(uint64_t bytes)
{
    int fd = memfd_create("map", MFD_CLOEXEC);

    cr_assert(fd >= 0);
    cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    return fd;
}

static void make_maps(int maps[REGION_FLOW_MAPS])
{
    maps[0] = make_map(MAKE_FLOWS);
    maps[1] = make_map((uint64_t)MAKE_FLOWS * sizeof(struct flow_entry));
}

static const struct flow_key some_key = {.local_port = 80, .remote_port = 1234};

Test(region, flow_maps_take_the_place_of_its_own_table)
{
    struct region region = region_make();
    struct flow_table table;
    uint32_t intent = FLOW_NONE;
    uint8_t tag = 0;
    int maps[REGION_FLOW_MAPS];

    make_maps(maps);
    cr_assert_eq(region_use_flow_maps(&region, maps, true), 0);
    flow_table_open(&table, &region);
    uint32_t index = flow_table_claim(&table, &some_key, 1, 7, 0, &intent);
    cr_assert_neq(index, FLOW_NONE);
    cr_expect_eq(pread(maps[0], &tag, 1, index), 1);
    cr_expect_neq(tag, 0, "it is in the map");
    region_leave_flow_maps(&region);
    flow_table_open(&table, &region);
    cr_expect_eq(flow_table_find(&table, &some_key), FLOW_NONE);
    cr_assert_eq(region_use_flow_maps(&region, maps, true), 0);
    flow_table_open(&table, &region);
    cr_expect_eq(flow_table_find(&table, &some_key), index);
    region_detach(&region);
    cr_expect_eq(fcntl(maps[0], F_GETFD), FD_CLOEXEC, "descriptors stay");
}

Test(region, flow_maps_of_a_reader_can_only_be_read)
{
    struct region region = region_make();
    int maps[REGION_FLOW_MAPS];
    int ends[2];

    make_maps(maps);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "xy", 2), 2);
    cr_assert_eq(region_use_flow_maps(&region, maps, true), 0);
    cr_expect_eq(read(ends[0], region.flow_maps[0], 1), 1);
    cr_assert_eq(region_confine_reader(&region), 0);
    cr_expect_eq(region.flow_maps[0][0], 'x');
    cr_expect_eq(read(ends[0], region.flow_maps[0], 1), -1);
    cr_expect_eq(fcntl(maps[0], F_GETFD), -1);
    region_leave_flow_maps(&region);
    make_maps(maps);
    cr_assert_eq(region_use_flow_maps(&region, maps, false), 0);
    cr_expect_eq(read(ends[0], region.flow_maps[1], 1), -1);
}

Test(region, flow_maps_that_cannot_be_mapped_leave_its_own_table)
{
    struct region region = region_make();
    struct flow_table table;
    int maps[REGION_FLOW_MAPS];

    make_maps(maps);
    close(maps[1]);
    cr_expect_eq(region_use_flow_maps(&region, maps, true), -EBADF);
    flow_table_open(&table, &region);
    cr_expect_eq((void *)table.tags, region_row(&region, TABLE_FLOW_TAGS, 0));
    cr_expect_eq((void *)table.entries, region_row(&region, TABLE_FLOW_ENTRIES, 0));
}
