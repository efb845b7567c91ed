#include "tests/e2e/harness_crowd.h"

#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_lab.h"

enum { ORIGINS = 2, LOADS = 2 };

/* Clients' addresses, so many that hardly one comes from the same port within seconds. */
#define SOURCES "10.9.2.1-10.9.2.64"
#define ROUTE   "10.9.2.0/24"

static struct origin origins[ORIGINS];
static struct bed_process loads[LOADS];

static struct origin start_origin(const char *host, const char *host_text)
{
    return origin_start_at("auto", bed_format("%s:%u", host_text, bed_reserve_port(host)));
}

void crowd_begin(void)
{
    lab_enter_peer();
    lab_sysctl("net/ipv4/tcp_max_tw_buckets", 0);
    bed_write_file("/proc/sys/net/ipv4/ip_local_port_range", "10000 60000");
    lab_ip("route add local " ROUTE " dev lo");
    lab_use_all_cpus();
    origins[0] = start_origin(LAB_KERNEL_PEER, LAB_KERNEL_PEER);
    origins[1] = start_origin(LAB_KERNEL_PEER6, "[" LAB_KERNEL_PEER6 "]");
    lab_enter_server();
}

const char *crowd_servers(void)
{
    return bed_format("'" LAB_KERNEL_PEER ":%u', '[" LAB_KERNEL_PEER6 "]:%u'", origins[0].port,
                      origins[1].port);
}

void crowd_start(unsigned sessions)
{
    const char *ways[LOADS] = {
        bed_format(LAB_SERVER ":%u --source-range " SOURCES " --close-first origin", bed.port),
        bed_format("[" LAB_SERVER6 "]:%u --close-first client", bed.port),
    };

    lab_enter_peer();
    for (int i = 0; i < LOADS; i++) {
        loads[i] = load_start(
            bed_format("connect --connections 24 --count %u --connect %s", sessions / LOADS, ways[i]));
    }
    lab_enter_server();
}

bool crowd_is_done(void)
{
    return bed_has_ended(loads[0].pid) && bed_has_ended(loads[1].pid);
}

void crowd_finish(struct load_totals *totals)
{
    for (int i = 0; i < LOADS; i++) {
        load_totals_add(totals, load_finish(&loads[i]));
    }
}

void crowd_end(void)
{
    for (int i = 0; i < ORIGINS; i++) {
        const char *figures = origin_stop(&origins[i]);
        cr_expect_eq(json_number(figures, "resets"), 0, "%s", figures);
    }
}
