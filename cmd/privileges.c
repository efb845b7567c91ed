#include "cmd/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Those of `kept` that this process has. 0 or -errno. */
static int limit_capabilities(const cap_value_t *kept, int count)
{
    cap_t own = cap_get_proc();
    cap_t set = cap_init();
    cap_flag_value_t has = CAP_CLEAR;
    int result = own == NULL || set == NULL ? -ENOMEM : 0;

    for (int i = 0; i < count && result == 0; i++) {
        if (cap_get_flag(own, kept[i], CAP_PERMITTED, &has) == 0 && has == CAP_SET &&
            (cap_set_flag(set, CAP_PERMITTED, 1, &kept[i], CAP_SET) != 0 ||
             cap_set_flag(set, CAP_EFFECTIVE, 1, &kept[i], CAP_SET) != 0)) {
            result = -errno;
        }
    }
    if (result == 0 && cap_set_proc(set) != 0) {
        result = -errno;
    }
    cap_free(own);
    cap_free(set);
    return result;
}

int privileges_check(const char *user, const char **why)
{
    if (user[0] == '\0') {
        return 0;
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        *why = "there is no such user";
        return -ENOENT;
    }
    if (geteuid() != 0 && geteuid() != entry->pw_uid) {
        *why = "only root can become another user; start Penstock as root or leave the key out";
        return -EPERM;
    }
    return 0;
}

int privileges_resolve(const char *user, struct identity *identity)
{
    *identity = (struct identity){.change = false};
    if (user[0] == '\0' || geteuid() != 0) {
        return 0;
    }
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL) {
        return -ENOENT;
    }
    *identity = (struct identity){.change = true, .uid = entry->pw_uid, .gid = entry->pw_gid};
    return 0;
}

int privileges_drop(const struct identity *identity)
{
    static const cap_value_t kept[] = {CAP_IPC_LOCK};
    uid_t uid = identity->uid;
    gid_t gid = identity->gid;

    if (!identity->change) {
        return 0;
    }
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
        return -errno;
    }
    return limit_capabilities(kept, 1); /* without it (a container) the ring must fit RLIMIT_MEMLOCK */
}

void privileges_finish(void)
{
    (void)limit_capabilities(NULL, 0);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

void privileges_of_keeper(void)
{
    static const cap_value_t kept[] = {CAP_SETUID, CAP_SETGID, CAP_IPC_LOCK, CAP_KILL};

    (void)limit_capabilities(kept, sizeof(kept) / sizeof(kept[0]));
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

void privileges_of_logger(void)
{
    static const cap_value_t kept[] = {CAP_DAC_OVERRIDE};

    (void)limit_capabilities(kept, 1);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
