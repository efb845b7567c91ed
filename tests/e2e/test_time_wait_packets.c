/* Packets for what is owned that are not plain; and those that the kernel would not take, which are not
 * answered either. */
#include <string.h>

#include "core/session.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_conversation.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_packets, .init = lab_begin, .fini = lab_fini, .timeout = 60);

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

static struct lab_segment fin_again(const struct lab_peer *peer)
{
    struct lab_segment fin = lab_segment(peer, LAB_FIN_ACK, 0);

    fin.seq--;
    return fin;
}

static struct lab_answer ask_fin_again(const struct conversation *conversation)
{
    struct lab_segment fin = fin_again(&conversation->peer);

    return lab_ask(&conversation->peer, &fin);
}

static struct conversation begin_waiting(bool ipv6)
{
    struct conversation conversation = conversation_begin(ipv6, true);

    conversation_end(&conversation, END_HALF_CLOSE);
    return conversation;
}

Test(time_wait_packets, acks_are_limited_but_to_fins)
{
    struct time_wait_shape shape = owned_shape();

    shape.ack_limit_ms = 24 * 3600 * 1000;
    owned_begin(&shape);
    struct conversation conversation = begin_waiting(false);
    struct lab_segment stray = lab_segment(&conversation.peer, LAB_ACK, 0);
    stray.seq -= 50;
    cr_expect(lab_ask(&conversation.peer, &stray).there);
    for (int i = 0; i < 10; i++) {
        cr_expect_not(lab_ask(&conversation.peer, &stray).there);
        cr_expect_eq(ask_fin_again(&conversation).flags, LAB_ACK);
    }
    cr_expect_eq(owned_counters().acks_suppressed, 10);
    conversation_fini(&conversation);
    end();
}

static void expect_answer_despite_options(bool ipv6, uint32_t bytes)
{
    struct conversation conversation = begin_waiting(ipv6);

    struct lab_segment fin = fin_again(&conversation.peer);
    fin.ip_options = bytes;
    struct lab_answer answer = lab_ask(&conversation.peer, &fin);
    cr_expect(answer.there && answer.checksums_right && answer.addressed, "%u bytes of options", bytes);
    cr_expect_eq(answer.flags, LAB_ACK);
    cr_expect_eq(answer.ack, conversation.peer.snd_nxt);
    cr_expect_eq(answer.ts_echo, conversation.peer.ts_value);
    conversation_fini(&conversation);
}

Test(time_wait_packets, may_have_options_and_extension_headers)
{
    begin();
    for (uint32_t bytes = 4; bytes <= 40; bytes += 4) {
        expect_answer_despite_options(false, bytes);
    }
    for (uint32_t bytes = 8; bytes <= 64; bytes += 8) {
        expect_answer_despite_options(true, bytes);
    }
    end();
}

Test(time_wait_packets, with_a_vlan_tag_are_another_interfaces)
{
    begin();
    struct conversation conversation = begin_waiting(false);
    uint64_t acks = owned_counters().acks;
    struct lab_segment fin = fin_again(&conversation.peer);
    fin.vlan = true;
    cr_expect_not(lab_ask(&conversation.peer, &fin).there);
    cr_expect_eq(owned_counters().acks, acks);
    cr_expect_eq(owned_counters().drops, 0);
    conversation_fini(&conversation);
    end();
}

Test(time_wait_packets, of_which_the_rest_is_missing_are_dropped)
{
    begin();
    struct conversation conversation = begin_waiting(false);
    struct lab_segment fin = fin_again(&conversation.peer);
    fin.more_fragments = true;
    cr_expect_not(lab_ask(&conversation.peer, &fin).there);
    cr_expect_eq(owned_counters().drops, 1);
    cr_expect_eq(ask_fin_again(&conversation).flags, LAB_ACK);
    conversation_fini(&conversation);
    end();
}

/* Old data, all of it, in one packet. */
static void expect_answer_to(uint32_t length, bool ipv6)
{
    struct conversation conversation = begin_waiting(ipv6);
    struct lab_segment data = lab_segment(&conversation.peer, LAB_FIN_ACK, length);

    data.seq -= length + 1;
    lab_send_large(&conversation.peer, &data);
    struct lab_answer answer = lab_receive(&conversation.peer);
    cr_expect_eq(answer.flags, LAB_ACK);
    cr_expect_eq(answer.ack, conversation.peer.snd_nxt);
    cr_expect_eq(answer.length, 0);
    cr_expect(answer.checksums_right && answer.addressed, "%u bytes", length);
    conversation_fini(&conversation);
}

Test(time_wait_packets, may_be_large)
{
    lab_ip("link set " LAB_INTERFACE " mtu 9000");
    lab_enter_peer();
    lab_ip("link set peer0 mtu 9000");
    lab_enter_server();
    lab_finish_checksums();
    begin();
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        expect_answer_to(LAB_JUMBO, ipv6 != 0);
        expect_answer_to(60000, ipv6 != 0);
    }
    end();
}

/* Neither answered nor dropped, and the entry stays as it was. */
static void expect_passed_on(const struct lab_peer *owner, const struct lab_peer *peer,
                             const struct lab_segment *segment)
{
    struct flow_entry before = owned_entry(owner);
    struct time_wait_counters counters = owned_counters();

    cr_assert_eq(before.state, FLOW_TIME_WAIT);
    cr_expect_not(lab_ask(peer, segment).there);
    struct flow_entry after = owned_entry(owner);
    struct time_wait_counters counters_after = owned_counters();
    cr_expect_arr_eq(&before, &after, sizeof(before));
    cr_expect_arr_eq(&counters, &counters_after, sizeof(counters));
}

/* An IPv4 connection's addresses in an IPv6 header. */
Test(time_wait_packets, from_a_mapped_address_are_passed_on)
{
    begin();
    struct conversation conversation = begin_waiting(false);
    struct lab_peer mapped = conversation.peer;
    mapped.ipv6 = true;
    mapped.address = "::ffff:" LAB_PEER;
    mapped.server_address = "::ffff:" LAB_SERVER;
    struct lab_segment fin = fin_again(&mapped);
    expect_passed_on(&conversation.peer, &mapped, &fin);
    conversation_fini(&conversation);
    end();
}

Test(time_wait_packets, without_a_length_are_passed_on)
{
    begin();
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        struct conversation conversation = begin_waiting(ipv6 != 0);
        struct lab_segment fin = fin_again(&conversation.peer);
        fin.no_length = true;
        expect_passed_on(&conversation.peer, &conversation.peer, &fin);
        conversation_fini(&conversation);
    }
    end();
}

static void expect_passed_on_from(bool ipv6, const char *address)
{
    struct lab_peer peer = {
        .ipv6 = ipv6, .port = 5000, .server_port = 443, .address = address, .server_address = address};
    struct flow_key key = owned_key(&peer);
    uint32_t intent = FLOW_NONE;

    flow_table_time_wait(&owned.table, owned_claim(&key), OWNED_SLOT, bed_now_ms(), &intent);
    struct lab_segment fin = fin_again(&peer);
    expect_passed_on(&peer, &peer, &fin);
}

/* Connections over the loopback interface are not for others to end, nor to learn numbers of. */
Test(time_wait_packets, from_outside_that_claim_to_be_ours_are_passed_on)
{
    begin();
    expect_passed_on_from(false, "127.0.0.1");
    expect_passed_on_from(true, "::1");
    expect_passed_on_from(false, LAB_SERVER);
    expect_passed_on_from(true, LAB_SERVER6);
    end();
}
