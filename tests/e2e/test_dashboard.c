/* The dashboard in a real browser: it shows what is there, follows what happens, and complains about nothing. */
#include <signal.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_browser.h"
#include "tests/e2e/harness_net.h"
#include "tests/e2e/harness_penstock.h"
#include "tests/e2e/harness_tools.h"

BED_SUITE(dashboard, 120);

enum { PHONE_WIDTH = 360 };

#define TEXT_OF(selector)     "document.querySelector('" selector "').textContent"
#define LISTENER_CELL(number) TEXT_OF("#listeners tbody td:nth-child(" #number ")")

static void open_dashboard(uint16_t server_port)
{
    uint16_t port = bed_reserve_port("127.0.0.1");

    browser_start();
    penstock_start(&(struct penstock_config){
        .servers = bed_format("127.0.0.1:%u", server_port),
        .more = bed_format("watchdog: off\nexporter: { listen: 127.0.0.1:%u }\n", port),
    });
    browser_open(bed_format("http://127.0.0.1:%u/", port));
    WAIT_UNTIL(browser_is("document.body.dataset.mood == 'good'"));
}

static void close_dashboard(void)
{
    cr_expect_str_eq(browser_complaints(), "");
    browser_stop();
    bed_end();
}

static bool mood_is(const char *mood)
{
    return browser_is(bed_format("document.body.dataset.mood == '%s'", mood));
}

/* What a row of the table of ended sessions counts; 0: there is no such row. */
static uint64_t closes_shown(const char *reason)
{
    return browser_number(bed_format("Number([...document.querySelectorAll('#closes tbody tr')]"
                                     ".find((row) => row.cells[0].textContent == '%s')?.cells[2].textContent "
                                     "?? 0)",
                                     reason));
}

Test(dashboard, shows_what_there_is)
{
    static const char *const charts[] = {"sessions", "accepts", "up", "down"};
    static const char *const meters[] = {"sessions", "buffers", "flows"};

    open_dashboard(bed_reserve_port("127.0.0.1"));
    for (int i = 0; i < 4; i++) {
        WAIT_UNTIL(browser_is(
            bed_format("document.querySelector('#chart-%s path.trace').getTotalLength() > 0", charts[i])));
    }
    for (int i = 0; i < 3; i++) {
        cr_expect(browser_is(bed_format(TEXT_OF("#meter-%s output") ".includes(' of ')", meters[i])));
    }
    cr_expect(browser_is(bed_format(TEXT_OF("#name") " == '%s'", bed.name)));
    cr_expect(browser_is(TEXT_OF("#workers") " == '2 of 2'"));
    cr_expect(browser_is(TEXT_OF("#verdict") " == 'All is well'"));
    cr_expect_eq(browser_number("document.querySelectorAll('#worker-rows tbody tr').length"), 2);
    cr_expect_eq(browser_number("document.querySelectorAll('#servers tbody tr').length"), 1);
    cr_expect_eq(browser_number("document.querySelectorAll('#listeners tbody tr').length"), 1);
    cr_expect_eq(browser_number("document.querySelectorAll('#flow-rows tbody tr').length"), 4);
    cr_expect(browser_is(TEXT_OF("#time-wait-mode") ".startsWith('kept by ')"));
    cr_expect(browser_is(TEXT_OF("#sweep") ".startsWith('To be swept: 0.')"));
    cr_expect(browser_is(TEXT_OF("#worker-rows tbody td:nth-child(3)") ".endsWith(' %')"));
    cr_expect(browser_is(LISTENER_CELL(4) ".includes(' of ')"), "the accept queue");
    cr_expect(browser_is(LISTENER_CELL(6) " == '\u2013'"), "nothing was timed");
    cr_expect(browser_is(TEXT_OF("#biggest tbody") " == 'none'"));
    cr_expect(browser_is(TEXT_OF("#slowest tbody") " == 'none'"));
    cr_expect(browser_is(TEXT_OF("#oldest tbody") " == 'none'"));
    cr_expect(browser_is(TEXT_OF("#events tbody") " == 'none yet'"));
    cr_expect(browser_is("document.getElementById('notes').hidden"));
    cr_expect(browser_is("performance.getEntriesByType('resource')"
                         ".every((from) => new URL(from.name).origin == location.origin)"));
    close_dashboard();
}

