/*
 * What TIME_WAIT and FIN_WAIT2 answer to a segment: the flow table's answers beside the kernel's own, field by field.
 * io/bpf/README.md lists where they differ, and why.
 */
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_conversation.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_table, .init = lab_begin, .fini = lab_fini, .timeout = 120);

enum { NO_TS = INT32_MIN, CUT_TS, LIMIT_OFF = 0 };

enum kind { NOTHING, AN_ACK, A_RST, A_SYN_ACK, ANYTHING };

/* Answers to the segment, and to the FIN (the same again, or the first) behind it. */
struct kinds {
    enum kind first;
    enum kind again;
};

struct row {
    const char *name;
    uint32_t flags;
    int32_t seq; /* from what is expected next */
    uint32_t length;
    int32_t ts; /* from the last timestamp; NO_TS: has none though it should; CUT_TS: not all of it */
    bool timestamps_only; /* has a meaning only with timestamps */
    bool nobody_listens;
    bool differs;
    uint16_t port; /* added to the peer's */
    struct kinds ours;
    struct kinds kernels;
};

static const struct row time_wait_rows[] = {
    {"FIN again", LAB_FIN_ACK, -1, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"FIN again, newer timestamp", LAB_FIN_ACK, -1, 0, 5, true, .ours = {AN_ACK, AN_ACK}},
    {"FIN again, older timestamp", LAB_FIN_ACK, -1, 0, -1500, true, .ours = {AN_ACK, AN_ACK}},
    {"FIN with data again", LAB_FIN_ACK, -101, 100, 0, .ours = {AN_ACK, AN_ACK}},
    {"old data", LAB_ACK, -101, 50, 0, .ours = {AN_ACK, AN_ACK}},
    {"old data, older timestamp", LAB_ACK, -101, 50, -1500, true, .ours = {AN_ACK, AN_ACK}},
    {"data behind the FIN", LAB_ACK, 0, 10, 0, .ours = {AN_ACK, AN_ACK}},
    {"bare ACK", LAB_ACK, 0, 0, 0, .ours = {NOTHING, AN_ACK}},
    {"bare ACK, newer timestamp", LAB_ACK, 0, 0, 700, true, .ours = {NOTHING, AN_ACK}},
    {"bare ACK, older timestamp", LAB_ACK, 0, 0, -1500, true, .ours = {AN_ACK, AN_ACK}},
    {"bare ACK, a timestamp cut off", LAB_ACK, 0, 0, CUT_TS, true, .ours = {NOTHING, AN_ACK}},
    {"bare ACK from before", LAB_ACK, -50, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"bare ACK from ahead", LAB_ACK, 1000, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"no flag at all", 0, -50, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"RST, exact", LAB_RST, 0, 0, 0, .ours = {NOTHING, AN_ACK}, .differs = true, .kernels = {NOTHING, A_RST}},
    {"RST in the window", LAB_RST, 10, 0, 0, .ours = {NOTHING, AN_ACK}},
    {"RST from before", LAB_RST, -1000, 0, 0, .ours = {NOTHING, AN_ACK}},
    {"RST from far ahead", LAB_RST, 10000000, 0, 0, .ours = {NOTHING, AN_ACK}},
    {"SYN, newer sequence", LAB_SYN, 5000, 0, 0, .ours = {A_SYN_ACK, ANYTHING}},
    {"SYN, older sequence", LAB_SYN, -5000, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"SYN, older sequence, newer timestamp", LAB_SYN, -5000, 0, 5, true, .ours = {A_SYN_ACK, ANYTHING}},
    {"SYN, newer sequence, older timestamp", LAB_SYN, 5000, 0, -1500, true, .ours = {AN_ACK, AN_ACK}},
    {"SYN, newer sequence, no timestamp", LAB_SYN, 5000, 0, NO_TS, true, .ours = {A_SYN_ACK, ANYTHING}},
    {"SYN, older sequence, no timestamp", LAB_SYN, -5000, 0, NO_TS, true, .ours = {AN_ACK, AN_ACK}},
    {"SYN at the very number", LAB_SYN, 0, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"SYN, acceptable, nobody listens", LAB_SYN, 5000, 0, 0, .nobody_listens = true,
     .ours = {AN_ACK, AN_ACK}},
    {"SYN and ACK", LAB_SYN_ACK, 5000, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"SYN of another tuple", LAB_SYN, 5000, 0, 0, .port = 20000, .ours = {A_SYN_ACK, ANYTHING}},
    {"ACK of another tuple", LAB_ACK, 0, 0, 0, .port = 20000, .ours = {A_RST, ANYTHING}},
};

