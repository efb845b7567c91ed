/*
 * The report at the end of a run: the same figures for every mode, as text or JSON.
 */
#ifndef PENSTOCK_BENCH_LOAD_REPORT_H
#define PENSTOCK_BENCH_LOAD_REPORT_H

#include "bench/load_run.h"

void load_report_print(const struct load *load);

#endif
