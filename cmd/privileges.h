/*
 * Giving up privileges for good.
 */
#ifndef PENSTOCK_CMD_PRIVILEGES_H
#define PENSTOCK_CMD_PRIVILEGES_H

/* Becomes `user`, keeping nothing but CAP_IPC_LOCK until privileges_finish(): rings count against RLIMIT_MEMLOCK
 * without it. "" changes nothing. 0 or -errno. */
int privileges_drop(const char *user);

/* Gives up the rest. Nothing this process executes may gain any again. */
void privileges_finish(void);

/* Whether this process could become `user`; *why says what is wrong. */
int privileges_check(const char *user, const char **why);

#endif
