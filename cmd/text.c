#include "cmd/text.h"

#include <inttypes.h>
#include <stdio.h>

const char *text_bytes(char text[TEXT_NUMBER_MAX], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    int unit = 0;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(text, TEXT_NUMBER_MAX, "%.*f %s", unit > 0 ? 1 : 0, value, units[unit]);
    return text;
}

const char *text_duration(char text[TEXT_NUMBER_MAX], uint64_t ms)
{
    uint64_t seconds = ms / 1000;

    if (ms < 1000) {
        snprintf(text, TEXT_NUMBER_MAX, "%" PRIu64 "ms", ms);
    } else if (seconds < 60) {
        snprintf(text, TEXT_NUMBER_MAX, "%" PRIu64 "s", seconds);
    } else if (seconds < 3600) {
        snprintf(text, TEXT_NUMBER_MAX, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
    } else if (seconds < 86400) {
        snprintf(text, TEXT_NUMBER_MAX, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    } else {
        snprintf(text, TEXT_NUMBER_MAX, "%" PRIu64 "d%02" PRIu64 "h", seconds / 86400, seconds / 3600 % 24);
    }
    return text;
}

const char *text_time(char text[TEXT_NUMBER_MAX], uint64_t us)
{
    if (us >= 1000000) {
        return text_duration(text, us / 1000);
    }
    if (us < 1000) {
        snprintf(text, TEXT_NUMBER_MAX, "%" PRIu64 "us", us);
    } else {
        snprintf(text, TEXT_NUMBER_MAX, "%.*fms", us < 10000 ? 1 : 0, (double)us / 1000);
    }
    return text;
}
