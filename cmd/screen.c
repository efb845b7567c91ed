#include "cmd/screen.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "io/clock.h"

enum { LINE_BYTES = 512, ROWS_DEFAULT = 24, COLUMNS_DEFAULT = 80 };

/* Another screen, no cursor; and back: xterm's control sequences. */
static const char enter[] = "\x1b[?1049h\x1b[?25l";
static const char leave[] = "\x1b[0m\x1b[?25h\x1b[?1049l";

static struct termios before;
static volatile sig_atomic_t entered;
static unsigned width, height, lines; /* of the picture being drawn */
static const char *colour_code = "";
static volatile sig_atomic_t ended;

static void on_signal(int signal)
{
    ended = signal != SIGWINCH ? 1 : ended;
}

/* The program is broken: only what signal-safety(7) allows, then the end it would have had. */
static void on_fault(int signal)
{
    if (entered) {
        entered = 0;
        (void)!write(STDOUT_FILENO, leave, sizeof(leave) - 1);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
    raise(signal); /* SA_RESETHAND: it comes when the handler returns, and ends the process */
}

void screen_watch_signals(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGWINCH};
    static const int faults[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP};
    struct sigaction end = {.sa_handler = on_signal};
    struct sigaction fault = {.sa_handler = on_fault, .sa_flags = SA_RESETHAND};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        sigaction(ends[i], &end, NULL);
    }
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        sigaction(faults[i], &fault, NULL);
    }
}

bool screen_ended(void)
{
    return ended != 0;
}

bool screen_enter(void)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0) {
        return false;
    }
    struct termios now = before;
    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    now.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped, it would leave the terminal as it is */
    entered = 1;
    atexit(screen_leave);
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    fputs(enter, stdout);
    fflush(stdout);
    return true;
}

void screen_leave(void)
{
    if (!entered) {
        return;
    }
    entered = 0;
    fputs(leave, stdout);
    fflush(stdout);
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

void screen_size(unsigned *rows, unsigned *columns)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;

    *rows = known ? size.ws_row : ROWS_DEFAULT;
    *columns = known ? size.ws_col : COLUMNS_DEFAULT;
}

void screen_begin(void)
{
    screen_size(&height, &width);
    lines = 0;
    fputs("\x1b[H", stdout);
}

void screen_line(const char *format, ...)
{
    char text[LINE_BYTES];
    va_list arguments;

    if (lines >= height) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    printf("%s%s%.*s\x1b[0m\x1b[K", lines > 0 ? "\n" : "", colour_code, (int)width, text);
    lines++;
}

void screen_set_colour(enum screen_colour colour)
{
    static const char *const codes[] = {
        [SCREEN_PLAIN] = "",       [SCREEN_GOOD] = "\x1b[32m", [SCREEN_WARN] = "\x1b[33m",
        [SCREEN_BAD] = "\x1b[31m", [SCREEN_HEAD] = "\x1b[7m",
    };
    const char *unwanted = getenv("NO_COLOR");

    colour_code = unwanted == NULL || unwanted[0] == '\0' ? codes[colour] : "";
}

void screen_done(void)
{
    fputs("\x1b[J", stdout);
    fflush(stdout);
}

char screen_wait(uint64_t until_us)
{
    struct pollfd input = {.fd = entered ? STDIN_FILENO : -1, .events = POLLIN};
    uint64_t now_us = clock_now_us();
    int wait_ms = until_us > now_us ? (int)((until_us - now_us + 999) / 1000) : 0;
    char key = 0;

    if (ended || poll(&input, 1, wait_ms) <= 0) {
        return 0;
    }
    if (read(STDIN_FILENO, &key, 1) != 1) {
        ended = 1; /* the terminal is gone */
    }
    return key;
}
