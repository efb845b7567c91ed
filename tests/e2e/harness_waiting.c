#include "tests/e2e/harness_waiting.h"

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_owned.h"
#include "tests/e2e/harness_product.h"

struct conversation waiting_connect(bool ipv6)
{
    return conversation_through(bed.port, product_listener(), ipv6, true);
}

void waiting_close(struct conversation *conversation)
{
    conversation_end(conversation, END_ORPHANED);
    WAIT_UNTIL(owned_entry(&conversation->peer).state == FLOW_TIME_WAIT);
}

struct conversation waiting_begin_with(bool ipv6, bool timestamps)
{
    struct conversation conversation = conversation_through(bed.port, product_listener(), ipv6, timestamps);

    waiting_close(&conversation);
    return conversation;
}

struct conversation waiting_begin(bool ipv6)
{
    return waiting_begin_with(ipv6, true);
}

struct lab_answer waiting_ask(const struct conversation *conversation)
{
    struct lab_segment fin = lab_segment(&conversation->peer, LAB_FIN_ACK, 0);

    fin.seq--;
    return lab_ask(&conversation->peer, &fin);
}

void waiting_expect_answer(const struct conversation *conversation)
{
    uint64_t acks = owned_counters().acks;
    struct lab_answer answer = waiting_ask(conversation);

    cr_expect_eq(answer.flags, LAB_ACK, "flags %#x", answer.flags);
    cr_expect_eq(answer.ack, conversation->peer.snd_nxt);
    cr_expect_eq(answer.seq, conversation->peer.rcv_nxt);
    cr_expect_eq(owned_counters().acks, acks + 1);
}
