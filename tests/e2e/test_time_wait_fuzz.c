/*
 * The responder over packets made by chance and by mutation (BPF_PROG_TEST_RUN): it touches only what is owned, and
 * what it answers is a whole ACK from one end of the tuple to the other. Native XDP does to each packet, to the entries
 * and to the counters what tcx does; and so does tcx where no Ethernet header is before the packet.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "bench/rng.h"
#include "core/session.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_fuzz, .init = lab_begin, .fini = lab_fini, .timeout = 120);

enum {
    ROUNDS = 100000,
    OWNED = 8,
    SERVER_PORT = 443,
    FIRST_PORT = 5000,
    PACKET_MIN = 54, /* test runs insist on whole IP headers */
    TCX_NEXT = -1,
    WINDOW = 512,
    WIRE_MIN = 60,
};

enum way { TCX, NATIVE, BARE, WAYS };

static struct rng rng;

/* An interface without Ethernet header that has a responder and no address: nothing else ever answers there.
 * Test runs know no such packets. */
static struct {
    int end;
    int link;
} bare;

static void open_bare(void)
{
    static const char name[] = "bare0";

    bare.end = lab_open_tun(name);
    lab_sysctl("net/ipv6/conf/bare0/disable_ipv6", 1);
    lab_ip("link set bare0 up");
    bare.link =
        time_wait_attach_to(TIME_WAIT_TCX, time_wait_responder(owned.time_wait), (int)if_nametoindex(name));
    cr_assert_geq(bare.link, 0);
}

static struct lab_peer peer_of(uint32_t i)
{
    return (struct lab_peer){
        .ipv6 = (i & 1) != 0,
        .timestamps = (i & 2) != 0,
        .port = (uint16_t)(FIRST_PORT + i),
        .server_port = SERVER_PORT,
        .snd_nxt = 0xffffff00u + i,
        .rcv_nxt = 1000,
        .ts_value = 77,
    };
}

/* What the program released: nobody else holds it. */
static void free_released(void)
{
    for (uint32_t i = 0; i < owned.table.groups * FLOW_GROUP; i++) {
        if (owned.table.entries[i].state == FLOW_RELEASED) {
            owned.table.entries[i].state = FLOW_FREE;
        }
    }
}

/* Through shm/flow_table.h: what user space writes the program finds. */
static void own(uint32_t i)
{
    struct lab_peer peer = peer_of(i);
    struct flow_key key = owned_key(&peer);
    uint32_t intent = FLOW_NONE;
    uint32_t index = flow_table_claim(&owned.table, &key, 0, 0, bed_now_ms(), &intent);

    cr_assert_neq(index, FLOW_NONE);
    struct flow_entry *entry = &owned.table.entries[index];
    entry->rcv_nxt = peer.snd_nxt;
    entry->snd_nxt = peer.rcv_nxt;
    entry->window = WINDOW;
    entry->ts_recent = peer.timestamps ? peer.ts_value : 0;
    flow_table_time_wait(&owned.table, index, 0, bed_now_ms(), &intent);
    entry->flags = peer.timestamps ? FLOW_TIMESTAMPS : 0;
    entry->state = (i & 4) != 0 ? FLOW_FIN_WAIT2 : FLOW_TIME_WAIT;
}

/* Whether the packet, read strictly, is of tuple i: no options, no fragments, nothing that needs interpretation. */
static bool plainly_of(uint32_t i, const uint8_t *packet, const uint8_t *plain)
{
    struct lab_peer peer = peer_of(i);
    size_t ip = peer.ipv6 ? 40 : 20;
    size_t addresses = peer.ipv6 ? 32 : 8;

    return memcmp(packet + 12, plain + 12, 2) == 0 &&
           memcmp(packet + ETH_HLEN + ip - addresses, plain + ETH_HLEN + ip - addresses, addresses) == 0;
}

struct run {
    uint8_t in[LAB_PACKET_MAX];
    uint8_t out[LAB_PACKET_MAX];
    size_t in_length;
    size_t out_length;
    int verdict;
};

static void run_program(struct run *run, int program)
{
    struct bpf_test_run_opts options = {
        .sz = sizeof(options),
        .data_in = run->in,
        .data_size_in = (uint32_t)run->in_length,
        .data_out = run->out,
        .data_size_out = sizeof(run->out),
        .repeat = 1,
    };

    int error = bpf_prog_test_run_opts(program, &options);
    cr_assert_eq(error, 0, "a packet of %zu bytes: %s", run->in_length, strerror(-error));
    run->out_length = options.data_size_out;
    run->verdict = (int)options.retval;
}

