/* What owning TIME_WAIT takes is not there: the kernel keeps it and Penstock says why, or Penstock does not start. */
#include <errno.h>
#include <linux/capability.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/time_wait.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_product.h"

TestSuite(fallback, .init = product_begin, .fini = product_fini, .timeout = 60);

enum { NOBODY = 65534 };

/* Where no program can be had at all there is another reason. */
static void need_programs(void)
{
    char why[TIME_WAIT_WHY_MAX];
    struct time_wait *programs = time_wait_create(&(struct time_wait_shape){.groups = 1}, why);

    if (programs == NULL) {
        cr_skip("%s", why);
    }
    time_wait_destroy(programs);
}

static void serve(void)
{
    struct net_pair pair = net_pair(product_listener());

    net_exchange(&pair);
    net_close(&pair);
}

/* Mode auto serves all the same, mode owned does not start, and nothing is left behind. */
static void expect_kernel(const char *why, const char *time_wait, bool (*before_exec)(void))
{
    struct penstock_config config = {.before_exec = before_exec};

    product_configure(&config, time_wait);
    penstock_start(&config);
    const char *line = strstr(penstock_log(), "event=time_wait mode=kernel");
    cr_assert_not_null(line, "%s", penstock_log());
    cr_expect(strstr(line, why) != NULL, "%s", line);
    cr_expect_neq(access(product_pins(), F_OK), 0);
    const char *status = strstr(penstock_status(), "\"time_wait\":{\"mode\":\"kernel\"");
    cr_assert_not_null(status);
    cr_expect(strstr(status, why) != NULL, "%s", status);
    serve();
    WAIT_UNTIL(penstock_number("flows.time_wait") == 1);
    product_stop(NULL);
    config.more = NULL;
    product_configure(&config, bed_format("mode: owned%s%s", time_wait != NULL ? ", " : "",
                                          time_wait != NULL ? time_wait : ""));
    struct bed_process process = penstock_spawn(bed_path("penstock.yaml"), before_exec);
    cr_expect_eq(bed_wait(process.pid), 1);
    const char *said = bed_read_file(process.err);
    cr_expect(strstr(said, why) != NULL, "%s", said);
    cr_expect(strstr(said, "event=ready") == NULL, "%s", said);
    product_expect_gone();
    bed_end();
}

Test(fallback, without_bpf_file_system)
{
    cr_assert_eq(mount("none", "/sys/fs/bpf", "tmpfs", 0, NULL), 0);
    need_programs();
    expect_kernel("no BPF file system is mounted", NULL, product_enter_cgroup);
}

