/*
 * The server's side of a session: choosing a server, its socket, its source port, its counters.
 *
 * Everything here runs inside the transaction of the event that asked for it.
 */
#ifndef PENSTOCK_IO_UPSTREAM_H
#define PENSTOCK_IO_UPSTREAM_H

#include "io/worker.h"

/* What the current image says of a session's times and retries; of its listener's pool where its own is gone. */
struct image_timeouts upstream_timeouts(const struct worker *worker, const struct session *session);
uint32_t upstream_retries(const struct worker *worker, const struct session *session);

/* Answers RELAY_DO_CHOOSE: takes a step with RELAY_CHOSEN or RELAY_NO_SERVER. */
void upstream_choose(struct worker *worker, struct session *session);

/* Submits the connect, from the source port that the session has or from another. Where there is none takes a step with
 * RELAY_NO_PORT. */
void upstream_connect(struct worker *worker, struct session *session, struct ring_tag tag);

/* The server's connection is established, `took_us` after connecting to it began: counts it and claims its
 * flow entry. */
void upstream_connected(struct worker *worker, struct session *session, uint64_t took_us);

/* The kernel finds the connect's source port taken. */
void upstream_refused(struct worker *worker, const struct session *session);

/* The server's connection was closed; its source port is free, at once or after TIME_WAIT. */
void upstream_ended(struct worker *worker, const struct session *session);

/* Counts a connect to the server of `row` that failed for good. */
void upstream_failed(struct worker *worker, uint16_t row);

/* Closes the socket of a failed connect. */
void upstream_drop(struct worker *worker, struct session *session);

/* The session no longer counts for its server. */
void upstream_leave(struct worker *worker, const struct session *session);

#endif
