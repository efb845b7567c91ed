/*
 * Value parsers. Pure.
 */
#include "config/value.h"
#include "config/report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {NULL, 0},
};

static const struct unit microsecond_units[] = {{"us", 1}, {"ms", 1000}, {NULL, 0}};

static const struct unit size_units[] = {
    {"KiB", 1024},
    {"MiB", 1024 * 1024},
    {"GiB", 1024 * 1024 * 1024},
    {NULL, 0},
};

__attribute__((format(printf, 2, 3))) static int refuse(struct config_why *why, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why->text, sizeof(why->text), format, arguments);
    va_end(arguments);
    return -EINVAL;
}

/* Reads the decimal digits `text` begins with; UINT64_MAX stands for that and all beyond. Returns what follows
 * them, or NULL where there is none or a needless zero comes first. */
static const char *digits_parse(const char *text, uint64_t *value)
{
    size_t digits = strspn(text, "0123456789");

    *value = 0;
    if (digits == 0 || (digits > 1 && text[0] == '0'))
        return NULL;
    for (size_t i = 0; i < digits; i++) {
        if (__builtin_mul_overflow(*value, 10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(text[i] - '0'), value)) {
            *value = UINT64_MAX;
            break;
        }
    }
    return text + digits;
}

static uint64_t units_multiply(uint64_t value, uint64_t factor)
{
    uint64_t product;

    return __builtin_mul_overflow(value, factor, &product) ? UINT64_MAX : product;
}

static const struct unit *units_find(const struct unit *units, const char *name)
{
    for (; units->name; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

int config_value_integer(const char *text, uint64_t min, uint64_t max, uint64_t *value,
                         struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    uint64_t number;
    const char *rest = digits_parse(text, &number);

    if (!rest || *rest != '\0')
        return refuse(why, "'%s' is not a whole number; write one from %" PRIu64 " to %" PRIu64,
                      config_quote(quote, text), min, max);
    if (number < min || number > max)
        return refuse(why, "%s is out of range; write a whole number from %" PRIu64 " to %" PRIu64,
                      config_quote(quote, text), min, max);
    *value = number;
    return 0;
}

int config_value_duration(const char *text, uint32_t *milliseconds, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    uint64_t number;
    const struct unit *unit;
    const char *rest;

    if (strcmp(text, "0") == 0 || strcmp(text, "off") == 0) {
        *milliseconds = 0;
        return 0;
    }
    config_quote(quote, text);
    rest = digits_parse(text, &number);
    if (!rest)
        return refuse(why,
                      "'%s' is not a duration; write a whole number with ms, s, m, h or d, as in 30s, or off",
                      quote);
    if (*rest == '\0')
        return refuse(why, "'%s' has no unit; write it with ms, s, m, h or d, as in %.12ss", quote, text);
    unit = units_find(duration_units, rest);
    if (!unit)
        return refuse(
            why, "'%s' is not a duration; write one whole number and one unit of ms, s, m, h or d, as in 90s",
            quote);
    number = units_multiply(number, unit->factor);
    if (number > CONFIG_DURATION_MAX_MS)
        return refuse(why, "%s is too long; write at most 49d, or off for no limit", quote);
    *milliseconds = (uint32_t)number;
    return 0;
}

int config_value_duration_within(const char *text, uint32_t min_ms, uint32_t max_ms, uint32_t *milliseconds,
                                 struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    uint32_t duration_ms = 0;

    if (config_value_duration(text, &duration_ms, why) < 0)
        return -EINVAL;
    if (duration_ms < min_ms || duration_ms > max_ms)
        return refuse(why, "%s is out of range; write a duration from %" PRIu32 "s to %" PRIu32 "s",
                      config_quote(quote, text), min_ms / 1000, max_ms / 1000);
    *milliseconds = duration_ms;
    return 0;
}

int config_value_microseconds(const char *text, uint32_t max_us, uint32_t *microseconds,
                              struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    uint64_t number;
    const struct unit *unit;
    const char *rest;

    if (strcmp(text, "0") == 0 || strcmp(text, "off") == 0) {
        *microseconds = 0;
        return 0;
    }
    config_quote(quote, text);
    rest = digits_parse(text, &number);
    unit = rest ? units_find(microsecond_units, rest) : NULL;
    if (rest && *rest == '\0')
        return refuse(why, "'%s' has no unit; write it with us or ms, as in 100us", quote);
    if (!unit && !(rest && units_find(duration_units, rest)))
        return refuse(why, "'%s' is not a duration; write a whole number with us or ms, as in 100us, or off",
                      quote);
    number = unit ? units_multiply(number, unit->factor) : UINT64_MAX; /* all other units are too large */
    if (number > max_us)
        return refuse(why, "%s is too long; write at most %" PRIu32 "ms, or off", quote, max_us / 1000);
    *microseconds = (uint32_t)number;
    return 0;
}

/* Writes a size as a person would. Returns `text`. */
static const char *size_format(uint64_t bytes, char *text, size_t size)
{
    const struct unit *unit = &size_units[2];

    while (unit > size_units && (bytes == 0 || bytes % unit->factor != 0))
        unit--;
    snprintf(text, size, "%" PRIu64 "%s", bytes / unit->factor, unit->name);
    return text;
}

int config_value_size(const char *text, uint64_t min, uint64_t max, uint64_t *bytes, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX], least[32], most[32];
    uint64_t number;
    const struct unit *unit;
    const char *rest = digits_parse(text, &number);

    config_quote(quote, text);
    if (!rest)
        return refuse(why, "'%s' is not a size; write a whole number with KiB, MiB or GiB, as in 256MiB",
                      quote);
    if (*rest == '\0')
        return refuse(why, "'%s' has no unit; write it with KiB, MiB or GiB, as in 256MiB", quote);
    unit = units_find(size_units, rest);
    if (!unit)
        return refuse(
            why, "'%s' is not a size; write one whole number and one unit of KiB, MiB or GiB, as in 256MiB",
            quote);
    number = units_multiply(number, unit->factor);
    if (number < min || number > max)
        return refuse(why, "%s is out of range; write a size from %s to %s", quote,
                      size_format(min, least, sizeof(least)), size_format(max, most, sizeof(most)));
    *bytes = number;
    return 0;
}

int config_value_boolean(const char *text, bool *value, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];

    if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
        return refuse(why, "'%s' is neither true nor false; write one of them", config_quote(quote, text));
    *value = text[0] == 't';
    return 0;
}

