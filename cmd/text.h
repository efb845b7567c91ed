/*
 * Numbers as people read them.
 */
#ifndef PENSTOCK_CMD_TEXT_H
#define PENSTOCK_CMD_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum { TEXT_NUMBER_MAX = 24 }; /* bytes of any of these with its NUL */

/* "17 B", "1.5 MiB". Returns `text`. */
const char *text_bytes(char text[TEXT_NUMBER_MAX], uint64_t bytes);

/* "250ms", "59s", "3m07s", "5h12m", "4d03h". Returns `text`. */
const char *text_duration(char text[TEXT_NUMBER_MAX], uint64_t ms);

/* "250us", "1.5ms", "20ms", then as a duration. Returns `text`. */
const char *text_time(char text[TEXT_NUMBER_MAX], uint64_t us);

#endif
