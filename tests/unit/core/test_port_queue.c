/* Source ports in the order in which their last use ended; who rests, who is never given out, what it costs. */
#include "core/port_queue.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rng.h"

TestSuite(port_queue);

enum { FIRST = 20000, T0 = 5000000, PORTS_MAX = 65536 };

static struct port_queue queue;

static void begin(uint16_t first, uint32_t count, uint32_t start)
{
    port_queue_init(&queue, first, count, start);
}

static void end(void)
{
    free(queue.nodes);
}

static uint16_t take(uint64_t now_ms)
{
    uint32_t needs = port_queue_needs(&queue);

    if (needs > 0) {
        free(port_queue_extend(&queue, calloc(needs, sizeof(struct port_node)), needs));
    }
    return port_queue_take(&queue, now_ms);
}

Test(port_queue, gives_each_fresh_port_once_from_the_start_on)
{
    begin(FIRST, 5, 3);
    static const uint16_t expected[] = {FIRST + 3, FIRST + 4, FIRST, FIRST + 1, FIRST + 2, 0, 0};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        cr_expect_eq(take(T0), expected[i], "take %zu", i);
    }
    end();
}

Test(port_queue, gives_the_oldest_first)
{
    begin(FIRST, 3, 0);
    for (int i = 0; i < 3; i++) {
        take(T0);
    }
    port_queue_return(&queue, FIRST + 1, false, T0 + 1000);
    port_queue_return(&queue, FIRST, true, T0 + 2000);
    port_queue_return(&queue, FIRST + 2, false, T0 + 3000);
    cr_expect_eq(take(T0 + 9000), FIRST + 1);
    cr_expect_eq(take(T0 + 9000), FIRST);
    cr_expect_eq(take(T0 + 9000), FIRST + 2);
    cr_expect_eq(take(T0 + 9000), 0);
    end();
}

Test(port_queue, lets_a_port_rest_but_not_others_behind_it)
{
    begin(FIRST, 2, 0);
    take(T0);
    take(T0);
    port_queue_return(&queue, FIRST, true, T0);
    cr_expect_eq(take(T0 + PORT_REST_MS), 0);
    port_queue_return(&queue, FIRST + 1, false, T0 + PORT_REST_MS);
    cr_expect_eq(take(T0 + PORT_REST_MS), FIRST + 1);
    cr_expect_eq(take(T0 + PORT_REST_MS), 0);
    cr_expect_eq(take(T0 + PORT_REST_MS + 250), FIRST);
    end();
}

Test(port_queue, leaves_alone_what_is_not_taken)
{
    begin(FIRST, 4, 2);
    port_queue_return(&queue, FIRST, false, T0);     /* fresh */
    port_queue_return(&queue, FIRST - 1, false, T0); /* of somebody else */
    port_queue_return(&queue, FIRST + 4, false, T0);
    cr_expect_eq(take(T0), FIRST + 2);
    port_queue_return(&queue, FIRST + 2, false, T0);
    port_queue_return(&queue, FIRST + 2, false, T0); /* twice */
    for (int i = 0; i < 4; i++) {
        cr_expect_neq(take(T0), 0);
    }
    cr_expect_eq(take(T0), 0);
    end();
}

Test(port_queue, has_room_for_every_port_there_is)
{
    begin(1, 65535, 40000);
    for (int i = 0; i < 65535; i++) {
        cr_assert_neq(take(T0), 0);
    }
    cr_expect_eq(take(T0), 0);
    port_queue_return(&queue, 65535, false, T0);
    port_queue_return(&queue, 1, false, T0);
    cr_expect_eq(take(T0), 65535);
    cr_expect_eq(take(T0), 1);
    end();
}

Test(port_queue, takes_memory_for_the_ports_that_were_used)
{
    begin(FIRST, 10000, 0);
    for (int i = 0; i < 100; i++) {
        take(T0);
    }
    cr_expect_eq(queue.capacity, PORT_NODES_INITIAL);
    for (int i = 0; i < 9900; i++) {
        take(T0);
    }
    cr_expect_eq(queue.capacity, 10000);
    cr_expect_eq(sizeof(struct port_node), 4);
    end();
}

