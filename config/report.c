/*
 * The bounded, ordered list of mistakes. Pure but for config_report_print.
 */
#include "config/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

void config_report_init(struct config_report *report, const char *file)
{
    report->count = 0;
    report->more = 0;
    snprintf(report->file, sizeof(report->file), "%s", file);
}

/* Keeps a terminal safe from what a file says: C0, DEL and C1 (0xc2 0x80 to 0x9f) become '?'. */
static void control_characters_replace(char *text)
{
    for (unsigned char *byte = (unsigned char *)text; *byte; byte++) {
        if (*byte < 0x20 || *byte == 0x7f)
            *byte = '?';
        if (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] <= 0x9f)
            byte[0] = byte[1] = '?';
    }
}

static bool place_before(struct config_place a, struct config_place b)
{
    return a.line != b.line ? a.line < b.line : a.column < b.column;
}

void config_report_add(struct config_report *report, struct config_place place, const char *format, ...)
{
    uint32_t at = report->count;
    struct config_mistake *mistake;
    va_list arguments;

    while (at > 0 && place_before(place, report->mistakes[at - 1].place))
        at--;
    if (report->count == CONFIG_REPORT_MAX)
        report->more++;
    else
        report->count++;
    if (at == CONFIG_REPORT_MAX)
        return;
    mistake = &report->mistakes[at];
    memmove(mistake + 1, mistake, (report->count - at - 1) * sizeof(*mistake));
    mistake->place = place;
    va_start(arguments, format);
    vsnprintf(mistake->message, sizeof(mistake->message), format, arguments);
    va_end(arguments);
    control_characters_replace(mistake->message);
}

const char *config_report_line(const struct config_report *report, uint32_t index, char *text, size_t size)
{
    const struct config_mistake *mistake = &report->mistakes[index];

    if (mistake->place.line == 0)
        snprintf(text, size, "%s: %s", report->file, mistake->message);
    else
        snprintf(text, size, "%s:%" PRIu32 ":%" PRIu32 ": %s", report->file, mistake->place.line,
                 mistake->place.column, mistake->message);
    return text;
}

void config_report_print(const struct config_report *report, FILE *out)
{
    char line[CONFIG_LINE_MAX];

    for (uint32_t i = 0; i < report->count; i++)
        fprintf(out, "%s\n", config_report_line(report, i, line, sizeof(line)));
    if (report->more)
        fprintf(out, "%s: and %" PRIu32 " more\n", report->file, report->more);
}

const char *config_quote(char quote[CONFIG_QUOTE_MAX], const char *text)
{
    static const char dots[] = "...";
    size_t length = strlen(text);

    if (length < CONFIG_QUOTE_MAX)
        return memcpy(quote, text, length + 1);
    length = CONFIG_QUOTE_MAX - sizeof(dots);
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    memcpy(quote, text, length);
    memcpy(quote + length, dots, sizeof(dots));
    return quote;
}
