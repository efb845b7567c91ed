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

static struct termios before;
static bool entered;
static unsigned width, height, lines; /* of the picture being drawn */
static volatile sig_atomic_t ended;

static void on_signal(int signal)
{
    ended = signal != SIGWINCH ? 1 : ended;
}

void screen_watch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGWINCH};
    struct sigaction action = {.sa_handler = on_signal};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
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
    entered = true;
    atexit(screen_leave);
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    fputs("\x1b[?1049h\x1b[?25l", stdout); /* another screen, no cursor: xterm's control sequences */
    fflush(stdout);
    return true;
}

void screen_leave(void)
{
    if (!entered) {
        return;
    }
    entered = false;
    fputs("\x1b[0m\x1b[?25h\x1b[?1049l", stdout);
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
    printf("%s%.*s\x1b[0m\x1b[K", lines > 0 ? "\n" : "", (int)width, text);
    lines++;
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
