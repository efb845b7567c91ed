#include "cmd/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

static int limit_capabilities(const cap_value_t *kept, int count)
{
    cap_t set = cap_init();
    int result = 0;

    if (set == NULL) {
        return -errno;
    }
    if (count > 0 && (cap_set_flag(set, CAP_PERMITTED, count, kept, CAP_SET) != 0 ||
                      cap_set_flag(set, CAP_EFFECTIVE, count, kept, CAP_SET) != 0)) {
        result = -errno;
    }
    if (result == 0 && cap_set_proc(set) != 0) {
        result = -errno;
    }
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
    /* Without CAP_IPC_LOCK in the first place (a container), the ring must fit RLIMIT_MEMLOCK. */
    return limit_capabilities(kept, 1) == 0 ? 0 : limit_capabilities(NULL, 0);
}

void privileges_finish(void)
{
    if (geteuid() != 0) {
        (void)limit_capabilities(NULL, 0);
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