/* Against a plain list of all ports with the ends of their last uses. */
Test(port_queue, agrees_with_a_plain_list)
{
    enum { COUNT = 300, STEPS = 200000 };
    static struct {
        bool taken, rests;
        uint64_t since_ms;
    } ports[COUNT];
    struct rng rng;
    uint64_t now_ms = T0;

    rng_init(&rng, 7);
    memset(ports, 0, sizeof(ports));
    begin(FIRST, COUNT, 17);
    for (int step = 0; step < STEPS; step++) {
        now_ms += rng_below(&rng, 8);
        uint32_t which = (uint32_t)rng_below(&rng, COUNT);
        if (rng_below(&rng, 2) == 0 && ports[which].taken) {
            ports[which].taken = false;
            ports[which].rests = rng_below(&rng, 2) == 0;
            ports[which].since_ms = now_ms;
            port_queue_return(&queue, (uint16_t)(FIRST + which), ports[which].rests, now_ms);
            continue;
        }
        uint16_t port = take(now_ms);
        uint64_t oldest_ms = UINT64_MAX;
        for (uint32_t i = 0; i < COUNT; i++) {
            bool rested = !ports[i].rests || now_ms - ports[i].since_ms > PORT_REST_MS + 250;
            if (!ports[i].taken && rested && ports[i].since_ms < oldest_ms) {
                oldest_ms = ports[i].since_ms;
            }
        }
        cr_assert(port != 0 || oldest_ms == UINT64_MAX, "step %d: a port was free", step);
        if (port != 0) {
            which = (uint32_t)(port - FIRST);
            cr_assert(which < COUNT && !ports[which].taken, "step %d: port %u is taken", step, port);
            cr_assert(!ports[which].rests || now_ms - ports[which].since_ms > PORT_REST_MS);
            cr_assert(oldest_ms == UINT64_MAX || ports[which].since_ms < oldest_ms + 250,
                      "step %d: there was an older one", step);
            ports[which].taken = true;
        }
    }
    end();
}

/* The same in seconds, FIN_WAIT2 and what lives beside TIME_WAIT, around the wrap of the entries' clock. */
Test(port_queue, reuse_of_a_tuple)
{
    static const uint64_t ends[] = {100000, UINT32_MAX - 30000ull, (1ull << 32) + 500};
    const uint32_t two_msl_ms = 60000;

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct flow_entry entry = {.state = FLOW_TIME_WAIT, .expire_ms = (uint32_t)(ends[i] + two_msl_ms)};
        for (int way = 0; way < 6; way++) {
            enum port_reuse reuse = (enum port_reuse)(way % 3);
            bool timestamps = way >= 3;
            bool early = reuse == PORT_REUSE_KERNEL || (reuse == PORT_REUSE_TIMESTAMPS && timestamps);
            entry.flags = timestamps ? FLOW_TIMESTAMPS : 0;
            cr_expect_not(port_may_reuse(&entry, reuse, two_msl_ms, ends[i] + PORT_REST_MS), "way %d", way);
            cr_expect_eq(port_may_reuse(&entry, reuse, two_msl_ms, ends[i] + PORT_REST_MS + 1), early,
                         "way %d", way);
            cr_expect_eq(port_may_reuse(&entry, reuse, two_msl_ms, ends[i] + two_msl_ms - 1), early, "way %d",
                         way);
            cr_expect(port_may_reuse(&entry, reuse, two_msl_ms, ends[i] + two_msl_ms), "way %d", way);
        }
    }
    for (int state = FLOW_ACTIVE; state < FLOW_TIME_WAIT; state++) {
        struct flow_entry entry = {.state = (uint8_t)state, .flags = FLOW_TIMESTAMPS};
        cr_expect_not(port_may_reuse(&entry, PORT_REUSE_KERNEL, two_msl_ms, T0), "state %d", state);
    }
}