Test(dashboard, follows_what_happens)
{
    struct origin origin = origin_start("auto");

    open_dashboard(origin.port);
    struct bed_process load = load_start("idle --connections 30 --touch --verify --seconds 4");
    WAIT_UNTIL(browser_is(TEXT_OF("#chart-sessions b") " == '30'"));
    WAIT_UNTIL(browser_is("Number(" TEXT_OF("#chart-accepts b") ") > 0"));
    WAIT_UNTIL(browser_is(TEXT_OF("#servers tbody td:nth-child(4)") " == '30'"));
    WAIT_UNTIL(browser_is("Number(" TEXT_OF("#servers tbody td:nth-child(8)") ") >= 30"));
    WAIT_UNTIL(browser_is(TEXT_OF("#servers tbody td:nth-child(11)") ".endsWith('s')"));
    WAIT_UNTIL(browser_is(LISTENER_CELL(7) ".endsWith('s')"));
    pid_t worker = penstock_worker(1);
    cr_assert_eq(kill(worker, SIGKILL), 0);
    WAIT_UNTIL(browser_is(TEXT_OF("#notes") ".includes('Workers died')"));
    cr_expect(mood_is("warn"));
    cr_expect(browser_is(TEXT_OF("#events tbody") ".includes('worker 1 died')"));
    WAIT_UNTIL(browser_number("document.querySelectorAll('#biggest tbody tr').length") == 8);
    cr_expect(browser_is(TEXT_OF("#oldest tbody td:nth-child(4)") " == 'open'"));
    (void)load_finish(&load);
    WAIT_UNTIL(browser_is(TEXT_OF("#chart-sessions b") " == '0'"));
    WAIT_UNTIL(closes_shown("client closed") == 30);
    WAIT_UNTIL(browser_is(LISTENER_CELL(9) ".endsWith('s')"));

    worker = penstock_worker(0);
    cr_assert_eq(kill(worker, SIGSTOP), 0);
    WAIT_UNTIL(mood_is("bad"));
    cr_expect(browser_is(TEXT_OF("#detail") ".includes('worker 0 hangs')"));
    cr_expect_eq(browser_number("document.querySelectorAll('#worker-rows tr.bad').length"), 1);
    cr_assert_eq(kill(worker, SIGCONT), 0);
    WAIT_UNTIL(!mood_is("bad"));

    const char *server = bed_format("app/127.0.0.1:%u", origin.port);
    const char *argv[] = {bed_penstock_path(), "server", "-n", bed.name, server, "drain", NULL};
    struct bed_process process;
    cr_assert_eq(bed_run(argv, &process), 0, "%s", bed_read_file(process.err));
    WAIT_UNTIL(browser_is(TEXT_OF("#servers tbody td:nth-child(3)") " == 'drain'"));
    cr_expect(browser_is(bed_format(TEXT_OF("#events tbody") ".includes('server %s: drain')", server)));
    cr_expect(browser_is(TEXT_OF("#events tbody") ".includes('every worker serves again')"));
    (void)browser_call("Page.reload", "{}");
    WAIT_UNTIL(browser_is("document.querySelector('#events tbody')?.textContent"
                          ".includes('worker 1 was replaced; deaths in all: 1') == true"));
    close_dashboard();
}

Test(dashboard, finds_slow_readers)
{
    struct origin origin = origin_start("auto");

    open_dashboard(origin.port);
    struct bed_process load =
        load_start("slow --connections 2 --read-rate 0 --receive-buffer 8192 --seconds 4");
    WAIT_UNTIL(browser_number("document.querySelectorAll('#slowest tbody tr').length") == 2);
    WAIT_UNTIL(browser_is("!" TEXT_OF("#slowest tbody td:nth-child(9)") ".startsWith('0')"));
    (void)load_finish(&load);
    WAIT_UNTIL(browser_is(TEXT_OF("#slowest tbody") " == 'none'"));
    close_dashboard();
}

/* From here on answers have this in place of what the instance says of TIME_WAIT; members of `status.time_wait`. */
static void pretend(const char *members)
{
    cr_assert(browser_is(bed_format(
        "(() => { window.asked = window.asked || window.fetch; window.fetch = async (path, how) => {"
        " const answer = await window.asked(path, how);"
        " if (path != '/api/status') return answer;"
        " const status = await answer.json();"
        " Object.assign(status.time_wait, { %s });"
        " return new Response(JSON.stringify(status)); }; return true; })()",
        members)));
}

