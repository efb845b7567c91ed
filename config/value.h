/*
 * The values of a configuration: numbers, durations, sizes, names, addresses from their text forms. Pure.
 *
 * Each returns 0, or -EINVAL and in `why` what is wrong and what would be right, beginning with the text in question;
 * the result is then untouched. `text` is NUL-terminated UTF-8.
 */
#ifndef PENSTOCK_CONFIG_VALUE_H
#define PENSTOCK_CONFIG_VALUE_H

#include "core/image.h"

enum {
    CONFIG_WHY_MAX = 256,
    CONFIG_CHOICE_UNSUPPORTED = -1,
};

/* 49 days: the longest that fits 32 bits of milliseconds in whole days. */
#define CONFIG_DURATION_MAX_MS (49u * 24 * 3600 * 1000)

struct config_why {
    char text[CONFIG_WHY_MAX];
};

/* One word of an enumeration; a list of them ends with a NULL name. */
struct config_choice {
    const char *name;
    int value; /* CONFIG_CHOICE_UNSUPPORTED: known, but refused by this version */
};

/* A whole decimal number from `min` to `max`, without sign, separators or leading zeros. */
int config_value_integer(const char *text, uint64_t min, uint64_t max, uint64_t *value,
                         struct config_why *why);

/* A whole number with ms, s, m, h or d, at most CONFIG_DURATION_MAX_MS; "0" and "off" are 0. */
int config_value_duration(const char *text, uint32_t *milliseconds, struct config_why *why);

/* A whole number with us or ms, at most `max_us`, which is of whole ms; "0" and "off" are 0. */
int config_value_microseconds(const char *text, uint32_t max_us, uint32_t *microseconds,
                              struct config_why *why);

/* A whole number with KiB, MiB or GiB that makes `min` to `max` bytes. */
int config_value_size(const char *text, uint64_t min, uint64_t max, uint64_t *bytes, struct config_why *why);

/* "true" or "false". */
int config_value_boolean(const char *text, bool *value, struct config_why *why);

int config_value_choice(const char *text, const struct config_choice *choices, uint32_t *value,
                        struct config_why *why);

/* 1 to `size` - 1 characters of [A-Za-z0-9_.-], the first none of ".-"; copied into `name`. */
int config_value_name(const char *text, char *name, size_t size, struct config_why *why);

/* A congestion control as the kernel names them: 1 to `size` - 1 characters of [a-z0-9_-]; copied into `name`. */
int config_value_congestion(const char *text, char *name, size_t size, struct config_why *why);

/* A duration of `min_ms` to `max_ms`, both of whole seconds. */
int config_value_duration_within(const char *text, uint32_t min_ms, uint32_t max_ms, uint32_t *milliseconds,
                                 struct config_why *why);

/* An interface as the kernel names them: 1 to `size` - 1 bytes, no '/', ':' or white space; copied into `name`. */
int config_value_interface(const char *text, char *name, size_t size, struct config_why *why);

/* An absolute path of a directory of less than `size` bytes, without '/' at its end; copied into `path`. */
int config_value_directory(const char *text, char *path, size_t size, struct config_why *why);

/* An absolute path of a file of less than `size` bytes; copied into `path`. */
int config_value_path(const char *text, char *path, size_t size, struct config_why *why);

/* "20000-60999": from 1 to 65535, the lower one first. */
int config_value_ports(const char *text, uint16_t *low, uint16_t *high, struct config_why *why);

/* An IPv4 or IPv6 address without a port: 192.0.2.1 or 2001:db8::1. */
int config_value_ip(const char *text, struct image_address *address, struct config_why *why);

int config_value_address(const char *text, struct endpoint *endpoint, struct config_why *why);

#endif