/* Writes the supported words as "a, b or c". */
static const char *choices_format(const struct config_choice *choices, char *text, size_t size)
{
    const char *before = NULL;
    size_t length = 0;

    text[0] = '\0';
    for (const struct config_choice *choice = choices;; choice++) {
        if (choice->name && choice->value == CONFIG_CHOICE_UNSUPPORTED)
            continue;
        if (before && length < size)
            length += (size_t)snprintf(text + length, size - length, "%s%s",
                                       length == 0 ? "" : (choice->name ? ", " : " or "), before);
        before = choice->name;
        if (!choice->name)
            return text;
    }
}

int config_value_choice(const char *text, const struct config_choice *choices, uint32_t *value,
                        struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX], words[128];

    config_quote(quote, text);
    for (const struct config_choice *choice = choices; choice->name; choice++) {
        if (strcmp(choice->name, text) != 0)
            continue;
        if (choice->value == CONFIG_CHOICE_UNSUPPORTED)
            return refuse(why, "'%s' is not supported by this version; write %s", quote,
                          choices_format(choices, words, sizeof(words)));
        *value = (uint32_t)choice->value;
        return 0;
    }
    return refuse(why, "'%s' is not known; write %s", quote, choices_format(choices, words, sizeof(words)));
}

int config_value_name(const char *text, char *name, size_t size, struct config_why *why)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    char quote[CONFIG_QUOTE_MAX];
    size_t length = strlen(text);

    config_quote(quote, text);
    if (length == 0)
        return refuse(why, "'' is not a name; write letters, digits and any of '_.-'");
    if (length >= size)
        return refuse(why, "'%s' is too long; a name has at most %zu characters", quote, size - 1);
    if (strspn(text, allowed) != length)
        return refuse(why, "'%s' is not a name; write letters, digits and any of '_.-' only", quote);
    if (text[0] == '.' || text[0] == '-')
        return refuse(why, "'%s' is not a name; begin it with a letter, a digit or '_'", quote);
    memcpy(name, text, length + 1);
    return 0;
}