static const struct row fin_wait2_rows[] = {
    {"FIN", LAB_FIN_ACK, 0, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"FIN behind data that came before", LAB_FIN_ACK, -100, 100, 0, .ours = {AN_ACK, AN_ACK}},
    {"FIN, older timestamp", LAB_FIN_ACK, 0, 0, -2500, true, .ours = {AN_ACK, AN_ACK}},
    {"FIN, no timestamp", LAB_FIN_ACK, 0, 0, NO_TS, true, .ours = {AN_ACK, AN_ACK}},
    {"FIN, a timestamp cut off", LAB_FIN_ACK, 0, 0, CUT_TS, true, .ours = {AN_ACK, AN_ACK}},
    {"FIN without ACK", LAB_FIN, 0, 0, 0, .ours = {NOTHING, AN_ACK}},
    {"FIN with new data", LAB_FIN_ACK, 0, 10, 0, .ours = {A_RST, A_RST}},
    {"new data", LAB_ACK, 0, 10, 0, .ours = {A_RST, A_RST}},
    {"old data", LAB_ACK, -101, 50, 0, .ours = {AN_ACK, AN_ACK}},
    {"bare ACK", LAB_ACK, 0, 0, 0, .ours = {NOTHING, AN_ACK}},
    {"bare ACK from before", LAB_ACK, -50, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"bare ACK from far ahead", LAB_ACK, 10000000, 0, 0, .ours = {AN_ACK, AN_ACK}},
    {"RST, exact", LAB_RST, 0, 0, 0, .ours = {NOTHING, A_RST}},
    {"RST in the window", LAB_RST, 10, 0, 0, .ours = {AN_ACK, AN_ACK}, .differs = true,
     .kernels = {NOTHING, A_RST}},
    {"RST from before", LAB_RST, -1000, 0, 0, .ours = {NOTHING, AN_ACK}, .differs = true,
     .kernels = {AN_ACK, AN_ACK}},
    {"SYN in the window", LAB_SYN, 10, 0, 0, .ours = {AN_ACK, AN_ACK}, .differs = true,
     .kernels = {A_RST, A_RST}},
    {"SYN from before", LAB_SYN, -5000, 0, 0, .ours = {AN_ACK, AN_ACK}},
};

static enum kind kind_of(const struct lab_answer *answer)
{
    if (!answer->there) {
        return NOTHING;
    }
    switch (answer->flags) {
    case LAB_ACK:
        return AN_ACK;
    case LAB_SYN_ACK:
        return A_SYN_ACK;
    default:
        return (answer->flags & LAB_RST) != 0 ? A_RST : ANYTHING;
    }
}

/* The timestamp goes on where the connection's went, by our clock: between the most and the least that can have passed
 * since the handshake. */
static void expect_clock(const struct conversation *conversation, const struct lab_answer *answer,
                         uint64_t asked_ms, const char *what)
{
    uint32_t passed = answer->ts_value - conversation->first_ts_echo;
    uint64_t least = asked_ms - conversation->synchronized_ms;
    uint64_t most = bed_now_ms() - conversation->began_ms;

    cr_expect(passed + 1 >= least && passed <= most + 1, "%s: timestamp %u, between %lu and %lu", what,
              passed, least, most);
}

/* What two connections' answers have in common: numbers from their beginnings, whether the label is the
 * connection's. */
static void make_comparable(const struct conversation *conversation, struct lab_answer *answer)
{
    if (kind_of(answer) == AN_ACK) {
        answer->seq -= conversation->first_server_seq;
        answer->ack -= conversation->first_seq;
        answer->ts_value = 0;
        answer->ts_echo -= answer->timestamps ? conversation->first_ts_value : 0;
        answer->flow_label = answer->flow_label == conversation->flow_label;
    } else {
        *answer = (struct lab_answer){.there = answer->there, .flags = answer->flags};
    }
}

struct outcome {
    struct lab_answer first;
    struct lab_answer again;
};

