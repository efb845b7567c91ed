/*
 * The services of the origin, one file each; see struct origin_service.
 */
#ifndef PENSTOCK_BENCH_ORIGIN_SERVICE_H
#define PENSTOCK_BENCH_ORIGIN_SERVICE_H

#include "bench/origin_server.h"

/* origin_detect.c: reads the first bytes and hands over. */
extern const struct origin_service origin_service_auto;
extern const struct origin_service origin_service_header; /* only the stream protocol is accepted */

extern const struct origin_service origin_service_echo;
extern const struct origin_service origin_service_http;
extern const struct origin_service origin_service_stream;
extern const struct origin_service origin_service_exchange; /* pingpong and connect-request */

/* origin_flow.c: the one-sided ones. */
extern const struct origin_service origin_service_endless;
extern const struct origin_service origin_service_sink;
extern const struct origin_service origin_service_close;
extern const struct origin_service origin_service_reset;
extern const struct origin_service origin_service_silent;

/* The service named by --mode, or NULL. */
const struct origin_service *origin_service_find(const char *name);

#endif
