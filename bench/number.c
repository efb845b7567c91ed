/*
 * Numbers from the command line: strict, so that a slip of the hand is an error and not a surprise.
 */
#include "bench/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int number_parse(const char *text, uint64_t max, uint64_t *value)
{
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0)
        return -EINVAL;
    unsigned shift = 0;
    if (*end != '\0') {
        static const char letters[] = "KMG";
        const char *suffix = strchr(letters, toupper((unsigned char)*end));
        if (suffix == NULL || end[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(suffix - letters + 1);
    }
    if (number > max >> shift)
        return -EINVAL;
    *value = (uint64_t)number << shift;
    return 0;
}

int number_parse_seconds(const char *text, uint64_t *value_ms)
{
    uint64_t value = 0;
    unsigned decimals = 0;
    const char *p = text;

    for (; isdigit((unsigned char)*p) && value <= 8640000; p++)
        value = value * 10 + (uint64_t)(*p - '0');
    if (p == text || value > 8640000)
        return -EINVAL;
    if (*p == '.') {
        for (p++; isdigit((unsigned char)*p) && decimals < 3; p++, decimals++)
            value = value * 10 + (uint64_t)(*p - '0');
    }
    if (*p != '\0')
        return -EINVAL;
    for (; decimals < 3; decimals++)
        value *= 10;
    *value_ms = value;
    return 0;
}