#define KEEPER(text) browser_is(TEXT_OF("#time-wait-mode") " == '" text "'")

Test(dashboard, tells_who_keeps_time_wait)
{
    open_dashboard(bed_reserve_port("127.0.0.1"));
    pretend("mode: 'kernel', why: 'CAP_BPF is missing'");
    WAIT_UNTIL(KEEPER("kept by the kernel: CAP_BPF is missing"));
    cr_expect(browser_is(TEXT_OF("#time-wait tbody") " == 'nothing yet'"));
    cr_expect(mood_is("good"));
    pretend("mode: 'owned', why: '', two_msl_ms: 60000, interfaces: 3, kernel_destroyed: 7,"
            " counters: { published: 1234, insert_failures: 0, acks_suppressed: 5 },"
            " sweep: { rounds: 3, freed: 99, round_ms: 120, expired: 4, lag_ms: 10 }");
    WAIT_UNTIL(KEEPER("kept by Penstock, 2MSL 1 min 0 s, 3 interfaces"));
    cr_expect_eq(browser_number("document.querySelectorAll('#time-wait tbody tr').length"), 4);
    cr_expect(browser_is(TEXT_OF("#time-wait tbody tr:nth-child(1)") " == 'published1,2341,234'"));
    cr_expect(browser_is(TEXT_OF("#time-wait tbody tr:nth-child(2)") " == 'acks suppressed55'"));
    cr_expect(browser_is(TEXT_OF("#sweep") " == 'To be swept: 4. The last round took 120 ms.'"));
    cr_expect(browser_is(TEXT_OF("#events tbody") ".includes('TIME_WAIT is kept by Penstock')"));
    pretend("counters: { insert_failures: 2 }");
    WAIT_UNTIL(browser_is(TEXT_OF("#notes") ".includes('2 connections found no place')"));
    cr_expect(mood_is("warn"));
    close_dashboard();
}

/* Red, green and blue, added: 0 is black, 765 white. */
static uint64_t brightness(const char *property)
{
    return browser_number(bed_format("getComputedStyle(document.body).%s.match(/[0-9]+/g).slice(0, 3)"
                                     ".reduce((sum, part) => sum + Number(part), 0)",
                                     property));
}

static void prefer(const char *scheme)
{
    (void)browser_call(
        "Emulation.setEmulatedMedia",
        bed_format("{\"features\":[{\"name\":\"prefers-color-scheme\",\"value\":\"%s\"}]}", scheme));
}

Test(dashboard, is_readable_by_day_and_by_night)
{
    open_dashboard(bed_reserve_port("127.0.0.1"));
    prefer("light");
    cr_expect_gt(brightness("backgroundColor"), 600);
    cr_expect_lt(brightness("color"), 200);
    prefer("dark");
    cr_expect_lt(brightness("backgroundColor"), 200);
    cr_expect_gt(brightness("color"), 600);
    close_dashboard();
}

/* Tables may be scrolled by themselves. */
Test(dashboard, fits_a_phone)
{
    uint16_t server_port;
    int listener = net_listen(&server_port, 10);

    open_dashboard(server_port);
    struct net_pair pair = net_pair(listener);
    (void)browser_call(
        "Emulation.setDeviceMetricsOverride",
        bed_format("{\"width\":%d,\"height\":740,\"deviceScaleFactor\":2,\"mobile\":true}", PHONE_WIDTH));
    WAIT_UNTIL(browser_is(TEXT_OF("#chart-sessions b") " == '1'"));
    cr_expect_eq(browser_number("window.innerWidth"), PHONE_WIDTH, "wider than the screen");
    cr_expect_eq(browser_number("document.documentElement.scrollWidth"), PHONE_WIDTH);
    cr_expect(browser_is("[...document.querySelectorAll('figure, .meter, .scroll, h1, dl')].every((part) => "
                         "{ const box = part.getBoundingClientRect();"
                         " return box.width > 0 && box.left >= 0 && box.right <= window.innerWidth; })"));
    net_pass(pair.client, pair.server, "hello");
    close_dashboard();
}
