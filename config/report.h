/*
 * What is wrong with a configuration: a bounded list of mistakes with their places, kept in the order of the file.
 *
 * One line of it reads `FILE:LINE:COLUMN: what is wrong; what would be right`; lines and columns count from 1, columns
 * in characters. A mistake that has no place (the file cannot be read, a default does not fit) has line 0 and reads
 * `FILE: what is wrong`. Plain memory of its owner, without pointers; nothing is to be released.
 */
#ifndef PENSTOCK_CONFIG_REPORT_H
#define PENSTOCK_CONFIG_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    CONFIG_REPORT_MAX = 50, /* mistakes kept: the first of the file */
    CONFIG_MESSAGE_MAX = 320,
    CONFIG_FILE_MAX = 256,
    CONFIG_LINE_MAX = CONFIG_FILE_MAX + CONFIG_MESSAGE_MAX + 32,
    CONFIG_QUOTE_MAX = 64,
};

struct config_place {
    uint32_t line, column; /* from 1; line 0: no place */
};

struct config_mistake {
    struct config_place place;
    char message[CONFIG_MESSAGE_MAX];
};

struct config_report {
    char file[CONFIG_FILE_MAX];
    uint32_t count; /* of `mistakes`, by place; mistakes of one place as they were found */
    uint32_t more;  /* left out because the list was full */
    struct config_mistake mistakes[CONFIG_REPORT_MAX];
};

void config_report_init(struct config_report *report, const char *file);

/* Adds a mistake. Control characters in the message become '?'; what is too long is cut. */
__attribute__((format(printf, 3, 4))) void config_report_add(struct config_report *report,
                                                             struct config_place place, const char *format,
                                                             ...);

/* Writes mistake `index` as one line without its end into `text` of `size` bytes (CONFIG_LINE_MAX is enough).
 * Returns `text`. */
const char *config_report_line(const struct config_report *report, uint32_t index, char *text, size_t size);

/* Prints all, a line each, and `FILE: and N more` where some were left out. */
void config_report_print(const struct config_report *report, FILE *out);

/* Copies `text` into `quote`, shortened with "..." at a character's border where it is long. Returns `quote`. */
const char *config_quote(char quote[CONFIG_QUOTE_MAX], const char *text);

#endif
