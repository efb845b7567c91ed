/*
 * Connections of the hand-made peer through Penstock that are in TIME_WAIT: whether it still answers.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_WAITING_H
#define PENSTOCK_TESTS_E2E_HARNESS_WAITING_H

#include "tests/e2e/harness_conversation.h"

/* Members of `time_wait`. The kernel keeps none: who is answered is answered by an entry. */
#define NO_BUCKETS "tcp_max_tw_buckets: 0"

/* A connection through the Penstock of harness_product.h, alive; leads its end toward the client to TIME_WAIT. */
struct conversation waiting_connect(bool ipv6);
void waiting_close(struct conversation *conversation);

/* Both. */
struct conversation waiting_begin(bool ipv6);
struct conversation waiting_begin_with(bool ipv6, bool timestamps);

/* The peer's FIN comes again. */
struct lab_answer waiting_ask(const struct conversation *conversation);

/* The same, and is acknowledged as it must be, by the responder. */
void waiting_expect_answer(const struct conversation *conversation);

#endif
