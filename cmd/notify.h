/*
 * What a service manager is told: sd_notify(3)'s protocol, one datagram of VARIABLE=VALUE lines to $NOTIFY_SOCKET.
 *
 * Spoken by the supervisor. Without the variable nobody listens and every call does nothing.
 */
#ifndef PENSTOCK_CMD_NOTIFY_H
#define PENSTOCK_CMD_NOTIFY_H

void notify_ready(void);
void notify_reloading(void); /* notify_ready() ends it */
void notify_stopping(void);

/* One line for people: `systemctl status`. */
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* That the supervisor is alive: WatchdogSec. */
void notify_watchdog(void);

#endif
