/*
 * The modes of load, one file each; see struct load_mode.
 */
#ifndef PENSTOCK_BENCH_LOAD_MODE_H
#define PENSTOCK_BENCH_LOAD_MODE_H

#include "bench/load_run.h"

extern const struct load_mode load_mode_pingpong;
extern const struct load_mode load_mode_connect;
extern const struct load_mode load_mode_bulk;
extern const struct load_mode load_mode_idle;
extern const struct load_mode load_mode_streams;
extern const struct load_mode load_mode_slow;

#endif