int config_value_congestion(const char *text, char *name, size_t size, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    size_t length = strlen(text);

    config_quote(quote, text);
    if (length == 0 || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length)
        return refuse(
            why, "'%s' is not a congestion control; write small letters, digits, '_' and '-', as in cubic",
            quote);
    if (length >= size)
        return refuse(why, "'%s' is too long; a congestion control has at most %zu characters", quote,
                      size - 1);
    memcpy(name, text, length + 1);
    return 0;
}

int config_value_interface(const char *text, char *name, size_t size, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    size_t length = strlen(text);

    config_quote(quote, text);
    if (length == 0 || strcmp(text, ".") == 0 || strcmp(text, "..") == 0 ||
        strcspn(text, "/: \t\r\n\v\f") != length)
        return refuse(why, "'%s' is not an interface; write its name without '/', ':' and blanks, as in eth0",
                      quote);
    if (length >= size)
        return refuse(why, "'%s' is too long; an interface has at most %zu bytes", quote, size - 1);
    memcpy(name, text, length + 1);
    return 0;
}

/* Copies a path that begins as it should. */
static int path_copy(const char *text, char *path, size_t size, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    size_t length = strlen(text);

    config_quote(quote, text);
    if (length >= size)
        return refuse(why, "'%s' is too long; a path has at most %zu bytes", quote, size - 1);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return refuse(why, "'%s' has a control character; write a plain path", quote);
    memcpy(path, text, length + 1);
    return 0;
}

int config_value_directory(const char *text, char *path, size_t size, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    size_t length = strlen(text);

    config_quote(quote, text);
    if (text[0] != '/')
        return refuse(why, "'%s' is not an absolute path; write for example /sys/fs/cgroup/penstock", quote);
    if (text[length - 1] == '/')
        return refuse(why, "'%s' ends with '/'; leave that out, as in /sys/fs/cgroup/penstock", quote);
    return path_copy(text, path, size, why);
}

int config_value_path(const char *text, char *path, size_t size, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    size_t length = strlen(text);

    config_quote(quote, text);
    if (text[0] != '/')
        return refuse(why, "'%s' is not an absolute path; write for example /var/log/penstock/access.log",
                      quote);
    if (text[length - 1] == '/')
        return refuse(
            why, "'%s' is a directory; write the path of a file, as in /var/log/penstock/access.log", quote);
    return path_copy(text, path, size, why);
}

int config_value_ports(const char *text, uint16_t *low, uint16_t *high, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    uint64_t numbers[2] = {0, 0};
    const char *rest = digits_parse(text, &numbers[0]);

    if (rest && *rest == '-')
        rest = digits_parse(rest + 1, &numbers[1]);
    else
        rest = NULL;
    if (!rest || *rest != '\0' || numbers[0] < 1 || numbers[0] > UINT16_MAX || numbers[1] < 1 ||
        numbers[1] > UINT16_MAX)
        return refuse(why, "'%s' is no range of ports; write two numbers from 1 to 65535, as in 20000-60999",
                      config_quote(quote, text));
    if (numbers[0] > numbers[1])
        return refuse(why, "'%s' has its lowest port last; write %" PRIu64 "-%" PRIu64,
                      config_quote(quote, text), numbers[1], numbers[0]);
    *low = (uint16_t)numbers[0];
    *high = (uint16_t)numbers[1];
    return 0;
}

int config_value_ip(const char *text, struct image_address *address, struct config_why *why)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct image_address parsed = {.family = ENDPOINT_V4};
    char quote[CONFIG_QUOTE_MAX];

    if (inet_pton(AF_INET, text, parsed.bytes) != 1) {
        parsed.family = ENDPOINT_V6;
        if (inet_pton(AF_INET6, text, parsed.bytes) != 1)
            return refuse(why, "'%s' is no address; write one without a port, as in 192.0.2.1 or 2001:db8::1",
                          config_quote(quote, text));
        if (memcmp(parsed.bytes, mapped, sizeof(mapped)) == 0)
            return refuse(why,
                          "'%s' is an IPv4 address in IPv6 form; write the IPv4 address, as in 192.0.2.1",
                          config_quote(quote, text));
    }
    *address = parsed;
    return 0;
}

int config_value_address(const char *text, struct endpoint *endpoint, struct config_why *why)
{
    char quote[CONFIG_QUOTE_MAX];
    struct endpoint parsed;
    const char *reason;

    if (endpoint_parse(&parsed, text, &reason) < 0)
        return refuse(why, "'%s' %s", config_quote(quote, text), reason);
    *endpoint = parsed;
    return 0;
}
