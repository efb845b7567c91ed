/* What a service manager is told: sd_notify(3). */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"

static int manager;

static void begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 20};

    bed_begin();
    strncpy(address.sun_path, bed_path("notify.sock"), sizeof(address.sun_path) - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
}

TestSuite(notify, .init = begin, .fini = bed_fini, .timeout = 60);

/* The next message that begins with `what`; the status and watchdog lines that come every second are passed over. */
static const char *expect(const char *what)
{
    static char text[512];

    do {
        ssize_t got = recv(manager, text, sizeof(text) - 1, 0);
        cr_assert_gt(got, 0, "no %s", what);
        text[got] = '\0';
        bool idle = strncmp(text, "STATUS=", 7) == 0 || strcmp(text, "WATCHDOG=1") == 0;
        cr_assert(idle || strncmp(text, what, strlen(what)) == 0, "%s instead of %s", text, what);
    } while (strncmp(text, what, strlen(what)) != 0);
    return text;
}

Test(notify, ready_reloading_stopping)
{
    penstock_start_to(1);
    cr_assert_str_eq(expect("READY=1"), bed_format("READY=1\nMAINPID=%d", bed.penstock));
    expect("WATCHDOG=1");
    cr_assert(strstr(expect("STATUS="), "serving; 2 workers, 0 sessions") != NULL);
    cr_assert_eq(penstock_reload(), 0);
    cr_assert(strstr(expect("RELOADING=1"), "\nMONOTONIC_USEC=") != NULL);
    expect("READY=1");
    cr_assert_eq(kill(bed.penstock, SIGTERM), 0);
    expect("STOPPING=1");
    cr_assert_eq(bed_wait(bed.penstock), 0);
    bed.penstock = 0;
    bed_end();
}

Test(notify, a_refused_reload_ends_too)
{
    penstock_start_to(1);
    expect("READY=1");
    bed_write_file(bed_path("penstock.yaml"), "name: [\n");
    cr_assert_eq(kill(bed.penstock, SIGHUP), 0);
    expect("RELOADING=1");
    expect("READY=1");
    bed_end();
}
