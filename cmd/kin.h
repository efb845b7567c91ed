/*
 * The processes of an instance, found in /proc: keepers, workers and the logger are those that hold its tables at the
 * agreed number (cmd/descriptors.h). Nobody else can hold that memory, so neither lists that may be out of date nor
 * process ids that workers can write are needed.
 */
#ifndef PENSTOCK_CMD_KIN_H
#define PENSTOCK_CMD_KIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/image.h"

/* The memfd of an instance's tables. */
struct kin_memory {
    dev_t device;
    ino_t inode;
};

enum { KIN_MAX = 2 * IMAGE_WORKERS_MAX + 2 };

enum kin_role { KIN_KEEPER, KIN_WORKER, KIN_LOGGER };

struct kin {
    enum kin_role role;
    uint32_t slot; /* not of a logger */
    pid_t pid;
    int pidfd;
};

/* What `tables_fd` is. 0 or -errno. */
int kin_memory_of(int tables_fd, struct kin_memory *memory);

/* Finds up to `max` processes of the instance; each comes with a pidfd. Returns how many there are, or
 * -errno: -EPERM where there is no keeper or worker, but some that may be we may not look at. */
int kin_find(const struct kin_memory *memory, struct kin *found, uint32_t max);

/* The slot's worker that has lost its keeper. `hint` is the process the slot names: it is believed where we
 * may not look at its descriptors. 0 or -ESRCH. */
int kin_find_worker(const struct kin_memory *memory, uint32_t slot, pid_t hint, struct kin *worker);

/* Ends the instance's loggers: each writes what there is, then it is gone. */
void kin_end_loggers(const struct kin_memory *memory);

/* Lets them open the access log again. */
void kin_reopen_logs(const struct kin_memory *memory);

/* A pidfd or -errno. */
int kin_open(pid_t pid);

/* A child that is not yet what it is to be, and so could not be found, dies with its parent. `parent` is that
 * parent. */
void kin_bind(pid_t parent);
void kin_unbind(void);

/* Copies a process's descriptor: the lowest free number, or -errno; -EPERM where that takes CAP_SYS_PTRACE. */
int kin_copy_descriptor(int pidfd, int number);

/* Lets a worker go on that a keeper has stopped to take it over and then died. */
void kin_continue(int pidfd);

/* The letter of proc(5), /proc/PID/stat: T, where it was stopped; 0 where it is gone. */
char kin_state(pid_t pid);

/* Whether the process has ended. */
bool kin_has_ended(int pidfd);

/* Waits for its end: `timeout_ms`, -1 for ever. Whether it has ended. */
bool kin_wait_end(int pidfd, int timeout_ms);

#endif
