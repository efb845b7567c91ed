/*
 * responder PINS: what the responder of a running Penstock takes for a packet, by BPF_PROG_TEST_RUN, for
 * bench/time_wait.sh. PINS is the directory of its maps and links; the table has entries in TIME_WAIT over IPv4.
 * Prints a line for each kind of packet: its name, and nanoseconds for the same packet over and over, and for one after
 * the other, each for another entry; first of the program for tcx, then of that for native XDP. "-": a packet that is
 * answered becomes its answer, so it can be had only once.
 * Exit status: 0, or 2 if it could not be done.
 *
 * A single run is timed with the clock's own cost. That is taken off: what a single run of a packet that is
 * not TCP takes longer than one of many.
 */
#include "core/flow.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIN_PATH_MAX   320
#define REPEAT         1000000
#define REPEATED_TIMES 5
#define SINGLES        20000
#define TCX_NEXT       (-1)
#define TCX_DROP       2
#define TCX_REDIRECT   7
#define XDP_NAME       "native_responde" /* as much of it as the kernel knows */

struct packet {
    struct ethhdr ethernet;
    struct iphdr ip;
    struct tcphdr tcp;
    uint8_t options[12];
} __attribute__((packed));

enum verdict { PASSED, DROPPED, ANSWERED };

struct program {
    int fd;
    int verdicts[ANSWERED + 1];
    uint32_t clock_ns; /* in what a single run takes */
};

struct kind {
    const char *name;
    enum verdict verdict; /* a packet that is ANSWERED is not the same any more */
    void (*change)(struct packet *packet, const struct flow_entry *entry);
};

struct bench {
    struct program tcx, xdp;
    uint32_t map; /* its id: that of the entries */
    const struct flow_entry *entries;
    uint32_t entry_count;
    uint32_t *waiting; /* indexes of entries in TIME_WAIT */
    uint32_t waiting_count;
};

static _Noreturn void die(const char *what, int error)
{
    fprintf(stderr, "responder: %s: %s\n", what, strerror(error));
    exit(2);
}

/* --- packets -------------------------------------------------------------------------------------------- */

static uint16_t ip_checksum(const struct packet *packet)
{
    uint16_t words[sizeof(packet->ip) / 2];
    uint32_t sum = 0;

    memcpy(words, &packet->ip, sizeof(packet->ip));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

static void add_timestamps(struct packet *packet, const struct flow_entry *entry)
{
    uint32_t words[] = {htonl(TCPOPT_TSTAMP_HDR), htonl(entry->ts_recent), 0};

    memcpy(packet->options, words, sizeof(words));
}

/* A segment of the peer's, in sequence and empty. */
static void fill(struct packet *packet, const struct flow_entry *entry)
{
    *packet = (struct packet){
        .ethernet = {.h_proto = htons(ETH_P_IP)},
        .ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP},
        .tcp = {.source = htons(entry->remote_port),
                .dest = htons(entry->local_port),
                .seq = htonl(entry->rcv_nxt),
                .ack_seq = htonl(entry->snd_nxt),
                .doff = (sizeof(packet->tcp) + sizeof(packet->options)) / 4,
                .ack = 1},
    };
    packet->ip.tot_len = htons(sizeof(*packet) - sizeof(packet->ethernet));
    memcpy(&packet->ip.saddr, entry->remote + 12, 4);
    memcpy(&packet->ip.daddr, entry->local + 12, 4);
    memset(packet->options, TCPOPT_NOP, sizeof(packet->options));
    if ((entry->flags & FLOW_TIMESTAMPS) != 0)
        add_timestamps(packet, entry);
}

static void be_udp(struct packet *packet, const struct flow_entry *entry)
{
    (void)entry;
    packet->ip.protocol = IPPROTO_UDP;
}

/* The reverse of an entry's tuple is nobody's. */
static void be_others(struct packet *packet, const struct flow_entry *entry)
{
    packet->tcp.source = htons(entry->local_port);
    packet->tcp.dest = htons(entry->remote_port);
}

