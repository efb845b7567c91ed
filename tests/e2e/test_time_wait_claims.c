/* Entries that a worker claimed, as their connections end; and what the kernel keeps beside them. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/session.h"
#include "io/sock.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_conversation.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_claims, .init = lab_begin, .fini = lab_fini, .timeout = 110);

/* The kernel keeps its own TIME_WAIT, too. */
static void begin_beside_kernel(void)
{
    struct time_wait_shape shape = owned_shape();

    shape.sole_owner = false;
    owned_begin(&shape);
}

static void end(void)
{
    owned_end();
    bed_end();
}

static struct conversation claimed(bool ipv6, uint32_t *index)
{
    struct conversation conversation = conversation_begin(ipv6, true);
    struct flow_key key = owned_key(&conversation.peer);

    *index = owned_claim(&key);
    return conversation;
}

static void tell(const struct conversation *conversation, uint8_t flags)
{
    struct lab_segment segment = lab_segment(&conversation->peer, flags, 0);

    lab_tell(&conversation->peer, &segment);
}

static enum flow_state state_at(uint32_t index)
{
    return (enum flow_state)owned.table.entries[index].state;
}

/* As io/relay.c does it before it closes the socket. */
static void orphan(uint32_t index)
{
    flow_table_orphan(&owned.table, index, OWNED_SLOT, bed_now_ms());
    cr_assert_eq(state_at(index), FLOW_ORPHANED);
}

static void close_server(struct conversation *conversation)
{
    close(conversation->server);
    conversation->server = -1;
}

static void expect_released(uint32_t index, uint64_t released)
{
    cr_expect_eq(state_at(index), FLOW_FREE);
    cr_expect_eq(owned_counters().released, released);
    cr_expect_eq(owned_counters().published, 0);
    cr_expect_eq(owned_count_entries(), 0);
}

Test(time_wait_claims, nothing_else_is_published)
{
    uint32_t index;

    begin_beside_kernel();
    struct conversation conversation = conversation_begin(false, true);
    conversation_end(&conversation, END_HALF_CLOSE);
    cr_expect_eq(owned_count_entries(), 0);
    conversation_fini(&conversation);
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        conversation = claimed(ipv6 != 0, &index);
        conversation_end(&conversation, END_HALF_CLOSE);
        cr_expect_eq(state_at(index), FLOW_TIME_WAIT);
        conversation_fini(&conversation);
    }
    cr_expect_eq(owned_counters().published, 2);
    cr_expect_eq(owned_counters().publish_overruns, 0);
    cr_expect_eq(owned_counters().insert_failures, 0);
    end();
}

Test(time_wait_claims, orphans_are_published)
{
    uint32_t index;

    begin_beside_kernel();
    struct conversation conversation = claimed(false, &index);
    orphan(index);
    conversation_end(&conversation, END_FIN_WAIT2);
    cr_expect_eq(state_at(index), FLOW_FIN_WAIT2);
    tell(&conversation, LAB_FIN_ACK);
    cr_expect_eq(state_at(index), FLOW_TIME_WAIT);
    conversation_fini(&conversation);
    conversation = claimed(false, &index);
    orphan(index);
    conversation_end(&conversation, END_CLOSING);
    cr_expect_eq(state_at(index), FLOW_TIME_WAIT);
    conversation_fini(&conversation);
    cr_expect_eq(owned_counters().published, 2);
    end();
}

/* Nobody answers for a connection whose socket the kernel still has. */
Test(time_wait_claims, orphans_leave_segments_to_the_kernel)
{
    uint32_t index;

    begin_beside_kernel();
    struct conversation conversation = claimed(false, &index);
    tell(&conversation, LAB_FIN_ACK);
    conversation.peer.snd_nxt++;
    orphan(index);
    tell(&conversation, LAB_FIN_ACK);
    cr_expect_eq(owned_counters().acks, 0);
    cr_expect_eq(owned_counters().drops, 0);
    cr_expect_eq(state_at(index), FLOW_ORPHANED);
    conversation_fini(&conversation);
    end();
}