Test(fallback, on_a_bpf_file_system_that_is_read_only)
{
    need_programs();
    cr_assert_eq(mount(NULL, "/sys/fs/bpf", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    expect_kernel("cannot be had: Read-only file system", NULL, product_enter_cgroup);
}

#define ALL_PINS "/sys/fs/bpf/penstock"

/* A BPF file system is open to all if nobody says otherwise. */
static void make_as_nobody(void)
{
    need_programs();
    cr_assert_eq(mkdir(ALL_PINS, S_IRWXU), 0);
    cr_assert_eq(chown(ALL_PINS, NOBODY, NOBODY), 0);
}

Test(fallback, where_pins_would_be_below_somebody_elses)
{
    make_as_nobody();
    expect_kernel("belongs to others", NULL, product_enter_cgroup);
}

Test(fallback, where_others_may_change_pins)
{
    need_programs();
    cr_assert_eq(mkdir(ALL_PINS, S_IRWXU), 0);
    cr_assert_eq(chmod(ALL_PINS, S_IRWXU | S_IRWXG | S_IRWXO), 0);
    expect_kernel("open to them", NULL, product_enter_cgroup);
}

/* A link in the place of the pins does not lead to the removal of something else. */
Test(fallback, follows_no_link)
{
    const char *kept = bed_path("kept");

    make_as_nobody();
    bed_write_file(kept, "kept");
    cr_assert_eq(symlink(bed.dir, product_pins()), 0, "%s", strerror(errno));
    product_start(NULL);
    cr_expect(strstr(penstock_log(), "event=time_wait mode=kernel") != NULL, "%s", penstock_log());
    product_stop("--now");
    cr_expect_str_eq(bed_read_file(kept), "kept");
    const char *said;
    (void)product_command("stop", "--now", &said);
    cr_expect_str_eq(bed_read_file(kept), "kept", "%s", said);
    bed_end();
}

/* Whatever the build has. */
Test(fallback, serves)
{
    cr_assert_eq(mount("none", "/sys/fs/bpf", "tmpfs", 0, NULL), 0);
    expect_kernel("", NULL, product_enter_cgroup);
}

static void unmount_cgroups(void)
{
    char point[PATH_BYTES];
    bool found = true;

    while (found) {
        size_t texts = bed_mark();
        const char *at = strstr(bed_read_file("/proc/self/mountinfo"), " - cgroup2 ");
        found = at != NULL;
        while (found && *at != '\n') {
            at--;
        }
        if (found) {
            cr_assert_eq(sscanf(at + 1, "%*d %*d %*s %*s %127s", point), 1);
            cr_assert_eq(umount2(point, MNT_DETACH), 0, "%s", point);
        }
        bed_release(texts);
    }
}

Test(fallback, without_cgroup2)
{
    need_programs();
    unmount_cgroups();
    expect_kernel("no cgroup2 file system is mounted", NULL, product_enter_cgroup);
}

Test(fallback, where_the_kernel_cannot_be_told_to_keep_none)
{
    static const char buckets[] = "/proc/sys/net/ipv4/tcp_max_tw_buckets";

    need_programs();
    cr_assert_eq(mount(buckets, buckets, NULL, MS_BIND, NULL), 0);
    cr_assert_eq(mount(NULL, buckets, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    expect_kernel("net.ipv4.tcp_max_tw_buckets cannot be set: Read-only file system", "tcp_max_tw_buckets: 0",
                  product_enter_cgroup);
}

Test(fallback, outside_of_the_cgroup)
{
    need_programs();
    expect_kernel("Penstock does not run in it", bed_format("cgroup: %s", lab_cgroup_path()), NULL);
}

Test(fallback, where_the_cgroup_is_none)
{
    need_programs();
    expect_kernel("it is no directory of a cgroup2 file system", bed_format("cgroup: %s", bed.dir),
                  product_enter_cgroup);
}

Test(fallback, on_an_interface_of_an_unknown_kind)
{
    need_programs();
    lab_add_tun("tun0", ARPHRD_INFINIBAND);
    expect_kernel(
        "interface tun0 is of a kind that cannot be answered at; time_wait.interfaces can name others", NULL,
        product_enter_cgroup);
}

Test(fallback, on_an_interface_that_is_not_there)
{
    need_programs();
    expect_kernel("interface none0", "interfaces: [ " LAB_INTERFACE ", none0 ]", product_enter_cgroup);
}

/* Named ones need not be all. */
Test(fallback, not_where_interfaces_are_named)
{
    need_programs();
    lab_add_tun("tun0", ARPHRD_INFINIBAND);
    product_own("interfaces: [ lo, " LAB_INTERFACE " ]");
    cr_assert(strstr(penstock_log(), "interfaces=2 ") != NULL, "%s", penstock_log());
    serve();
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

static bool without(int capability)
{
    return product_enter_cgroup() && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;
}

static bool without_net_admin(void)
{
    return without(CAP_NET_ADMIN);
}

/* CAP_SYS_ADMIN is as good as these two. */
static bool without_bpf(void)
{
    return without(CAP_BPF) && without(CAP_SYS_ADMIN);
}

static bool without_perfmon(void)
{
    return without(CAP_PERFMON) && without(CAP_SYS_ADMIN);
}

Test(fallback, without_cap_net_admin)
{
    need_programs();
    expect_kernel("CAP_NET_ADMIN is missing", NULL, without_net_admin);
}

Test(fallback, without_cap_bpf)
{
    need_programs();
    expect_kernel("CAP_BPF is missing", NULL, without_bpf);
}

Test(fallback, without_cap_perfmon)
{
    need_programs();
    expect_kernel("CAP_PERFMON is missing", NULL, without_perfmon);
}

static bool without_sys_admin(void)
{
    return without(CAP_SYS_ADMIN);
}

Test(fallback, not_without_cap_sys_admin)
{
    struct penstock_config config = {.before_exec = without_sys_admin};

    need_programs();
    product_configure(&config, NULL);
    penstock_start(&config);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
    serve();
    product_stop("--now");
    product_expect_gone();
    bed_end();
}

Test(fallback, is_what_is_asked_for)
{
    product_start("mode: kernel");
    cr_expect(strstr(penstock_log(), "event=time_wait mode=kernel why=\"time_wait.mode is kernel\"") != NULL,
              "%s", penstock_log());
    serve();
    product_stop(NULL);
    product_expect_gone();
    bed_end();
}
