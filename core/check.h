/*
 * CHECK: an assertion that is always on. A programmer's error kills the worker, which is then replaced and its
 * sessions adopted; going on with broken state is never better.
 */
#ifndef PENSTOCK_CORE_CHECK_H
#define PENSTOCK_CORE_CHECK_H

#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

/* Writes one line to standard error and aborts. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

#endif
