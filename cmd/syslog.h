/*
 * Lines to syslog, by the socket that syslog(3) writes to and in its form (RFC 3164, facility daemon,
 * severity info), but without ever waiting for who reads it, and with errors told.
 */
#ifndef PENSTOCK_CMD_SYSLOG_H
#define PENSTOCK_CMD_SYSLOG_H

#include <stddef.h>

/* A socket connected to the one at `path`, or -errno. */
int syslog_connect(const char *path);

/* Sends `length` bytes as one message. 0; -EAGAIN where the reader is behind, the socket gets writable once
 * it is not; or another -errno: the reader is gone. */
int syslog_send(int fd, const char *line, size_t length);

#endif
