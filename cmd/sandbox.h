/*
 * System call filters: what a process needs once it serves, and nothing else (seccomp(2), by libseccomp).
 */
#ifndef PENSTOCK_CMD_SANDBOX_H
#define PENSTOCK_CMD_SANDBOX_H

/* From here on every other system call of this process fails with EPERM. 0 or -errno; builds with a sanitizer, which
 * needs more, filter nothing. Call privileges_finish() before. */
int sandbox_enter_worker(void);
int sandbox_enter_exporter(void);

#endif
