#include "tests/e2e/harness_conversation.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"

enum { FIRST_PEER_PORT = 1024, FIRST_TS_VALUE = 5000000 };

struct lab_answer conversation_await(const struct conversation *conversation, uint8_t flag)
{
    struct lab_answer answer;

    do {
        answer = lab_receive(&conversation->peer);
    } while ((answer.flags & flag) == 0);
    return answer;
}

static void tell(const struct lab_peer *peer, uint8_t flags, uint32_t length)
{
    struct lab_segment segment = lab_segment(peer, flags, length);

    lab_send(peer, &segment);
}

static struct lab_answer ask(const struct lab_peer *peer, uint8_t flags)
{
    struct lab_segment segment = lab_segment(peer, flags, 0);

    return lab_ask(peer, &segment);
}

static void synchronize(struct conversation *conversation)
{
    struct lab_peer *peer = &conversation->peer;

    conversation->began_ms = bed_now_ms();
    tell(peer, LAB_SYN, 0);
    struct lab_answer answer = conversation_await(conversation, LAB_SYN);
    conversation->synchronized_ms = bed_now_ms();
    cr_assert_eq(answer.flags, LAB_SYN_ACK);
    cr_assert_eq(answer.timestamps, peer->timestamps);
    conversation->first_server_seq = answer.seq;
    conversation->first_ts_echo = answer.ts_value;
    peer->snd_nxt++;
    peer->rcv_nxt = answer.seq + 1;
    peer->ts_echo = answer.ts_value;
    tell(peer, LAB_ACK, 0);
}

/* Of a peer that has not connected yet. */
static struct conversation conversation_of_peer(bool ipv6, bool timestamps)
{
    static uint16_t port = FIRST_PEER_PORT;
    struct conversation conversation = {
        .peer = {.ipv6 = ipv6,
                 .timestamps = timestamps,
                 .port = port++,
                 .snd_nxt = 0xfffffe00u + port, /* sequence numbers wrap during the conversation */
                 .ts_value = timestamps ? FIRST_TS_VALUE : 0},
        .listener = -1,
    };

    conversation.first_seq = conversation.peer.snd_nxt;
    conversation.first_ts_value = conversation.peer.ts_value;
    return conversation;
}

static void connect_through(struct conversation *conversation, int listener)
{
    struct lab_peer *peer = &conversation->peer;
    char bytes[CONVERSATION_BYTES];

    synchronize(conversation);
    conversation->server = net_accept(listener);
    peer->ts_value += CONVERSATION_STEP;
    tell(peer, LAB_ACK, CONVERSATION_BYTES);
    peer->snd_nxt += CONVERSATION_BYTES;
    net_read(conversation->server, bytes, sizeof(bytes));
}

struct conversation conversation_begin(bool ipv6, bool timestamps)
{
    struct conversation conversation = conversation_of_peer(ipv6, timestamps);

    conversation.listener = lab_listen(ipv6, CONVERSATION_TOS, &conversation.peer.server_port);
    connect_through(&conversation, conversation.listener);
    return conversation;
}

struct conversation conversation_through(uint16_t port, int listener, bool ipv6, bool timestamps)
{
    struct conversation conversation = conversation_of_peer(ipv6, timestamps);

    conversation.peer.server_port = port;
    connect_through(&conversation, listener);
    return conversation;
}

/* The server's FIN. */
static void await_fin(struct conversation *conversation)
{
    struct lab_answer fin = conversation_await(conversation, LAB_FIN);

    conversation->peer.rcv_nxt = fin.seq + fin.length + 1;
    conversation->peer.ts_echo = fin.ts_value;
    conversation->flow_label = fin.flow_label;
    conversation->peer.ts_value += CONVERSATION_STEP;
}

static void send_fin(struct conversation *conversation)
{
    struct lab_answer answer = ask(&conversation->peer, LAB_FIN_ACK);

    conversation->peer.snd_nxt++;
    cr_assert_eq(answer.flags, LAB_ACK);
    cr_assert_eq(answer.ack, conversation->peer.snd_nxt);
}

static void close_server(struct conversation *conversation)
{
    close(conversation->server);
    conversation->server = -1;
}

static void cross_fins(struct conversation *conversation)
{
    conversation->peer.rcv_nxt--;
    send_fin(conversation);
    conversation->peer.rcv_nxt++;
    cr_assert_not(ask(&conversation->peer, LAB_ACK).there);
}

void conversation_end(struct conversation *conversation, enum conversation_end end)
{
    if (end == END_HALF_CLOSE) {
        cr_assert_eq(shutdown(conversation->server, SHUT_WR), 0);
    } else {
        close_server(conversation);
    }
    await_fin(conversation);
    if (end == END_CLOSING) {
        cross_fins(conversation);
        return;
    }
    cr_assert_not(ask(&conversation->peer, LAB_ACK).there);
    if (end != END_FIN_WAIT2) {
        send_fin(conversation);
    }
    if (end == END_HALF_CLOSE) {
        close_server(conversation);
    }
}

void conversation_fini(struct conversation *conversation)
{
    if (conversation->server >= 0) {
        close(conversation->server);
    }
    if (conversation->listener >= 0) {
        close(conversation->listener);
    }
}
