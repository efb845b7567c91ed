/* Which hook the responder is attached to. */
#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <unistd.h>

#include "core/session.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_owned.h"

TestSuite(time_wait_attach, .init = lab_begin, .fini = lab_fini, .timeout = 60);

static int interface_of(const char *name)
{
    return (int)if_nametoindex(name);
}

static void expect_tcx(const char *interface)
{
    int link = time_wait_attach(time_wait_responder(owned.time_wait),
                                time_wait_native_responder(owned.time_wait), interface_of(interface));

    cr_assert_geq(link, 0);
    cr_expect_eq(time_wait_attached(link), TIME_WAIT_TCX);
    close(link);
}

static void load(void)
{
    struct time_wait_shape shape = owned_shape();

    owned_load(&shape);
}

static void end(void)
{
    time_wait_destroy(owned.time_wait);
    bed_end();
}

Test(time_wait_attach, is_tcx_where_there_is_no_card)
{
    load();
    expect_tcx("lo");
    expect_tcx(LAB_INTERFACE);
    end();
}

Test(time_wait_attach, may_be_native_where_the_driver_can)
{
    load();
    int link = time_wait_attach_to(TIME_WAIT_XDP, time_wait_native_responder(owned.time_wait),
                                   interface_of(LAB_INTERFACE));
    cr_assert_geq(link, 0);
    cr_expect_eq(time_wait_attached(link), TIME_WAIT_XDP);
    cr_expect_eq(bpf_link_update(link, time_wait_native_responder(owned.time_wait), NULL), 0);
    cr_expect_eq(time_wait_attach_to(TIME_WAIT_XDP, time_wait_native_responder(owned.time_wait),
                                     interface_of(LAB_INTERFACE)),
                 -EBUSY, "another's program stays");
    cr_expect_lt(
        time_wait_attach_to(TIME_WAIT_XDP, time_wait_native_responder(owned.time_wait), interface_of("lo")),
        0, "the loopback interface has no XDP of its own");
    close(link);
    end();
}

/* The kernel resets what it does not know, but for what is owned. */
static void expect_held_back(bool ipv6)
{
    struct lab_peer peer = {.ipv6 = ipv6, .port = 5000, .server_port = 443, .snd_nxt = 1000, .rcv_nxt = 2000};
    struct lab_segment segment = lab_segment(&peer, LAB_ACK, 0);
    struct flow_key key = owned_key(&peer);
    uint64_t held_back = owned_counters().resets_held_back;
    uint32_t intent = FLOW_NONE;

    cr_expect_eq(lab_ask(&peer, &segment).flags, LAB_RST);
    uint32_t index = owned_claim(&key);
    flow_table_time_wait(&owned.table, index, OWNED_SLOT, bed_now_ms(), &intent);
    cr_expect_not(lab_ask(&peer, &segment).there);
    cr_expect_eq(owned_counters().resets_held_back, held_back + 1);
}

static void expect_guarded(void)
{
    load();
    int link =
        time_wait_attach_to(TIME_WAIT_TCX_OUT, time_wait_guard(owned.time_wait), interface_of(LAB_INTERFACE));
    cr_assert_geq(link, 0);
    expect_held_back(false);
    expect_held_back(true);
    close(link);
    end();
}

Test(time_wait_attach, of_the_guard_holds_back_resets)
{
    expect_guarded();
}

Test(time_wait_attach, of_the_guard_holds_back_resets_of_bare_packets)
{
    lab_go_bare();
    expect_guarded();
}

Test(time_wait_attach, fails_where_the_interface_has_gone)
{
    load();
    cr_expect_eq(time_wait_attach(time_wait_responder(owned.time_wait),
                                  time_wait_native_responder(owned.time_wait), 0x7fffffff),
                 -ENODEV);
    end();
}