/* Of the verdict: whether it is answered. */
static void run_bare(struct run *run)
{
    size_t length = run->in_length - ETH_HLEN;

    cr_assert_eq(write(bare.end, run->in + ETH_HLEN, length), (ssize_t)length);
    ssize_t answer = read(bare.end, run->out + ETH_HLEN, sizeof(run->out) - ETH_HLEN);
    run->verdict = answer > 0 ? TC_ACT_REDIRECT : TCX_NEXT;
    run->out_length = answer > 0 ? (size_t)answer + ETH_HLEN : 0;
}

static void run_in(struct run *run, enum way way)
{
    if (way == BARE) {
        run_bare(run);
    } else {
        run_program(run, way == TCX ? time_wait_responder(owned.time_wait)
                                    : time_wait_native_responder(owned.time_wait));
    }
}

/* Whether nothing but its Ethernet header is lost. */
static bool can_be_bare(const struct run *run)
{
    static const uint8_t to_host[ETH_ALEN];
    uint16_t protocol = (uint16_t)(run->in[12] << 8 | run->in[13]);
    uint8_t version = run->in[ETH_HLEN] >> 4;

    return memcmp(run->in, to_host, ETH_ALEN) == 0 &&
           ((protocol == ETH_P_IP && version == 4) || (protocol == ETH_P_IPV6 && version == 6));
}

/* The table, but for its times. */
struct snapshot {
    struct flow_entry entries[FLOW_GROUP];
    uint8_t tags[FLOW_GROUP];
};

static void save(struct snapshot *snapshot)
{
    memcpy(snapshot->entries, owned.table.entries, sizeof(snapshot->entries));
    memcpy(snapshot->tags, owned.table.tags, sizeof(snapshot->tags));
}

static void restore(const struct snapshot *snapshot)
{
    memcpy(owned.table.entries, snapshot->entries, sizeof(snapshot->entries));
    memcpy(owned.table.tags, snapshot->tags, sizeof(snapshot->tags));
}

static void forget_times(struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < FLOW_GROUP; i++) {
        snapshot->entries[i].expire_ms = 0;
    }
}

/* What the program adds to the counters. */
static void run_counted(struct run *run, enum way way, uint64_t added[TIME_WAIT_COUNTERS])
{
    struct time_wait_counters before = owned_counters();

    run_in(run, way);
    struct time_wait_counters after = owned_counters();
    for (uint32_t i = 0; i < TIME_WAIT_COUNTERS; i++) {
        added[i] = ((uint64_t *)&after)[i] - ((uint64_t *)&before)[i];
    }
}

static int native_verdict(int verdict)
{
    return verdict == TCX_NEXT ? XDP_PASS : (verdict == TC_ACT_SHOT ? XDP_DROP : XDP_TX);
}

/* An answer's clock, and what sums it up. */
static void forget_clock(uint8_t *packet)
{
    uint8_t *tcp = packet + ETH_HLEN + (packet[12] == 0x86 ? 40 : 20);

    memset(tcp + 16, 0, 2);
    if (tcp[12] >> 4 > 5) {
        memset(tcp + 24, 0, 4);
    }
}

static void expect_same_natively(const struct run *tcx, const struct run *native)
{
    struct run a = *tcx;
    struct run b = *native;
    size_t least = a.in_length < WIRE_MIN ? a.in_length : WIRE_MIN;

    cr_expect_eq(b.verdict, native_verdict(a.verdict), "tcx %d, XDP %d", a.verdict, b.verdict);
    cr_expect_eq(b.out_length, a.out_length < least ? least : a.out_length, "tcx %zu, XDP %zu", a.out_length,
                 b.out_length);
    if (a.verdict == TC_ACT_REDIRECT) {
        forget_clock(a.out);
        forget_clock(b.out);
    }
    cr_expect_arr_eq(a.out, b.out, a.out_length);
}

static void expect_same_bare(const struct run *tcx, const struct run *other)
{
    struct run a = *tcx;
    struct run b = *other;

    cr_expect_eq(a.verdict == TC_ACT_REDIRECT, b.verdict == TC_ACT_REDIRECT);
    if (a.verdict == TC_ACT_REDIRECT) {
        cr_assert_eq(a.out_length, b.out_length, "%zu, bare %zu", a.out_length, b.out_length);
        memcpy(b.out, a.out, ETH_HLEN);
        forget_clock(a.out);
        forget_clock(b.out);
        cr_expect_arr_eq(a.out, b.out, a.out_length);
    }
}

