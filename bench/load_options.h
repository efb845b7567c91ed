/*
 * The command line of load.
 */
#ifndef PENSTOCK_BENCH_LOAD_OPTIONS_H
#define PENSTOCK_BENCH_LOAD_OPTIONS_H

#include "bench/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_CONNECTIONS_MAX 1000000

enum load_direction { LOAD_UP = 1, LOAD_DOWN = 2, LOAD_BOTH = 3 };

struct load_options {
    const char *mode;
    struct address connect;
    bool connect_set;
    struct address_range sources;
    uint64_t connections;
    uint64_t run_ms;
    bool run_set;
    uint64_t count; /* 0: as many as the time allows */
    uint64_t request_bytes;
    uint64_t response_bytes;
    bool response_set;
    bool size_set;
    uint64_t max_bytes;
    uint64_t read_rate; /* bytes/s of each connection */
    uint64_t pause_ms;  /* between an answer and the next request */
    uint64_t open_rate; /* connections/s, 0: as fast as they open */
    uint64_t receive_buffer;
    uint64_t slow_readers; /* percent, as the next three */
    uint64_t slow_origin;
    uint64_t early_fin;
    uint64_t late_fin;
    uint64_t seed;
    bool seed_set;
    uint64_t finish_ms;
    uint64_t report_ms; /* 0: no progress lines */
    uint64_t phase_fd;  /* told when the clock starts and stops; 0: none */
    enum load_direction direction;
    bool json;
    bool touch;
    bool verify;
    bool origin_closes;
};

/* 0, 1 if only help was wanted, or -EINVAL after having said on stderr what is wrong. */
int load_options_parse(struct load_options *options, int argc, char **argv);

#endif
