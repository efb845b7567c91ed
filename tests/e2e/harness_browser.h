/*
 * Chromium without a screen, with one page, told what to do over a pipe (Chrome DevTools Protocol).
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_BROWSER_H
#define PENSTOCK_TESTS_E2E_HARNESS_BROWSER_H

#include <stdbool.h>
#include <stdint.h>

/* Starts it; where there is none the test is skipped. */
void browser_start(void);

/* Closes it and waits for its end. */
void browser_stop(void);

/* Carries out a method on the page; `params` is a JSON object. The result as JSON, until the next call. */
const char *browser_call(const char *method, const char *params);

void browser_open(const char *url);

/* Values of JavaScript in the page. It must do without double quotes and backslashes. */
uint64_t browser_number(const char *expression);
bool browser_is(const char *expression);

/* What the console said that was an error or a warning, all of it: "" if nothing. */
const char *browser_complaints(void);

#endif