/* In each way, as if the others had not been. */
static void run(struct run *run)
{
    static struct snapshot before, after[WAYS];
    uint64_t added[WAYS][TIME_WAIT_COUNTERS];
    struct run runs[WAYS] = {*run, *run, *run};
    int ways = can_be_bare(run) ? WAYS : BARE;

    save(&before);
    for (int way = 0; way < ways; way++) {
        restore(&before);
        run_counted(&runs[way], (enum way)way, added[way]);
        save(&after[way]);
        forget_times(&after[way]);
        cr_expect_arr_eq(&after[way], &after[TCX], sizeof(after[TCX]), "way %d", way);
        cr_expect_arr_eq(added[way], added[TCX], sizeof(added[TCX]), "way %d", way);
    }
    expect_same_natively(&runs[TCX], &runs[NATIVE]);
    if (ways == WAYS) {
        expect_same_bare(&runs[TCX], &runs[BARE]);
    }
    *run = runs[TCX];
}

static void expect_untouched(const struct run *run)
{
    cr_expect_eq(run->verdict, TCX_NEXT);
    cr_expect_eq(run->out_length, run->in_length);
    cr_expect_arr_eq(run->out, run->in, run->in_length);
}

/* A mutation may have made another owned tuple of it. */
static struct lab_peer answered(const struct run *run, struct lab_answer *answer)
{
    uint32_t i = 0;
    struct lab_peer peer = peer_of(i);

    while (i < OWNED && !lab_parse(&peer, run->out, run->out_length, answer)) {
        peer = peer_of(++i);
    }
    cr_assert_lt(i, OWNED, "an answer to nobody");
    return peer;
}

static void expect_answer(const struct run *run)
{
    struct lab_answer answer;
    struct lab_peer peer = answered(run, &answer);

    cr_expect_eq(answer.flags, LAB_ACK);
    cr_expect_eq(answer.seq, peer.rcv_nxt);
    cr_expect_eq(answer.window, WINDOW);
    cr_expect_eq(answer.length, 0);
    cr_expect_eq(answer.timestamps, peer.timestamps);
    cr_expect(answer.checksums_right);
    cr_expect_arr_eq(run->out, run->in + 6, 6);
    cr_expect_arr_eq(run->out + 6, run->in, 6);
}

static uint64_t answers;

/* `i`: whose packet it was before it was mutated. */
static void expect_good_sense(const struct run *run, uint32_t i, const uint8_t *plain)
{
    if (run->verdict == TC_ACT_REDIRECT) {
        cr_expect(plainly_of(i, run->in, plain), "an answer to what is not owned");
        expect_answer(run);
        answers++;
    } else if (run->verdict == TCX_NEXT) {
        expect_untouched(run);
    } else {
        cr_expect_eq(run->verdict, TC_ACT_SHOT);
        cr_expect(plainly_of(i, run->in, plain), "drops what is not owned");
    }
}

static void begin(void)
{
    struct time_wait_shape shape = owned_shape();

    shape.groups = 1;
    owned_load(&shape);
    open_bare();
    rng_init(&rng, 1);
    for (uint32_t i = 0; i < OWNED; i++) {
        own(i);
    }
}

static void finish(void)
{
    close(bare.link);
    close(bare.end);
    time_wait_destroy(owned.time_wait);
    bed_end();
}

Test(time_wait_fuzz, random_bytes)
{
    struct run now;

    begin();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        now.in_length = PACKET_MIN + rng_below(&rng, 200);
        for (size_t i = 0; i < now.in_length; i++) {
            now.in[i] = (uint8_t)rng_next(&rng);
        }
        memset(now.in, 0, 6); /* to this host */
        now.in[12] = rng_chance(&rng, 50) ? 0x08 : 0x86;
        now.in[13] = now.in[12] == 0x08 ? 0x00 : 0xdd;
        run(&now);
        expect_untouched(&now);
    }
    cr_expect_eq(owned_count_entries(), OWNED);
    finish();
}

static void mutate(struct run *run)
{
    for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
        size_t at = 12 + rng_below(&rng, run->in_length - 12);
        run->in[at] =
            (uint8_t)(rng_chance(&rng, 50) ? rng_next(&rng) : run->in[at] ^ 1u << rng_below(&rng, 8));
    }
    if (rng_chance(&rng, 10)) {
        run->in_length = PACKET_MIN + rng_below(&rng, run->in_length - PACKET_MIN);
    } else if (rng_chance(&rng, 10)) {
        run->in_length += rng_below(&rng, 64); /* padding */
    }
}

static struct lab_segment random_segment(const struct lab_peer *peer)
{
    struct lab_segment segment = lab_segment(peer, (uint8_t)rng_next(&rng), (uint32_t)rng_below(&rng, 100));

    if (segment.flags & LAB_RST) {
        segment.flags = rng_chance(&rng, 10) ? segment.flags : LAB_ACK;
    }
    segment.seq += (uint32_t)rng_below(&rng, 400) - 200;
    segment.ts_value += (uint32_t)rng_below(&rng, 10) - 5;
    segment.ip_options = rng_chance(&rng, 10) ? 8 * (uint32_t)(1 + rng_below(&rng, 5)) : 0;
    segment.more_fragments = rng_chance(&rng, 2);
    return segment;
}

