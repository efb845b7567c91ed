/*
 * Request and response over one connection, as pingpong, connect and idle use it: the stream protocol's
 * header goes before the first request, and every byte of every answer is checked by position.
 */
#ifndef PENSTOCK_BENCH_LOAD_EXCHANGE_H
#define PENSTOCK_BENCH_LOAD_EXCHANGE_H

#include "bench/load_run.h"
#include "bench/stream.h"

struct exchange {
    struct stream_header header;
    uint64_t up; /* bytes sent, with the header */
    uint64_t up_goal;
    uint64_t down;
    uint64_t down_goal;
    uint64_t begun_ns;
    bool busy;
};

/* kind is STREAM_KIND_PINGPONG or _REQUEST; the sizes come from the options. */
void exchange_init(struct exchange *exchange, struct load *load, enum stream_kind kind, uint32_t flags);

/* Begins one exchange and sends what the socket takes. 0 or an error; busy until exchange_drive returns 1. */
int exchange_begin(struct exchange *exchange, struct load_conn *conn);

/* Goes on after an event: 1 when the answer is complete, 0 if not yet, or an error. Without an exchange under
 * way any byte is a mismatch and a FIN is a short end. Watches what is needed; the connection is not closed
 * here. */
int exchange_drive(struct exchange *exchange, struct load_conn *conn);

#endif
