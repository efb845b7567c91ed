/*
 * Figures as text and as JSON. Output errors are left to the caller's ferror.
 */
#include "bench/report.h"

#include <stdlib.h>
#include <string.h>

static struct report_field *add(struct report *report, const char *key, enum report_unit unit)
{
    if (report->count == REPORT_MAX)
        abort();
    struct report_field *field = &report->fields[report->count++];
    memset(field, 0, sizeof(*field));
    field->key = key;
    field->unit = unit;
    return field;
}

void report_init(struct report *report)
{
    report->count = 0;
}

void report_add_count(struct report *report, const char *key, enum report_unit unit, uint64_t value)
{
    struct report_field *field = add(report, key, unit);
    field->count = value;
    field->real = -1;
}

void report_add_real(struct report *report, const char *key, enum report_unit unit, double value)
{
    add(report, key, unit)->real = value;
}

void report_add_text(struct report *report, const char *key, const char *text)
{
    add(report, key, REPORT_TEXT)->text = text;
}

void report_add_bool(struct report *report, const char *key, bool value)
{
    add(report, key, REPORT_BOOL)->count = value;
}

void report_hide_last(struct report *report)
{
    report->fields[report->count - 1].json_only = true;
}

void report_print_json(const struct report *report, FILE *out)
{
    for (unsigned i = 0; i < report->count; i++) {
        const struct report_field *field = &report->fields[i];
        fprintf(out, "%s\"%s\": ", i == 0 ? "{" : ", ", field->key);
        if (field->unit == REPORT_TEXT)
            fprintf(out, "\"%s\"", field->text);
        else if (field->unit == REPORT_BOOL)
            fputs(field->count ? "true" : "false", out);
        else if (field->real < 0)
            fprintf(out, "%llu", (unsigned long long)field->count);
        else
            fprintf(out, "%.3f", field->real);
    }
    fputs("}\n", out);
    fflush(out);
}

void report_format_bytes(double bytes, char *text, size_t size)
{
    static const char *const prefixes[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned i = 0;
    for (; bytes >= 1024 && i < 4; i++)
        bytes /= 1024;
    snprintf(text, size, i == 0 ? "%.0f %s" : "%.2f %s", bytes, prefixes[i]);
}

/* Microseconds in the unit that suits them. */
static void format_time(double us, char *text, size_t size)
{
    if (us < 10000)
        snprintf(text, size, "%.1f us", us);
    else if (us < 10000000)
        snprintf(text, size, "%.1f ms", us / 1000);
    else
        snprintf(text, size, "%.2f s", us / 1000000);
}

static void format_value(const struct report_field *field, char *text, size_t size)
{
    double value = field->real < 0 ? (double)field->count : field->real;
    char bytes[32];

    switch (field->unit) {
    case REPORT_TEXT:
        snprintf(text, size, "%s", field->text);
        break;
    case REPORT_BOOL:
        snprintf(text, size, "%s", field->count ? "yes" : "no");
        break;
    case REPORT_COUNT:
        snprintf(text, size, "%.0f", value);
        break;
    case REPORT_BYTES:
    case REPORT_BYTES_PER_S:
        report_format_bytes(value, bytes, sizeof(bytes));
        snprintf(text, size, "%s%s", bytes, field->unit == REPORT_BYTES ? "" : "/s");
        break;
    case REPORT_PER_S:
        snprintf(text, size, "%.1f /s", value);
        break;
    case REPORT_US:
        format_time(value, text, size);
        break;
    case REPORT_MS:
        format_time(value * 1000, text, size);
        break;
    case REPORT_S:
        snprintf(text, size, "%.3f s", value);
        break;
    }
}

/* "latency_p50_us" becomes "latency p50": the text form shows the unit with the value. */
static void format_label(const struct report_field *field, char *label, size_t size)
{
    static const char *const suffixes[] = {[REPORT_US] = "_us",
                                           [REPORT_MS] = "_ms",
                                           [REPORT_S] = "_s",
                                           [REPORT_BOOL] = NULL /* the last: sizes the table */};
    const char *suffix = suffixes[field->unit];
    size_t length = strlen(field->key);

    if (suffix != NULL && length > strlen(suffix) &&
        strcmp(field->key + length - strlen(suffix), suffix) == 0)
        length -= strlen(suffix);
    snprintf(label, size, "%.*s", (int)length, field->key);
    for (char *p = label; *p != '\0'; p++)
        if (*p == '_')
            *p = ' ';
}

void report_print_text(const struct report *report, FILE *out)
{
    for (unsigned i = 0; i < report->count; i++) {
        const struct report_field *field = &report->fields[i];
        char label[64], value[64];
        if (field->json_only)
            continue;
        format_label(field, label, sizeof(label));
        format_value(field, value, sizeof(value));
        fprintf(out, "%-26s %18s\n", label, value);
    }
    fflush(out);
}
