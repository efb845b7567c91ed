/*
 * A strict reader of metrics, in Prometheus' text format and in OpenMetrics: what a scraper would refuse
 * fails the test.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_METRICS_H
#define PENSTOCK_TESTS_E2E_HARNESS_METRICS_H

#include <stdbool.h>

/* Reads all of `text`: every family has HELP, TYPE and then its samples, once; every series stands once; counters are
 * called _total; OpenMetrics ends with # EOF. The number of series. */
unsigned metrics_parse(const char *text, bool openmetrics);

/* The value of a series, written as it stands in the text, with its labels. The test fails where there is none. */
double metrics_value(const char *text, const char *series);

#endif
