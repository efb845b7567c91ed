#include "tests/e2e/harness_owned.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/session.h"
#include "io/interface.h"
#include "io/sock.h"
#include "tests/e2e/harness.h"

struct owned owned = {.native = {-1, -1}};

struct time_wait_shape owned_shape(void)
{
    return (struct time_wait_shape){
        .groups = 64, .seed = 42, .two_msl_ms = 60000, .ack_limit_ms = 0, .sole_owner = true};
}

static void *map_array(int fd, size_t bytes)
{
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    cr_assert_neq(address, MAP_FAILED);
    return address;
}

void owned_load(const struct time_wait_shape *shape)
{
    size_t slots = (size_t)shape->groups * FLOW_GROUP;
    char why[TIME_WAIT_WHY_MAX];
    int maps[REGION_FLOW_MAPS];

    owned.shape = *shape;
    owned.time_wait = time_wait_create(shape, why);
    if (owned.time_wait == NULL) {
        cr_skip("%s", why);
    }
    time_wait_maps(owned.time_wait, maps);
    owned.table = (struct flow_table){
        .tags = map_array(maps[0], slots),
        .entries = map_array(maps[1], slots * sizeof(struct flow_entry)),
        .groups = shape->groups,
        .sweep = &owned.sweep,
        .two_msl_ms = shape->two_msl_ms,
        .seed = shape->seed,
        .owned = true,
    };
    owned.sweep = (struct flow_sweep){0};
}

static void read_pinned(const char *pins, const char *name, void *values)
{
    uint32_t key = 0;
    int map = bpf_obj_get(bed_format("%s/%s", pins, name));

    cr_assert(map >= 0, "%s/%s: %s", pins, name, strerror(-map));
    cr_assert_eq(bpf_map_lookup_elem(map, &key, values), 0);
    close(map);
}

void owned_open(const char *pins)
{
    struct {
        uint32_t version;
        uint32_t groups;
        uint64_t seed;
    } shape;
    int maps[REGION_FLOW_MAPS];

    read_pinned(pins, "shape", &shape);
    cr_assert_eq(time_wait_open_maps(pins, maps), 0);
    owned.pins = pins;
    owned.table = (struct flow_table){
        .tags = map_array(maps[0], (size_t)shape.groups * FLOW_GROUP),
        .entries = map_array(maps[1], (size_t)shape.groups * FLOW_GROUP * sizeof(struct flow_entry)),
        .groups = shape.groups,
        .seed = shape.seed,
    };
    close(maps[0]);
    close(maps[1]);
}

void owned_close(void)
{
    size_t slots = (size_t)owned.table.groups * FLOW_GROUP;

    munmap(owned.table.tags, slots);
    munmap(owned.table.entries, slots * sizeof(struct flow_entry));
    owned = (struct owned){.native = {-1, -1}};
}

void owned_answer(const char *interface)
{
    int index = interface_find(interface);

    cr_assert_geq(index, 0);
    cr_assert_eq(time_wait_answer(owned.time_wait, &index, 1), 0);
}

static int pass_all(const char *interface)
{
    const struct bpf_insn pass[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, as_the_responder, .expected_attach_type = BPF_XDP);
    int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, 2, &as_the_responder);
    int link =
        program < 0 ? program : time_wait_attach_to(TIME_WAIT_XDP, program, (int)if_nametoindex(interface));

    if (link == -EPERM) {
        cr_skip("needs the right to attach programs");
    }
    cr_assert_geq(link, 0, "%s: %s", interface, strerror(-link));
    close(program);
    return link;
}

void owned_go_native(void)
{
    owned.native[0] = pass_all(LAB_INTERFACE);
    lab_enter_peer();
    owned.native[1] = pass_all("peer0");
    lab_enter_server();
}

void owned_begin(const struct time_wait_shape *shape)
{
    owned_load(shape);
    cr_assert_eq(time_wait_publish(owned.time_wait, lab_cgroup()), 0);
    if (owned.native[0] >= 0) {
        int program = time_wait_native_responder(owned.time_wait);
        cr_assert_eq(bpf_link_update(owned.native[0], program, NULL), 0);
    } else {
        owned_answer(LAB_INTERFACE);
    }
    if (shape->sole_owner) {
        lab_sysctl("net/ipv4/tcp_max_tw_buckets", 0);
    }
    lab_enter_cgroup(true);
}

