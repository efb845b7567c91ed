#include "tests/e2e/harness_browser.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/harness.h"
#include "tests/e2e/harness_json.h"

#define CHROMIUM "/usr/bin/chromium"

enum { FD_IN = 3, FD_OUT = 4, MESSAGE_BYTES = 1024 * 1024, COMPLAINTS_BYTES = 16 * 1024 };

static struct browser {
    struct bed_process process;
    int to;
    int from;
    unsigned calls;
    char session[64]; /* "": the browser as a whole */
    char received[MESSAGE_BYTES];
    size_t used; /* of it */
    size_t done; /* the message handed out, at its beginning */
    char complaints[COMPLAINTS_BYTES];
} browser;

static int child_in, child_out;

/* Above the places that they take, one of which may be the other's. */
static bool take_pipes(void)
{
    int in = fcntl(child_in, F_DUPFD_CLOEXEC, FD_OUT + 1);
    int out = fcntl(child_out, F_DUPFD_CLOEXEC, FD_OUT + 1);

    return dup2(in, FD_IN) == FD_IN && dup2(out, FD_OUT) == FD_OUT;
}

/* The next message, which ends with a zero byte. */
static const char *next_message(void)
{
    struct pollfd poll_in = {.fd = browser.from, .events = POLLIN};
    const char *end;

    memmove(browser.received, browser.received + browser.done, browser.used - browser.done);
    browser.used -= browser.done;
    while ((end = memchr(browser.received, '\0', browser.used)) == NULL) {
        cr_assert_lt(browser.used, MESSAGE_BYTES);
        cr_assert_eq(poll(&poll_in, 1, WAIT_LIMIT_MS), 1, "Chromium does not answer: %s",
                     bed_read_file(browser.process.err));
        ssize_t got = read(browser.from, browser.received + browser.used, MESSAGE_BYTES - browser.used);
        cr_assert(got > 0, "Chromium has ended: %s", bed_read_file(browser.process.err));
        browser.used += (size_t)got;
    }
    browser.done = (size_t)(end - browser.received) + 1;
    return browser.received;
}

static bool is_text(const char *json, const char *path, const char *text)
{
    const char *value = json_find(json, path);

    return value != NULL && value[0] == '"' && strncmp(value + 1, text, strlen(text)) == 0 &&
           value[1 + strlen(text)] == '"';
}

static bool is_complaint(const char *message)
{
    return is_text(message, "method", "Runtime.exceptionThrown") ||
           (is_text(message, "method", "Runtime.consoleAPICalled") &&
            (is_text(message, "params.type", "error") || is_text(message, "params.type", "warning"))) ||
           (is_text(message, "method", "Log.entryAdded") &&
            (is_text(message, "params.entry.level", "error") ||
             is_text(message, "params.entry.level", "warning")));
}

static void note_event(const char *message)
{
    size_t used = strlen(browser.complaints);

    if (is_complaint(message)) {
        snprintf(browser.complaints + used, sizeof(browser.complaints) - used, "%.1000s\n", message);
    }
}

const char *browser_call(const char *method, const char *params)
{
    size_t texts = bed_mark();
    unsigned id = ++browser.calls;
    const char *session =
        browser.session[0] != '\0' ? bed_format(",\"sessionId\":\"%s\"", browser.session) : "";
    const char *text =
        bed_format("{\"id\":%u,\"method\":\"%s\",\"params\":%s%s}", id, method, params, session);
    const char *message;

    cr_assert_eq(write(browser.to, text, strlen(text) + 1), (ssize_t)strlen(text) + 1);
    while (message = next_message(), json_find(message, "id") == NULL || json_number(message, "id") != id) {
        note_event(message);
    }
    cr_assert_null(json_find(message, "error"), "%s: %s", text, message);
    bed_release(texts);
    return json_find(message, "result");
}

static void copy_text(char *to, size_t size, const char *json, const char *path)
{
    const char *value = json_find(json, path);

    cr_assert(value != NULL && value[0] == '"', "%s: %s", path, json);
    size_t length = strcspn(value + 1, "\"");
    cr_assert_lt(length, size);
    memcpy(to, value + 1, length);
    to[length] = '\0';
}

static void spawn(void)
{
    const char *argv[] = {
        CHROMIUM,
        "--headless",
        "--remote-debugging-pipe",
        bed_format("--user-data-dir=%s", bed_path("chromium")),
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-breakpad",
        geteuid() == 0 ? "--no-sandbox" : NULL, /* root has none */
        NULL,
    };
    int in[2], out[2];

    cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "%s", strerror(errno));
    child_in = in[0];
    child_out = out[1];
    browser = (struct browser){.to = in[1], .from = out[0]};
    browser.process = bed_spawn(argv, take_pipes);
    close(child_in);
    close(child_out);
}

void browser_start(void)
{
    char target[64];

    if (access(CHROMIUM, X_OK) != 0) {
        cr_skip("there is no " CHROMIUM);
    }
    spawn();
    copy_text(target, sizeof(target), browser_call("Target.createTarget", "{\"url\":\"about:blank\"}"),
              "targetId");
    const char *attached =
        browser_call("Target.attachToTarget", bed_format("{\"targetId\":\"%s\",\"flatten\":true}", target));
    copy_text(browser.session, sizeof(browser.session), attached, "sessionId");
    browser_call("Runtime.enable", "{}");
    browser_call("Log.enable", "{}");
    browser_call("Page.enable", "{}");
}

void browser_stop(void)
{
    browser_call("Browser.close", "{}");
    close(browser.to);
    close(browser.from);
    cr_expect_eq(bed_wait(browser.process.pid), 0, "%s", bed_read_file(browser.process.err));
}

void browser_open(const char *url)
{
    const char *result = browser_call("Page.navigate", bed_format("{\"url\":\"%s\"}", url));

    cr_assert_null(json_find(result, "errorText"), "%s: %s", url, result);
    WAIT_UNTIL(browser_is("document.readyState == 'complete'"));
}

uint64_t browser_number(const char *expression)
{
    cr_assert_null(strpbrk(expression, "\"\\"));
    const char *result = browser_call(
        "Runtime.evaluate", bed_format("{\"expression\":\"%s\",\"returnByValue\":true}", expression));
    cr_assert_null(json_find(result, "exceptionDetails"), "%s: %s", expression, result);
    return json_number(result, "result.value");
}

bool browser_is(const char *expression)
{
    return browser_number(bed_format("Boolean(%s)", expression)) == 1;
}

const char *browser_complaints(void)
{
    (void)browser_number("0"); /* reads what was said before */
    return browser.complaints;
}