Test(time_wait_claims, are_released_by_the_last_ack)
{
    uint32_t index;

    begin_beside_kernel();
    struct conversation conversation = claimed(false, &index);
    tell(&conversation, LAB_FIN_ACK);
    conversation.peer.snd_nxt++;
    orphan(index);
    close_server(&conversation);
    struct lab_answer fin = conversation_await(&conversation, LAB_FIN);
    conversation.peer.rcv_nxt = fin.seq + 1;
    cr_expect_eq(state_at(index), FLOW_ORPHANED);
    tell(&conversation, LAB_ACK);
    expect_released(index, 1);
    conversation_fini(&conversation);
    end();
}

Test(time_wait_claims, are_released_by_a_reset)
{
    uint32_t index;

    begin_beside_kernel();
    struct conversation conversation = claimed(true, &index);
    tell(&conversation, LAB_RST);
    expect_released(index, 1);
    cr_expect(sock_is_closed(conversation.server));
    conversation_fini(&conversation);
    conversation = claimed(false, &index);
    cr_expect_not(sock_is_closed(conversation.server));
    orphan(index);
    net_reset(conversation.server);
    conversation.server = -1;
    expect_released(index, 2);
    conversation_fini(&conversation);
    end();
}

/* --- A new connection on the tuple --- */

static struct lab_answer ask_syn(struct conversation *conversation)
{
    struct lab_segment syn;

    conversation->peer.snd_nxt += 100000;
    conversation->peer.ts_value += 10000;
    syn = lab_segment(&conversation->peer, LAB_SYN, 0);
    return lab_ask(&conversation->peer, &syn);
}

static struct conversation *asking;

static bool is_accepted(void)
{
    struct lab_answer answer = ask_syn(asking);

    return answer.there && answer.flags == LAB_SYN_ACK;
}

/* The kernel never saw the FIN, so it would reset: the SYN waits until its state is gone, here by its own timer. */
Test(time_wait_claims, a_syn_waits_for_the_kernels_fin_wait2_to_go)
{
    uint32_t index;

    begin_beside_kernel();
    lab_sysctl("net/ipv4/tcp_fin_timeout", 3);
    struct conversation conversation = claimed(false, &index);
    orphan(index);
    conversation_end(&conversation, END_ORPHANED);
    cr_assert_eq(state_at(index), FLOW_TIME_WAIT);
    uint64_t drops = owned_counters().drops;
    cr_expect_not(ask_syn(&conversation).there);
    cr_expect_eq(owned_counters().drops, drops + 1);
    cr_expect_eq(state_at(index), FLOW_TIME_WAIT);
    asking = &conversation;
    WAIT_UNTIL(is_accepted());
    cr_expect_eq(state_at(index), FLOW_RELEASED);
    cr_expect_eq(owned_counters().reopened, 1);
    conversation_fini(&conversation);
    end();
}

Test(time_wait_claims, a_syn_is_accepted_beside_the_kernels_time_wait)
{
    uint32_t index;

    begin_beside_kernel();
    struct conversation conversation = claimed(false, &index);
    orphan(index);
    conversation_end(&conversation, END_HALF_CLOSE);
    cr_assert_eq(state_at(index), FLOW_TIME_WAIT);
    asking = &conversation;
    cr_expect(is_accepted());
    cr_expect_eq(state_at(index), FLOW_RELEASED);
    conversation_fini(&conversation);
    end();
}

/* It came where no responder is. */
Test(time_wait_claims, a_connection_that_is_established_releases_what_is_left)
{
    struct time_wait_shape shape = owned_shape();

    owned_load(&shape);
    cr_assert_eq(time_wait_publish(owned.time_wait, lab_cgroup()), 0);
    lab_sysctl("net/ipv4/tcp_max_tw_buckets", 0);
    lab_enter_cgroup(true);
    struct conversation conversation = conversation_begin(false, true);
    struct flow_key key = owned_key(&conversation.peer);
    uint32_t index = owned_claim(&key);
    conversation_end(&conversation, END_HALF_CLOSE);
    cr_expect_eq(state_at(index), FLOW_TIME_WAIT);
    struct lab_answer answer = ask_syn(&conversation);
    cr_assert_eq(answer.flags, LAB_SYN_ACK);
    cr_expect_eq(state_at(index), FLOW_TIME_WAIT);
    conversation.peer.snd_nxt++;
    conversation.peer.rcv_nxt = answer.seq + 1;
    tell(&conversation, LAB_ACK);
    cr_expect_eq(state_at(index), FLOW_RELEASED);
    cr_expect_eq(owned_counters().reopened, 1);
    conversation_fini(&conversation);
    end();
}