static struct lab_answer ask(const struct conversation *conversation, const struct lab_peer *peer,
                             const struct lab_segment *segment, const char *what)
{
    uint64_t asked_ms = bed_now_ms();
    struct lab_answer answer = lab_ask(peer, segment);

    if (kind_of(&answer) == AN_ACK) {
        cr_expect(answer.addressed, "%s: the Ethernet header", what);
        /* The kernel leaves IPv6's to the device. */
        cr_expect(owned.time_wait == NULL || answer.checksums_right, "%s: a checksum", what);
        cr_expect_eq(answer.timestamps, peer->timestamps, "%s: timestamps", what);
        if (answer.timestamps) {
            expect_clock(conversation, &answer, asked_ms, what);
        }
    }
    make_comparable(conversation, &answer);
    return answer;
}

static struct lab_segment segment_of(const struct row *row, const struct lab_peer *peer)
{
    struct lab_segment segment = lab_segment(peer, (uint8_t)row->flags, row->length);

    segment.seq += (uint32_t)row->seq;
    if (row->ts == NO_TS) {
        segment.timestamps = false;
    } else if (row->ts == CUT_TS) {
        segment.timestamps_cut = true;
    } else {
        segment.ts_value += (uint32_t)row->ts;
    }
    return segment;
}

/* A SYN that was accepted left a connection. */
static void reset(const struct lab_peer *peer, const struct lab_segment *syn)
{
    struct lab_segment segment = *syn;

    segment.flags = LAB_RST;
    segment.seq++;
    lab_send(peer, &segment);
}

static struct outcome run_row(const struct row *row, bool ipv6, bool timestamps, enum conversation_end end)
{
    struct conversation conversation = conversation_begin(ipv6, timestamps);
    struct outcome outcome;

    conversation_end(&conversation, end);
    struct lab_peer *peer = &conversation.peer;
    if (row->nobody_listens) {
        close(conversation.listener);
        conversation.listener = -1;
    }
    struct lab_peer other = *peer;
    other.port += row->port;
    struct lab_segment segment = segment_of(row, peer);
    outcome.first = ask(&conversation, &other, &segment, row->name);
    if (kind_of(&outcome.first) == A_SYN_ACK) {
        reset(&other, &segment);
    }
    struct lab_segment fin = lab_segment(peer, LAB_FIN_ACK, 0);
    fin.seq -= end == END_FIN_WAIT2 ? 0 : 1;
    fin.ts_value += 1000;
    outcome.again = ask(&conversation, peer, &fin, row->name);
    conversation_fini(&conversation);
    return outcome;
}

static void expect_kinds(const struct outcome *outcome, const struct kinds *kinds, const char *what)
{
    cr_expect_eq(kind_of(&outcome->first), kinds->first, "%s: answered with kind %d, not %d", what,
                 kind_of(&outcome->first), kinds->first);
    cr_expect(kinds->again == ANYTHING || kind_of(&outcome->again) == kinds->again,
              "%s: a FIN behind it answered with kind %d, not %d", what, kind_of(&outcome->again),
              kinds->again);
}

#define EXPECT_FIELD(field)                                                                 \
    cr_expect_eq(ours->field, kernels->field, "%s: " #field " %ld, the kernel's %ld", what, \
                 (long)ours->field, (long)kernels->field)

static void expect_same(const struct lab_answer *ours, const struct lab_answer *kernels, const char *what)
{
    EXPECT_FIELD(flags);
    EXPECT_FIELD(tos);
    EXPECT_FIELD(hops);
    EXPECT_FIELD(ip_id);
    EXPECT_FIELD(fragment);
    EXPECT_FIELD(flow_label);
    EXPECT_FIELD(seq);
    EXPECT_FIELD(ack);
    if (owned.native[0] < 0) {
        EXPECT_FIELD(window); /* with XDP it depends on where in a page the kernel put each packet */
    }
    EXPECT_FIELD(urgent);
    EXPECT_FIELD(options);
    EXPECT_FIELD(length);
    EXPECT_FIELD(timestamps);
    EXPECT_FIELD(ts_echo);
}