void owned_end(void)
{
    lab_enter_cgroup(false);
    for (int i = 0; i < 2; i++) {
        if (owned.native[i] >= 0) {
            close(owned.native[i]);
            owned.native[i] = -1;
        }
    }
    time_wait_destroy(owned.time_wait);
    owned.time_wait = NULL;
}

struct flow_key owned_key(const struct lab_peer *peer)
{
    struct flow_key key = {
        .local_port = peer->server_port,
        .remote_port = peer->port,
        .remote[10] = 0xff,
        .remote[11] = 0xff,
        .local[10] = 0xff,
        .local[11] = 0xff,
    };

    if (peer->ipv6) {
        inet_pton(AF_INET6, lab_address_of(peer), key.remote);
        inet_pton(AF_INET6, lab_server_of(peer), key.local);
    } else {
        inet_pton(AF_INET, lab_address_of(peer), key.remote + 12);
        inet_pton(AF_INET, lab_server_of(peer), key.local + 12);
    }
    return key;
}

struct flow_entry owned_entry(const struct lab_peer *peer)
{
    struct flow_key key = owned_key(peer);
    uint32_t index = flow_table_find(&owned.table, &key);

    return index != FLOW_NONE ? owned.table.entries[index] : (struct flow_entry){.state = FLOW_FREE};
}

uint32_t owned_claim(const struct flow_key *key)
{
    uint32_t intent = FLOW_NONE;
    uint32_t index = flow_table_claim(&owned.table, key, OWNED_SLOT, OWNED_SESSION, bed_now_ms(), &intent);

    cr_assert_neq(index, FLOW_NONE);
    return index;
}

uint32_t owned_end_pair(struct net_pair pair, struct flow_key *key)
{
    cr_assert(sock_flow_key(pair.server, key));
    uint32_t index = owned_claim(key);
    flow_table_orphan(&owned.table, index, OWNED_SLOT, bed_now_ms());
    close(pair.server);
    net_expect_eof(pair.client);
    close(pair.client);
    return index;
}

uint32_t owned_count_entries(void)
{
    struct flow_walk walk = {0};
    struct flow_entry entry;
    uint32_t count = 0;

    while (flow_walk_next(&walk, &owned.table, &entry)) {
        count++;
    }
    return count;
}

static void count_pinned(const char *pins, struct time_wait_counters *counters)
{
    uint64_t sums[TIME_WAIT_COUNTERS] = {0};
    uint64_t values[CPU_SETSIZE];
    int map = bpf_obj_get(bed_format("%s/counters", pins));

    cr_assert(map >= 0);
    for (uint32_t i = 0; i < TIME_WAIT_COUNTERS; i++) {
        cr_assert_eq(bpf_map_lookup_elem(map, &i, values), 0);
        for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) {
            sums[i] += values[cpu];
        }
    }
    close(map);
    memcpy(counters, sums, sizeof(*counters));
}

struct time_wait_counters owned_counters(void)
{
    struct time_wait_counters counters;

    if (owned.pins != NULL) {
        count_pinned(owned.pins, &counters);
    } else {
        time_wait_count(owned.time_wait, &counters);
    }
    return counters;
}

uint64_t owned_map_bytes(pid_t pid)
{
    DIR *directory = opendir(bed_format("/proc/%d/fdinfo", pid));
    uint64_t bytes = 0;

    cr_assert_not_null(directory);
    for (struct dirent *file = readdir(directory); file != NULL; file = readdir(directory)) {
        size_t mark = bed_mark();
        const char *path = bed_format("/proc/%d/fdinfo/%s", pid, file->d_name);
        const char *line = file->d_name[0] != '.' ? strstr(bed_read_file(path), "memlock:") : NULL;
        bytes += line != NULL ? strtoull(line + strlen("memlock:"), NULL, 10) : 0;
        bed_release(mark);
    }
    closedir(directory);
    return bytes;
}
