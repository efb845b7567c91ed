/*
 * Giving up privileges for good.
 */
#ifndef PENSTOCK_CMD_PRIVILEGES_H
#define PENSTOCK_CMD_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

/* Who to become: looked up once, since each incarnation of a worker has to do without a directory service. */
struct identity {
    bool change; /* false: stay who we are */
    uid_t uid;
    gid_t gid;
};

/* Looks `user` up; "", or not being root, changes nothing. 0 or -ENOENT. */
int privileges_resolve(const char *user, struct identity *identity);

/* Becomes `identity`, keeping nothing but CAP_IPC_LOCK until privileges_finish(): rings count against RLIMIT_MEMLOCK
 * without it. 0 or -errno. */
int privileges_drop(const struct identity *identity);

/* Gives up all capabilities, root's as well. Nothing this process executes may gain any again. */
void privileges_finish(void);

/* The same, but for what cloning workers and ending them takes, and for opening log files wherever they are. */
void privileges_of_keeper(void);
void privileges_of_logger(void);

/* Whether this process could become `user`; *why says what is wrong. */
int privileges_check(const char *user, const char **why);

#endif
