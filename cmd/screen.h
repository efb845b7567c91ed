/*
 * The terminal of `penstock top`: the whole screen by plain ANSI sequences, put back however the program
 * ends, but by SIGKILL.
 */
#ifndef PENSTOCK_CMD_SCREEN_H
#define PENSTOCK_CMD_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the terminal, where standard input and output are one. False where they are not; nothing has changed then. */
bool screen_enter(void);

/* Puts the terminal back; also done at exit. */
void screen_leave(void);

/* Rows and columns of the terminal, now. */
void screen_size(unsigned *rows, unsigned *columns);

/* Begins to draw at the top, over what was there; screen_line() ends each line, screen_done() the picture. */
void screen_begin(void);
void screen_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void screen_done(void);

/* Of the lines that follow; not where NO_COLOR is set (no-color.org). */
enum screen_colour { SCREEN_PLAIN, SCREEN_GOOD, SCREEN_WARN, SCREEN_BAD, SCREEN_HEAD };
void screen_set_colour(enum screen_colour colour);

/* Waits until `until_us` (CLOCK_MONOTONIC), a key, another size of the terminal, or an end. The key; 0: none. */
char screen_wait(uint64_t until_us);

/* Whether a signal asked for the end. Without a terminal too. */
bool screen_ended(void);

/* Notes signals that ask for the end; those of a fault put the terminal back first. */
void screen_watch_signals(void);

#endif
