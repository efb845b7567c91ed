/*
 * Streams: the splices a step asks for, and the pipes they go through.
 *
 * A pipe is lent to a direction as long as bytes are in it. What is in it is the truth, which a death cannot make
 * doubtful: between two commits there is at most one splice on a pipe, so at adoption
 *
 *     bytes in the pipe > queued_bytes    the splice into it was not recorded: the difference was received
 *     bytes in the pipe < queued_bytes    the splice out of it was not recorded: the difference was sent
 *
 * and no call has to be announced before it is made.
 *
 * Sockets are made non-blocking when they are first spliced, which io_uring's connect alone could not bear,
 * and stay so.
 */
#ifndef PENSTOCK_IO_STREAM_H
#define PENSTOCK_IO_STREAM_H

#include "io/worker.h"

/* Within a transaction: notes the splices a step asks for, and lends the pipe they need. */
void stream_prepare(struct worker *worker, struct session *session, uint32_t todo);

/* Between transactions: carries them out, each followed by the step it leads to, until nothing can be moved at once. */
void stream_run(struct worker *worker);

/* Takes back a pipe that a direction gave up with `bytes` in it. */

void stream_take_back(struct worker *worker, uint16_t pipe, uint32_t bytes);

/* Between transactions: throws away what is in pipes that were taken back. Before the commit it would be lost to the
 * step that is undone. */
void stream_empty(struct worker *worker);

/* After a death: a completion that is applied gives up `conn`'s pipe, PIPE_NONE: it does not; counts what the
 * last splice into it had brought. */
void stream_count(const struct worker *worker, struct conn *conn, uint16_t pipe, uint32_t bytes);

/* After a death: settles what a session's pipes hold. False where the record names a pipe that is not there or is
 * another's; `held` has one byte a pipe. */
bool stream_settle(struct worker *worker, struct session *session, uint8_t held[PIPE_COUNT]);

/* Makes the pipes nobody holds ready to be lent. */
void stream_rebuild(struct worker *worker, const uint8_t held[PIPE_COUNT]);

#endif