static void be_reset(struct packet *packet, const struct flow_entry *entry)
{
    (void)entry;
    packet->tcp.rst = 1;
}

static void be_fin_again(struct packet *packet, const struct flow_entry *entry)
{
    packet->tcp.fin = 1;
    packet->tcp.seq = htonl(entry->rcv_nxt - 1);
}

static const struct kind kinds[] = {
    {"not TCP (UDP): passed on", PASSED, be_udp},
    {"TCP, no entry: passed on", PASSED, be_others},
    {"an entry, a RST: dropped", DROPPED, be_reset},
    {"an entry, the FIN again: an ACK", ANSWERED, be_fin_again},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* --- runs ----------------------------------------------------------------------------------------------- */

/* Nanoseconds for one of `repeat`. */
static uint32_t run(const struct bench *bench, const struct program *program, const struct kind *kind,
                    uint32_t index, uint32_t repeat)
{
    const struct flow_entry *entry = &bench->entries[bench->waiting[index % bench->waiting_count]];
    struct packet packet, out;
    struct bpf_test_run_opts options = {
        .sz = sizeof(options),
        .data_in = &packet,
        .data_size_in = sizeof(packet),
        .data_out = &out,
        .data_size_out = sizeof(out),
        .repeat = (int)repeat,
    };

    fill(&packet, entry);
    kind->change(&packet, entry);
    packet.ip.check = ip_checksum(&packet);
    int error = bpf_prog_test_run_opts(program->fd, &options);
    if (error < 0)
        die(kind->name, -error);
    if ((int)options.retval != program->verdicts[kind->verdict]) {
        fprintf(stderr, "responder: %s: the verdict is %d\n", kind->name, (int)options.retval);
        exit(2);
    }
    return options.duration;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

static uint32_t median(uint32_t *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

static uint32_t run_repeated(const struct bench *bench, const struct program *program,
                             const struct kind *kind)
{
    uint32_t took[REPEATED_TIMES];

    for (uint32_t i = 0; i < REPEATED_TIMES; i++)
        took[i] = run(bench, program, kind, i, REPEAT);
    return median(took, REPEATED_TIMES);
}

static uint32_t run_singly(const struct bench *bench, const struct program *program, const struct kind *kind)
{
    static uint32_t took[SINGLES];

    for (uint32_t i = 0; i < SINGLES; i++)
        took[i] = run(bench, program, kind, i, 1);
    return median(took, SINGLES);
}

static void measure_clock(const struct bench *bench, struct program *program)
{
    uint32_t single_ns = run_singly(bench, program, &kinds[0]);
    uint32_t repeated_ns = run_repeated(bench, program, &kinds[0]);

    program->clock_ns = single_ns > repeated_ns ? single_ns - repeated_ns : 0;
}

static void measure(const struct bench *bench, const struct program *program, const struct kind *kind)
{
    uint32_t single_ns = run_singly(bench, program, kind);

    if (kind->verdict == ANSWERED)
        printf("\t-");
    else
        printf("\t%u", run_repeated(bench, program, kind));
    printf("\t%u", single_ns > program->clock_ns ? single_ns - program->clock_ns : 0);
}

/* --- what is pinned --------------------------------------------------------------------------------------- */

static int open_pin(const char *pins, const char *name)
{
    char path[PIN_PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", pins, name);
    int fd = bpf_obj_get(path);
    if (fd < 0)
        die(path, -fd);
    return fd;
}

static int open_program(int link)
{
    struct bpf_link_info info = {0};
    uint32_t length = sizeof(info);
    int error = bpf_obj_get_info_by_fd(link, &info, &length);
    int program = error < 0 ? error : bpf_prog_get_fd_by_id(info.prog_id);

    if (program < 0)
        die("the program", -program);
    return program;
}

/* That of any interface: they are all the same. */
static int open_responder(const char *pins)
{
    DIR *directory = opendir(pins);
    const struct dirent *entry;
    int program = -1;

    if (directory == NULL)
        die(pins, errno);
    while (program < 0 && (entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, "responder:", strlen("responder:")) == 0)
            program = open_program(open_pin(pins, entry->d_name));
    }
    closedir(directory);
    if (program < 0)
        die("a responder", ENOENT);
    return program;
}

static bool has_map(int fd, uint32_t map)
{
    uint32_t maps[64] = {0};
    struct bpf_prog_info info = {.nr_map_ids = sizeof(maps) / sizeof(maps[0]), .map_ids = (uintptr_t)maps};
    uint32_t length = sizeof(info);
    bool has = false;

    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0 || strcmp(info.name, XDP_NAME) != 0)
        return false;
    for (uint32_t i = 0; i < info.nr_map_ids && i < sizeof(maps) / sizeof(maps[0]); i++)
        has = has || maps[i] == map;
    return has;
}

/* It is loaded beside the other one, but attached to no veth: found by its map. */
static int open_native_responder(const struct bench *bench)
{
    uint32_t id = 0;

    while (bpf_prog_get_next_id(id, &id) == 0) {
        int fd = bpf_prog_get_fd_by_id(id);
        if (fd >= 0 && has_map(fd, bench->map))
            return fd;
        if (fd >= 0)
            close(fd);
    }
    die("a native responder", ENOENT);
}

static void map_entries(struct bench *bench, const char *pins)
{
    struct bpf_map_info info = {0};
    uint32_t length = sizeof(info);
    int map = open_pin(pins, "flow_entries");

    int error = bpf_obj_get_info_by_fd(map, &info, &length);
    if (error < 0 || info.value_size != sizeof(struct flow_entry))
        die("flow_entries", error < 0 ? -error : EINVAL);
    void *entries = mmap(NULL, (size_t)info.max_entries * info.value_size, PROT_READ, MAP_SHARED, map, 0);
    if (entries == MAP_FAILED)
        die("flow_entries", errno);
    bench->entries = entries;
    bench->entry_count = info.max_entries;
    bench->map = info.id;
}

/* Shuffled, so that no entry is in a cache because of the one before. */
static void find_waiting(struct bench *bench)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    bench->waiting = calloc(bench->entry_count, sizeof(*bench->waiting));
    if (bench->waiting == NULL)
        die("the list of entries", ENOMEM);
    for (uint32_t i = 0; i < bench->entry_count; i++) {
        const struct flow_entry *entry = &bench->entries[i];
        if (entry->state == FLOW_TIME_WAIT && memcmp(entry->remote, mapped, sizeof(mapped)) == 0)
            bench->waiting[bench->waiting_count++] = i;
    }
    if (bench->waiting_count == 0)
        die("entries in TIME_WAIT", ENOENT);
    for (uint32_t i = bench->waiting_count - 1; i > 0; i--) {
        uint32_t other = (uint32_t)random() % (i + 1), index = bench->waiting[i];
        bench->waiting[i] = bench->waiting[other];
        bench->waiting[other] = index;
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {0};

    if (argc != 2) {
        fprintf(stderr, "usage: responder PINS\n");
        return 2;
    }
    map_entries(&bench, argv[1]);
    find_waiting(&bench);
    bench.tcx =
        (struct program){.fd = open_responder(argv[1]), .verdicts = {TCX_NEXT, TCX_DROP, TCX_REDIRECT}};
    bench.xdp =
        (struct program){.fd = open_native_responder(&bench), .verdicts = {XDP_PASS, XDP_DROP, XDP_TX}};
    measure_clock(&bench, &bench.tcx);
    measure_clock(&bench, &bench.xdp);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        printf("%s", kinds[i].name);
        measure(&bench, &bench.tcx, &kinds[i]);
        measure(&bench, &bench.xdp, &kinds[i]);
        printf("\n");
    }
    return 0;
}
