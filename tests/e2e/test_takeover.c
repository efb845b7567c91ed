/* Those who take over: a keeper for another's worker, a supervisor for another's keepers. */
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

BED_SUITE(takeover, 90);

static void exchange(const struct net_pair *pair)
{
    net_write_text(pair->client, "question");
    net_read_text(pair->server, "question");
    net_write_text(pair->server, "answer");
    net_read_text(pair->client, "answer");
}

static bool without_ptrace(void)
{
    return prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) == 0;
}

/* As in most containers: the worker serves on and one line says what is missing. */
Test(takeover, of_a_worker_that_may_not_be_copied)
{
    uint16_t port;
    int listener = net_listen(&port, 64);

    if (geteuid() != 0) {
        cr_skip("workers of the same user may be copied");
    }
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", port), .workers = 1, .before_exec = without_ptrace});
    struct net_pair pair = net_pair(listener);
    pid_t worker = penstock_worker(0);
    cr_assert_eq(kill(penstock_keeper(0), SIGKILL), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=keeper_missing slot=0") != NULL);
    cr_assert(strstr(penstock_log(), "CAP_SYS_PTRACE") != NULL);
    exchange(&pair);
    struct net_pair new = net_pair(listener);
    exchange(&new);
    cr_assert_eq(penstock_worker(0), worker);
    cr_assert_eq(kill(worker, SIGKILL), 0);
    WAIT_UNTIL(strstr(penstock_log(), "event=slot_lost slot=0") != NULL);
    struct net_pair newer = net_pair(listener);
    exchange(&newer);
    bed_end();
}