Test(time_wait_fuzz, segments_and_their_mutations)
{
    uint8_t plain[LAB_PACKET_MAX];
    struct run now;

    begin();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t i = (uint32_t)rng_below(&rng, OWNED);
        struct lab_peer peer = peer_of(i);
        struct lab_segment segment = random_segment(&peer);
        if (owned_entry(&peer).state == FLOW_FREE) {
            free_released(); /* a SYN or RST ended it */
            own(i);
        }
        now.in_length = lab_build(&peer, &segment, plain);
        memset(plain, 0, 6);
        memcpy(now.in, plain, sizeof(plain));
        mutate(&now);
        run(&now);
        expect_good_sense(&now, i, plain);
    }
    cr_expect_gt(answers, ROUNDS / 4);
    finish();
}

static struct run packet_of(const struct lab_peer *peer, const struct lab_segment *segment)
{
    struct run packet = {0};

    packet.in_length = lab_build(peer, segment, packet.in);
    memset(packet.in, 0, 6);
    return packet;
}

static void expect_passed_on(struct run *packet)
{
    run(packet);
    expect_untouched(packet);
}

/* A second tag before the one that is there. */
static void tag_again(struct run *packet)
{
    memmove(packet->in + 16, packet->in + 12, packet->in_length - 12);
    memcpy(packet->in + 12, (uint8_t[4]){0x88, 0xa8, 0, 7}, 4);
    packet->in_length += 4;
}

Test(time_wait_fuzz, frames_of_others)
{
    begin();
    for (uint32_t i = 0; i < OWNED; i++) {
        struct lab_peer peer = peer_of(i);
        struct lab_segment segment = lab_segment(&peer, LAB_FIN_ACK, 0);
        struct run packet = packet_of(&peer, &segment);
        packet.in[5] = 1; /* to another host */
        expect_passed_on(&packet);
        memset(packet.in, 0xff, 6);
        expect_passed_on(&packet);
        segment.vlan = true;
        packet = packet_of(&peer, &segment);
        expect_passed_on(&packet);
        tag_again(&packet);
        expect_passed_on(&packet);
        segment.vlan = false;
        packet = packet_of(&peer, &segment);
        run(&packet);
        cr_expect_eq(packet.verdict, TC_ACT_REDIRECT, "that it could have been answered");
    }
    finish();
}

/* A segment of peer i's that goes out: that peer is the entry's own end. */
static int guard(uint32_t i, uint8_t flags)
{
    struct lab_peer peer = peer_of(i);
    struct lab_segment segment = lab_segment(&peer, flags, 0);
    struct run now;

    now.in_length = lab_build(&peer, &segment, now.in);
    run_program(&now, time_wait_guard(owned.time_wait));
    cr_expect_arr_eq(now.out, now.in, now.in_length);
    return now.verdict;
}

static void own_reversed(uint32_t i, uint8_t state)
{
    struct lab_peer peer = peer_of(i);
    struct flow_key theirs = owned_key(&peer);
    struct flow_key key = {.local_port = theirs.remote_port, .remote_port = theirs.local_port};
    uint32_t intent = FLOW_NONE;

    memcpy(key.local, theirs.remote, sizeof(key.local));
    memcpy(key.remote, theirs.local, sizeof(key.remote));
    uint32_t index = flow_table_claim(&owned.table, &key, 0, 0, bed_now_ms(), &intent);
    cr_assert_neq(index, FLOW_NONE);
    if (state != FLOW_ACTIVE) {
        flow_table_time_wait(&owned.table, index, 0, bed_now_ms(), &intent);
        owned.table.entries[index].state = state;
    }
}

Test(time_wait_fuzz, resets_that_go_out_are_held_back_for_what_is_owned)
{
    begin();
    for (uint32_t i = OWNED; i < OWNED + 2; i++) { /* IPv4, IPv6 */
        cr_expect_eq(guard(i, LAB_RST | LAB_ACK), TCX_NEXT);
        own_reversed(i, FLOW_ACTIVE);
        cr_expect_eq(guard(i, LAB_RST | LAB_ACK), TCX_NEXT);
        own_reversed(i + 2, FLOW_FIN_WAIT2);
        cr_expect_eq(guard(i + 2, LAB_RST), TC_ACT_SHOT);
        cr_expect_eq(guard(i + 2, LAB_FIN_ACK), TCX_NEXT);
        own_reversed(i + 4, FLOW_TIME_WAIT);
        cr_expect_eq(guard(i + 4, LAB_RST | LAB_ACK), TC_ACT_SHOT);
        cr_expect_eq(guard(i + 4, LAB_SYN), TCX_NEXT);
    }
    cr_expect_eq(owned_counters().resets_held_back, 4);
    finish();
}
