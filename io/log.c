#include "io/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

static enum log_level threshold = LOG_LEVEL_INFO;
static const char *process_name = "penstock";

void log_init(enum log_level level, const char *process)
{
    threshold = level;
    process_name = process;
}

void log_set_level(enum log_level level)
{
    threshold = level;
}

void log_line(enum log_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    char line[LINE_MAX_BYTES];
    struct timespec now;
    struct tm utc;
    va_list arguments;

    if (level > threshold) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof(line) - used, ".%03ldZ level=%s process=%s ",
                             now.tv_nsec / 1000000, names[level], process_name);
    va_start(arguments, format);
    int written = vsnprintf(line + used, sizeof(line) - used - 1, format, arguments);
    va_end(arguments);
    if (written > 0) {
        used += (size_t)written;
    }
    if (used > sizeof(line) - 2) { /* cut short */
        used = sizeof(line) - 2;
    }
    line[used++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, used); /* nobody to tell if that fails */
    (void)ignored;
}