static void expect_same_kinds(const struct outcome *ours, const struct outcome *kernels, const char *what)
{
    if (kind_of(&ours->first) == kind_of(&kernels->first)) {
        expect_same(&ours->first, &kernels->first, bed_format("%s, first", what));
    }
    if (kind_of(&ours->again) == kind_of(&kernels->again) && kind_of(&ours->again) == AN_ACK) {
        expect_same(&ours->again, &kernels->again, bed_format("%s, again", what));
    }
}

enum { ROWS_MAX = 64, WAYS_MAX = 4 };

static struct outcome outcomes[WAYS_MAX][ROWS_MAX];

static bool has_meaning(const struct row *row, bool timestamps)
{
    return timestamps || !row->timestamps_only;
}

static const char *name_of(const struct row *row, int way)
{
    return bed_format("%s (%s, %s timestamps)", row->name, (way & 1) != 0 ? "IPv6" : "IPv4",
                      (way & 2) != 0 ? "with" : "without");
}

/* Every row over both families, with and without timestamps: first with the kernel's TIME_WAIT, then with ours. */
static void run_table(const struct row *rows, size_t count, enum conversation_end end)
{
    struct time_wait_shape shape = owned_shape();

    lab_sysctl("net/ipv4/tcp_invalid_ratelimit", LIMIT_OFF);
    for (int way = 0; way < WAYS_MAX; way++) {
        for (size_t i = 0; i < count; i++) {
            if (has_meaning(&rows[i], (way & 2) != 0)) {
                outcomes[way][i] = run_row(&rows[i], (way & 1) != 0, (way & 2) != 0, end);
                expect_kinds(&outcomes[way][i], rows[i].differs ? &rows[i].kernels : &rows[i].ours,
                             bed_format("the kernel, %s", name_of(&rows[i], way)));
            }
        }
    }
    owned_begin(&shape);
    size_t texts = bed_mark();
    for (int way = 0; way < WAYS_MAX; way++) {
        for (size_t i = 0; i < count; i++) {
            if (has_meaning(&rows[i], (way & 2) != 0)) {
                struct outcome outcome = run_row(&rows[i], (way & 1) != 0, (way & 2) != 0, end);
                expect_kinds(&outcome, &rows[i].ours, name_of(&rows[i], way));
                expect_same_kinds(&outcome, &outcomes[way][i], name_of(&rows[i], way));
                bed_release(texts);
            }
        }
    }
    owned_end();
    bed_end();
}

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

Test(time_wait_table, after_a_close)
{
    run_table(ROWS(time_wait_rows), END_ORPHANED);
}

Test(time_wait_table, after_a_half_close)
{
    run_table(ROWS(time_wait_rows), END_HALF_CLOSE);
}

Test(time_wait_table, after_fins_that_crossed)
{
    run_table(ROWS(time_wait_rows), END_CLOSING);
}

Test(time_wait_table, fin_wait2_without_a_socket)
{
    run_table(ROWS(fin_wait2_rows), END_FIN_WAIT2);
}

/* The same where packets have no Ethernet header. */
Test(time_wait_table, bare_after_a_close)
{
    lab_go_bare();
    run_table(ROWS(time_wait_rows), END_ORPHANED);
}

Test(time_wait_table, bare_after_a_half_close)
{
    lab_go_bare();
    run_table(ROWS(time_wait_rows), END_HALF_CLOSE);
}

Test(time_wait_table, bare_after_fins_that_crossed)
{
    lab_go_bare();
    run_table(ROWS(time_wait_rows), END_CLOSING);
}

Test(time_wait_table, bare_fin_wait2_without_a_socket)
{
    lab_go_bare();
    run_table(ROWS(fin_wait2_rows), END_FIN_WAIT2);
}

/* The same by native XDP. */
Test(time_wait_table, natively_after_a_close)
{
    owned_go_native();
    run_table(ROWS(time_wait_rows), END_ORPHANED);
}

Test(time_wait_table, natively_after_a_half_close)
{
    owned_go_native();
    run_table(ROWS(time_wait_rows), END_HALF_CLOSE);
}

Test(time_wait_table, natively_after_fins_that_crossed)
{
    owned_go_native();
    run_table(ROWS(time_wait_rows), END_CLOSING);
}

Test(time_wait_table, natively_fin_wait2_without_a_socket)
{
    owned_go_native();
    run_table(ROWS(fin_wait2_rows), END_FIN_WAIT2);
}
