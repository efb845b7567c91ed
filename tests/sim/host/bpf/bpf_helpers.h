/*
 * What BPF programs know of libbpf, for programs that run as functions of the simulation: tests/sim/programs.c.
 */
#ifndef PENSTOCK_TESTS_SIM_HOST_BPF_HELPERS_H
#define PENSTOCK_TESTS_SIM_HOST_BPF_HELPERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/cdefs.h> /* __always_inline */

#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) value *name

void *bpf_map_lookup_elem(const void *map, const void *key);
uint64_t bpf_ktime_get_ns(void);
long bpf_ringbuf_output(const void *ring, const void *data, uint64_t size, uint64_t flags);

#endif
