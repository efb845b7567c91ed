/*
 * Sends to a side of a session: what of the chain is sent, and how.
 *
 * Where the side's listener or pool asks for it, large sends are zero-copy: the kernel reads the very buffers until the
 * peer has acknowledged them, and says so by a second completion, the notice (core/lent.h). A notice never
 * comes out of a dead worker's ring. What it was about stays lent until its socket has nothing to send any
 * more.
 */
#ifndef PENSTOCK_IO_SEND_H
#define PENSTOCK_IO_SEND_H

#include "io/worker.h"

/* Submits a send of the other side's chain, of which there must be something unsent. */
void send_submit(struct worker *worker, struct session *session, enum side to, struct ring_tag tag);

/* Counts the last completion of a zero-copy send, before its step: the notice, or an error without one. */
void send_ended(struct worker *worker, const struct session *session,
                const struct ring_completion *completion);

/* When to look whether the kernel has let go of what a death left lent: soon, and ever more rarely while nothing moves.
 * UINT64_MAX: nothing is. */
uint64_t send_look_ms(const struct worker *worker, const struct session *session);

/* Looks, and takes back. The session may end of it. */
void send_look(struct worker *worker, uint32_t index);

#endif
