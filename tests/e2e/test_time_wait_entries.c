/* Which connections leave an entry, what is in it, how it ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/session.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_conversation.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_entries, .init = lab_begin, .fini = lab_fini, .timeout = 60);

enum { PORT_BASE = 20000 };

static void begin(void)
{
    struct time_wait_shape shape = owned_shape();

    owned_begin(&shape);
}

static void end(void)
{
    owned_end();
    bed_end();
}

static struct lab_answer ask_fin_again(const struct conversation *conversation)
{
    struct lab_segment fin = lab_segment(&conversation->peer, LAB_FIN_ACK, 0);

    fin.seq--;
    return lab_ask(&conversation->peer, &fin);
}

static void tell(const struct conversation *conversation, uint8_t flags, uint32_t length)
{
    struct lab_segment segment = lab_segment(&conversation->peer, flags, length);

    lab_tell(&conversation->peer, &segment);
}

/* --- What is in an entry --- */

static void expect_entry(bool ipv6, bool timestamps)
{
    struct conversation conversation = conversation_begin(ipv6, timestamps);
    const struct lab_peer *peer = &conversation.peer;

    conversation_end(&conversation, END_HALF_CLOSE);
    struct flow_entry entry = owned_entry(peer);
    cr_expect_eq(entry.state, FLOW_TIME_WAIT);
    cr_expect_eq(entry.tos, CONVERSATION_TOS);
    cr_expect_eq(entry.rcv_nxt, peer->snd_nxt);
    cr_expect_eq(entry.snd_nxt, peer->rcv_nxt);
    cr_expect_eq(entry.window_scales >> 4, 7, "the peer's scale is %d", entry.window_scales >> 4);
    cr_expect_eq(entry.ts_recent, timestamps ? peer->ts_value : 0);
    cr_expect_eq((entry.flags & FLOW_TIMESTAMPS) != 0, timestamps);
    uint32_t label = (uint32_t)(entry.flags >> FLOW_LABEL_SHIFT) << 16 | entry.flow_label_low;
    cr_expect_eq(label, conversation.flow_label);
    cr_expect_eq(label != 0, ipv6);
    /* Begun after the conversation, ends 2MSL later. */
    uint32_t age_ms = (uint32_t)bed_now_ms() + owned.shape.two_msl_ms - entry.expire_ms;
    cr_expect_leq(age_ms, bed_now_ms() - conversation.began_ms);
    conversation_fini(&conversation);
}

Test(time_wait_entries, hold_what_the_kernel_had)
{
    begin();
    for (int way = 0; way < 4; way++) {
        expect_entry((way & 1) != 0, (way & 2) != 0);
    }
    cr_expect_eq(owned_counters().published, 4);
    end();
}

Test(time_wait_entries, are_filled_where_the_connection_had_one)
{
    uint32_t intent = FLOW_NONE;

    begin();
    struct conversation conversation = conversation_begin(false, true);
    struct flow_key key = owned_key(&conversation.peer);
    uint32_t index = flow_table_claim(&owned.table, &key, 3, 77, bed_now_ms(), &intent);
    cr_assert_neq(index, FLOW_NONE);
    conversation_end(&conversation, END_ORPHANED);
    cr_expect_eq(owned.table.entries[index].state, FLOW_TIME_WAIT);
    cr_expect_eq(flow_table_find(&owned.table, &key), index);
    cr_expect_eq(owned_count_entries(), 1);
    cr_expect_not(flow_table_owned(&owned.table, index, 3, 77));
    conversation_fini(&conversation);
    end();
}

Test(time_wait_entries, go_from_fin_wait2_to_time_wait)
{
    begin();
    struct conversation conversation = conversation_begin(true, true);
    conversation_end(&conversation, END_FIN_WAIT2);
    cr_expect_eq(owned_entry(&conversation.peer).state, FLOW_FIN_WAIT2);
    tell(&conversation, LAB_FIN_ACK, 0);
    cr_expect_eq(owned_entry(&conversation.peer).state, FLOW_TIME_WAIT);
    cr_expect_eq(owned_entry(&conversation.peer).rcv_nxt, conversation.peer.snd_nxt + 1);
    cr_expect_eq(owned_counters().fins, 1);
    conversation_fini(&conversation);
    end();
}

/* --- Who leaves none --- */

static void expect_none(struct conversation *conversation, const char *what)
{
    cr_expect_eq(owned_count_entries(), 0, "%s left an entry", what);
    conversation_fini(conversation);
}

static struct conversation half_closed(void)
{
    struct conversation conversation = conversation_begin(false, true);

    cr_assert_eq(shutdown(conversation.server, SHUT_WR), 0);
    struct lab_answer fin = conversation_await(&conversation, LAB_FIN);
    conversation.peer.rcv_nxt = fin.seq + 1;
    tell(&conversation, LAB_ACK, 0);
    return conversation;
}

