#include "cmd/exporter/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cmd/exporter/http.h"
#include "cmd/sandbox.h"
#include "io/log.h"
#include "shm/image_box.h"

enum {
    FD_LISTEN = 3,
    NICE = 10, /* traffic goes first */
};

static _Noreturn void die(const char *what, int error)
{
    log_line(LOG_LEVEL_ERROR, "event=exporter_failed what=\"%s\" error=\"%s\"", what, strerror(error));
    _exit(EXIT_FAILURE);
}

/* What is sent to a whole group is the supervisor's business: it drains, and the exporter shows it. SIGKILL ends it;
 * there is nothing to finish. */
static void set_signals(void)
{
    sigset_t none;

    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Nobody would know it and its port would be taken. */
static void end_with_supervisor(uint32_t supervisor)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* after the change of user, which clears it */
    if ((uint32_t)getppid() != supervisor) {
        _exit(EXIT_FAILURE);
    }
}

void exporter_main(struct region *region, int fd, const struct identity *identity)
{
    static struct http http; /* large */

    log_init(image_box_current(region)->log_level, "exporter");
    (void)prctl(PR_SET_NAME, "exporter", 0, 0, 0);
    int result = region_confine_reader(region);
    if (result < 0) {
        die("opening the region read-only through /proc", -result);
    }
    /* Listening sockets of the data path held here too would keep accepting into nothing. The region is mapped. */
    if (fd != FD_LISTEN && dup2(fd, FD_LISTEN) < 0) {
        die("dup2", errno);
    }
    (void)close_range(FD_LISTEN + 1, ~0u, 0);
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    set_signals();
    result = privileges_drop(identity);
    if (result < 0) {
        die("dropping privileges", -result);
    }
    privileges_finish();
    end_with_supervisor(region->header->supervisor_pid);
    result = http_start(&http, region, FD_LISTEN);
    if (result < 0) {
        die("starting the HTTP server", -result);
    }
    result = sandbox_enter_exporter();
    if (result < 0) {
        log_line(LOG_LEVEL_WARNING, "event=no_sandbox error=\"%s\"", strerror(-result));
    }
    do {
        log_set_level(image_box_current(region)->log_level);
        result = http_turn(&http);
    } while (result == 0);
    die("serving HTTP", -result);
}