/* --- A million --- */

enum {
    MILLION = 1000000,
    CLOSED = 40000,        /* of them by the kernel */
    GROUPS = 16384,        /* a million slots */
    STANDING_MAX = 400000, /* at once */
    SOURCES = 8,           /* addresses: no port is used twice */
    SHORT_TWO_MSL_MS = 1000,
};

static atomic_bool swept_enough;

static void *sweep_run(void *argument)
{
    uint32_t intent = FLOW_NONE;

    (void)argument;
    while (!swept_enough) {
        bed_pause_ms(flow_table_sweep(&owned.table, 0, bed_now_ms(), &intent));
    }
    return NULL;
}

/* A connection through the loopback interface that the server, who has claimed its entry, closes first. */
static void connect_and_close(int listener, const struct sockaddr_in *server, uint32_t n)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + n % SOURCES)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int late = 1;
    struct flow_key key;

    cr_assert_eq(setsockopt(client, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof(late)), 0);
    cr_assert_eq(bind(client, (struct sockaddr *)&from, sizeof(from)), 0);
    cr_assert_eq(connect(client, (const struct sockaddr *)server, sizeof(*server)), 0);
    (void)owned_end_pair((struct net_pair){.client = client, .server = net_accept(listener)}, &key);
}

static void close_many(void)
{
    struct sockaddr_in server = {.sin_family = AF_INET};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range", "10000 60000");
    server.sin_port = htons(bed_bind(listener, "127.0.0.1"));
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    cr_assert_eq(listen(listener, 8), 0);
    for (uint32_t n = 0; n < CLOSED; n++) {
        connect_and_close(listener, &server, n);
    }
    close(listener);
}

static bool has_room(uint32_t written)
{
    return CLOSED + written - __atomic_load_n(&owned.sweep.freed, __ATOMIC_RELAXED) < STANDING_MAX;
}

/* Whether a claim has to take the place of one that has ended and is not swept. */
static bool is_crowded(const struct flow_key *key)
{
    struct flow_place place = flow_place_of(flow_hash(key, owned.table.seed), owned.table.groups);

    for (uint32_t i = 0; i < 2 * FLOW_WAYS; i++) {
        if (owned.table.tags[place.buckets[i / FLOW_WAYS] + i % FLOW_WAYS] == 0) {
            return false;
        }
    }
    return true;
}

/* Returns how many took such a place. */
static uint32_t write_many(void)
{
    struct flow_key key = {.local_port = 443};
    uint32_t intent = FLOW_NONE;
    uint32_t taken = 0;

    for (uint32_t n = 0; n < MILLION - CLOSED; n++) {
        while (!has_room(n)) {
            bed_pause_ms(1);
        }
        memcpy(key.remote, &n, sizeof(n));
        taken += is_crowded(&key);
        flow_table_time_wait(&owned.table, owned_claim(&key), OWNED_SLOT, bed_now_ms(), &intent);
    }
    return taken;
}

Test(time_wait_claims, a_million_come_and_go)
{
    struct time_wait_shape shape = owned_shape();
    pthread_t sweeper;

    shape.groups = GROUPS;
    shape.two_msl_ms = SHORT_TWO_MSL_MS;
    owned_begin(&shape);
    owned_answer("lo");
    uint64_t bytes = owned_map_bytes(getpid());
    cr_assert_gt(bytes, (uint64_t)GROUPS * FLOW_GROUP * sizeof(struct flow_entry));
    cr_assert_eq(pthread_create(&sweeper, NULL, sweep_run, NULL), 0);
    close_many();
    uint32_t taken = write_many();
    WAIT_UNTIL(owned_count_entries() == 0);
    swept_enough = true;
    pthread_join(sweeper, NULL);
    struct time_wait_counters counters = owned_counters();
    printf("%lu closed, %lu reopened, %lu freed in %lu rounds, the last in %u ms\n",
           (unsigned long)counters.published, (unsigned long)counters.reopened,
           (unsigned long)owned.sweep.freed, (unsigned long)owned.sweep.rounds, owned.sweep.round_ms);
    cr_expect_eq(counters.published, CLOSED);
    cr_expect_gt(counters.fins, 0);
    cr_expect_eq(owned.sweep.freed, MILLION - counters.reopened - taken);
    cr_expect_eq(owned_map_bytes(getpid()), bytes);
    end();
}
