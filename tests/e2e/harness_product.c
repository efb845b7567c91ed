#include "tests/e2e/harness_product.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/leftover.h"
#include "io/time_wait.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/harness_lab.h"
#include "tests/e2e/harness_net.h"

static int listener;
static uint16_t server_port;
static pid_t lingerer; /* once it was seen */

static void mount_over(const char *type, const char *where)
{
    cr_assert_eq(mount("none", where, type, 0, NULL), 0, "%s at %s: %s", type, where, strerror(errno));
}

void product_begin(void)
{
    lab_begin();
    mount_over("bpf", "/sys/fs/bpf");
    mount_over("tmpfs", "/run");
    (void)lab_cgroup();
    lingerer = 0;
    listener = net_listen(&server_port, 1024);
    bed.port = bed_reserve_port(LAB_SERVER);
}

void product_fini(void)
{
    lab_fini();
}

int product_listener(void)
{
    return listener;
}

bool product_enter_cgroup(void)
{
    lab_enter_cgroup(true);
    return true;
}

void product_configure(struct penstock_config *config, const char *time_wait)
{
    if (config->bind == NULL) {
        config->bind = bed_format("'" LAB_SERVER ":%u', '[" LAB_SERVER6 "]:%u', '127.0.0.1:%u'", bed.port,
                                  bed.port, bed.port);
    }
    if (config->servers == NULL) {
        config->servers = bed_format("127.0.0.1:%u", server_port);
    }
    if (config->limits == NULL) {
        config->limits = PRODUCT_LIMITS;
    }
    config->more = bed_format("time_wait: { %s }\n%s", time_wait != NULL ? time_wait : "mode: auto",
                              config->more != NULL ? config->more : "");
    penstock_configure(config);
}

void product_start(const char *time_wait)
{
    struct penstock_config config = {.before_exec = product_enter_cgroup};

    product_configure(&config, time_wait);
    penstock_start(&config);
}

void product_own(const char *time_wait)
{
    char why[TIME_WAIT_WHY_MAX];
    struct time_wait *programs = time_wait_create(&(struct time_wait_shape){.groups = 1}, why);

    if (programs == NULL) {
        cr_skip("%s", why);
    }
    time_wait_destroy(programs);
    product_start(time_wait);
    cr_assert(strstr(penstock_log(), "event=time_wait mode=owned") != NULL, "%s", penstock_log());
}

int product_command(const char *command, const char *option, const char **said)
{
    struct bed_process process;
    const char *argv[] = {bed_penstock_path(), command, "-n", bed.name, option, NULL};
    int result = bed_run(argv, &process);

    if (said != NULL) {
        *said = bed_format("%s%s", bed_read_file(process.out), bed_read_file(process.err));
    }
    return result;
}

const char *product_pins(void)
{
    static char pins[REGION_PINS_MAX];

    leftover_pins(pins, bed.name);
    return pins;
}

pid_t product_lingerer(void)
{
    lingerer = bed_child_named(getpid(), "time_wait"); /* an orphan is ours */
    return lingerer;
}

void product_stop(const char *option)
{
    const char *said;

    cr_assert_eq(product_command("stop", option, &said), 0, "%s", said);
    cr_assert_eq(bed_wait(bed.penstock), 0, "%s", penstock_log());
    bed.penstock = 0;
}

static bool is_cgroup_empty(void)
{
    return *bed_read_file(bed_format("%s/cgroup.procs", lab_cgroup_path())) == '\0';
}

void product_kill_all(void)
{
    bed_write_file(bed_format("%s/cgroup.kill", lab_cgroup_path()), "1");
    bed_wait(bed.penstock);
    bed.penstock = 0;
    WAIT_UNTIL(is_cgroup_empty());
}

static bool has_ended(pid_t pid)
{
    return pid == 0 || waitpid(pid, NULL, WNOHANG) == pid || kill(pid, 0) != 0;
}

void product_expect_gone(void)
{
    WAIT_UNTIL(has_ended(lingerer) && is_cgroup_empty());
    cr_assert_neq(access(product_pins(), F_OK), 0, "%s is left over", product_pins());
    cr_assert_neq(access(bed_format("/run/penstock/%s.pid", bed.name), F_OK), 0);
}
