/*
 * A list of named figures, printed as aligned text with units or as one JSON object: both from one place.
 * At most REPORT_MAX figures; more are a programmer's error and abort.
 */
#ifndef PENSTOCK_BENCH_REPORT_H
#define PENSTOCK_BENCH_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define REPORT_MAX 48

enum report_unit {
    REPORT_COUNT,
    REPORT_BYTES,
    REPORT_BYTES_PER_S,
    REPORT_PER_S,
    REPORT_US,
    REPORT_MS,
    REPORT_S,
    REPORT_TEXT,
    REPORT_BOOL,
};

struct report_field {
    const char *key; /* as in JSON; text shows it with blanks for underscores */
    const char *text;
    double real;
    uint64_t count;
    enum report_unit unit;
    bool json_only;
};

struct report {
    struct report_field fields[REPORT_MAX];
    unsigned count;
};

void report_init(struct report *report);
void report_add_count(struct report *report, const char *key, enum report_unit unit, uint64_t value);
void report_add_real(struct report *report, const char *key, enum report_unit unit, double value);

/* text must be free of characters that JSON escapes. */
void report_add_text(struct report *report, const char *key, const char *text);
void report_add_bool(struct report *report, const char *key, bool value);

/* Hides the figure added last from the text form. */
void report_hide_last(struct report *report);

void report_print_json(const struct report *report, FILE *out);
void report_print_text(const struct report *report, FILE *out);

/* "12.3 MiB": the number with a binary prefix. */
void report_format_bytes(double bytes, char *text, size_t size);

#endif