Test(time_wait_entries, none_of_who_closed_last)
{
    begin();
    struct conversation conversation = conversation_begin(false, true);
    tell(&conversation, LAB_FIN_ACK, 0);
    conversation.peer.snd_nxt++;
    close(conversation.server);
    conversation.server = -1;
    struct lab_answer fin = conversation_await(&conversation, LAB_FIN);
    conversation.peer.rcv_nxt = fin.seq + 1;
    tell(&conversation, LAB_ACK, 0);
    expect_none(&conversation, "a passive close");
    end();
}

Test(time_wait_entries, none_after_a_reset)
{
    begin();
    struct conversation conversation = conversation_begin(false, true);
    tell(&conversation, LAB_RST, 0);
    expect_none(&conversation, "a reset");
    conversation = half_closed();
    tell(&conversation, LAB_RST, 0);
    expect_none(&conversation, "a reset in FIN_WAIT2");
    conversation = half_closed();
    net_reset(conversation.server);
    conversation.server = -1;
    expect_none(&conversation, "a reset of ours in FIN_WAIT2");
    end();
}

Test(time_wait_entries, none_where_data_was_left_unread)
{
    begin();
    struct conversation conversation = half_closed();
    tell(&conversation, LAB_ACK, 100);
    close(conversation.server);
    conversation.server = -1;
    cr_expect_neq(conversation_await(&conversation, LAB_RST).flags & LAB_RST, 0);
    expect_none(&conversation, "a close with data unread");
    end();
}

Test(time_wait_entries, none_of_other_processes)
{
    begin();
    lab_enter_cgroup(false);
    struct conversation conversation = conversation_begin(false, true);
    conversation_end(&conversation, END_HALF_CLOSE);
    expect_none(&conversation, "a process outside the cgroup");
    end();
}

/* --- How they end --- */

Test(time_wait_entries, expire)
{
    struct time_wait_shape shape = owned_shape();

    shape.two_msl_ms = 0;
    owned_begin(&shape);
    struct conversation conversation = conversation_begin(false, true);
    conversation_end(&conversation, END_HALF_CLOSE);
    cr_expect_eq(owned_counters().published, 1);
    cr_expect_neq(ask_fin_again(&conversation).flags & LAB_RST, 0);
    conversation_fini(&conversation);
    end();
}

static void make_one(void)
{
    struct conversation conversation = conversation_begin(false, false);

    conversation_end(&conversation, END_HALF_CLOSE);
    conversation_fini(&conversation);
}

Test(time_wait_entries, that_find_no_place_are_counted)
{
    struct time_wait_shape shape = owned_shape();

    shape.groups = 1;
    owned_begin(&shape);
    for (int i = 0; i < 2 * FLOW_GROUP; i++) {
        make_one();
    }
    struct time_wait_counters counters = owned_counters();
    cr_expect_eq(counters.published + counters.insert_failures, 2 * FLOW_GROUP);
    cr_expect_eq(owned_count_entries(), counters.published);
    cr_expect_leq(counters.published, FLOW_GROUP);
    cr_expect_gt(counters.published, FLOW_GROUP / 2);
    end();
}

static bool has_taken_slots_again(void)
{
    make_one();
    return owned_counters().published > 2 * FLOW_GROUP;
}

Test(time_wait_entries, that_have_expired_make_room)
{
    struct time_wait_shape shape = owned_shape();

    shape.groups = 1;
    shape.two_msl_ms = 0;
    owned_begin(&shape);
    WAIT_UNTIL(has_taken_slots_again());
    cr_expect_leq(owned_count_entries(), FLOW_GROUP);
    end();
}

/* Connects from a port of ours to the peer's kernel, and closes first. */
static void connect_and_close(int listener, uint16_t port, const struct sockaddr_in *to)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    inet_pton(AF_INET, LAB_SERVER, &from.sin_addr);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)to, sizeof(*to)), 0, "%s", strerror(errno));
    int peer = net_accept(listener);
    net_half_close(fd);
    net_expect_eof(peer);
    close(peer);
    net_expect_eof(fd);
    close(fd);
}

Test(time_wait_entries, make_way_for_a_connection_of_ours)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    begin();
    lab_enter_cgroup(false);
    lab_enter_peer();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = htons(bed_bind(listener, LAB_KERNEL_PEER));
    inet_pton(AF_INET, LAB_KERNEL_PEER, &address.sin_addr);
    cr_assert_eq(listen(listener, 8), 0);
    lab_enter_server();
    lab_enter_cgroup(true);
    for (uint64_t i = 0; i < 3; i++) {
        connect_and_close(listener, PORT_BASE, &address);
        cr_expect_eq(owned_counters().published, i + 1);
        cr_expect_eq(owned_counters().reconnected, i);
        cr_expect_eq(owned_count_entries(), 1);
    }
    close(listener);
    end();
}

Test(time_wait_entries, end_with_the_programs)
{
    begin();
    struct conversation conversation = conversation_begin(false, true);
    conversation_end(&conversation, END_HALF_CLOSE);
    cr_expect_eq(ask_fin_again(&conversation).flags, LAB_ACK);
    owned_end();
    cr_expect_neq(ask_fin_again(&conversation).flags & LAB_RST, 0);
    conversation_fini(&conversation);
    bed_end();
}
