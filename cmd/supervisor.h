/*
 * The supervisor: the parent. Reads the configuration, owns the region and the listening sockets, starts and watches
 * the others, follows signals:
 *
 *     SIGTERM  drain; a second one: stop now      SIGHUP   reload
 *     SIGINT   stop now                           SIGQUIT  stop now, and answer for no TIME_WAIT after it
 *     SIGUSR1  open the access log again          SIGUSR2  upgrade
 *     SIGCONT  wake the workers: an order waits (shm/order.h)
 *
 * It serves no connection itself, so nothing it waits for delays one. When it dies the others serve on, and
 * the next one of the same name takes over: cmd/supervisor_takeover.c.
 */
#ifndef PENSTOCK_CMD_SUPERVISOR_H
#define PENSTOCK_CMD_SUPERVISOR_H

#include "cmd/instance.h"
#include "io/sock_destroy.h"
#include "shm/flow_table.h"

/* Descriptors are -1 where there is none. */
struct supervised_slot {
    pid_t keeper;            /* 0: gone */
    pid_t orphan;            /* the worker that has lost its keeper */
    int pidfd;               /* of one or the other */
    bool own;                /* this supervisor forked the keeper */
    bool replacing;          /* we have killed it, for an upgrade */
    bool told;               /* that the orphan's descriptors cannot be copied */
    uint64_t start_after_us; /* when a keeper may be started again */
    int inbox, wake;         /* shared with the worker */
    int outbox;
    int listeners[IMAGE_BINDS_MAX]; /* by place */
    bool handed[IMAGE_BINDS_MAX];   /* the worker has it too, or will find it in its inbox */
    int inherited[IMAGE_BINDS_MAX]; /* of an elder generation, in no order; used or closed when we start */
};

enum { ELDERS_MAX = INSTANCE_MEMORIES_MAX - 1 };

/* Keepers and workers that end with their last session: cmd/supervisor_elders.c. */
struct elder {
    struct kin_memory memory;
    struct region_header *header; /* mapped; what is the same in every layout */
    uint32_t count;
    int pidfds[KIN_MAX];
    int wakes[KIN_MAX]; /* -1: none */
    bool letting_go;    /* told to hand over; not all have closed their listening sockets */
};

struct supervised_exporter {
    struct endpoint endpoint; /* of its socket */
    int socket;
    int next_socket; /* of a configuration that is being carried out */
    pid_t pid;
    int pidfd;         /* -1: does not run */
    uint64_t after_us; /* when it may be started again */
};

struct supervised_time_wait {
    struct time_wait *programs;  /* NULL: the kernel keeps TIME_WAIT */
    struct flow_table table;     /* theirs */
    struct sock_destroy destroy; /* -1: the kernel keeps none beside */
    uint64_t overruns;           /* seen and made up for */
    uint64_t count_after_us;     /* when it is counted again */
    uint64_t look_after_us;      /* when interfaces are looked at again */
    bool told;                   /* that one cannot be had */
    bool told_destroy;           /* that sockets cannot be destroyed */
    bool at_once;                /* nothing is to be left when the instance ends */
};

struct supervisor {
    const char *config_path;
    const char *program; /* what an upgrade executes */
    struct instance instance;
    struct region region;
    struct image *image; /* the current one, our copy */
    struct supervised_slot slots[IMAGE_WORKERS_MAX];
    bool steered; /* new connections are kept away from sockets of slots that leave */
    pid_t logger;
    int logger_pidfd;         /* -1: does not run */
    uint64_t logger_after_us; /* when it may be started again */
    struct supervised_exporter exporter;
    struct supervised_time_wait time_wait;
    uint64_t tell_after_us; /* when the service manager is told again */
    int signal_fd;
    bool has_zero_copy; /* the kernel */
    bool stopping;
    bool reload_pending;   /* published and not yet taken by every worker */
    uint64_t reload_by_us; /* the file is to be read again, by then; 0: no */
    bool upgrade_wanted;   /* by SIGUSR2 */
    bool upgrading;        /* keepers and workers are being replaced */
    bool ended;            /* nobody is left of the instance */
    struct elder elders[ELDERS_MAX];
    uint32_t elder_count;
};

/* Runs an instance until it is stopped. The exit status. */
int supervisor_run(struct supervisor *supervisor);

/* Makes what the slots of `image` share with their keepers, where it is not there. 0 or -errno. */
int supervisor_open_slots(struct supervisor *supervisor, const struct image *image);

/* Takes over the region, the keepers and the listening sockets of a supervisor that died. 1: done; 0: nobody is left of
 * it; or -errno with a message, and those who serve serve on. */
int supervisor_take_over(struct supervisor *supervisor);

/* Then: lets the workers forget a reload that the dead one had begun, and follows the file. */
void supervisor_follow_file(struct supervisor *supervisor);

/* Notes an elder generation and takes what listening sockets it has. 0; -EPROTO where it is of a version that
 * cannot hand over, or another -errno. */
int supervisor_add_elder(struct supervisor *supervisor, const struct kin_memory *memory,
                         const struct kin *found, uint32_t count);

/* Uses the sockets taken for the binds of `image`, whose places are known; closes the others. */
void supervisor_use_inherited(struct supervisor *supervisor, const struct image *image);

/* We serve: those who accepted until now are told to let go. */
void supervisor_hand_over(struct supervisor *supervisor);

/* What holds for us holds for them: RUN_DRAIN, RUN_STOP. */
void supervisor_tell_elders(struct supervisor *supervisor, enum run_state state);

/* Lets their loggers open the access log again. */
void supervisor_reopen_elder_logs(const struct supervisor *supervisor);

/* Follows those who let go, forgets those who have ended. */
void supervisor_watch_elders(struct supervisor *supervisor);

/* Whether some have not let go. */
bool supervisor_is_handing_over(const struct supervisor *supervisor);

/* Publishes the instance's region and its elders. 0 or -errno. */
int supervisor_publish(struct supervisor *supervisor);

/* Carries out an upgrade that is wanted and goes on with one that has begun, once all slots are at rest:
 * cmd/supervisor_upgrade.c. */
void supervisor_follow_upgrade(struct supervisor *supervisor);

/* Forks the logger. 0 or -errno. */
int supervisor_start_logger(struct supervisor *supervisor);

/* Opens the exporter's address of `image` where it is not open; a socket that was opened before and not followed is
 * closed. 0, or -errno with a message. */
int supervisor_open_exporter(struct supervisor *supervisor, const struct image *image);

/* Lets the exporter serve the address of the current image, or none. */
void supervisor_follow_exporter(struct supervisor *supervisor);

/* Starts the exporter where there should be one and is none, at most once a second. */
void supervisor_start_exporter(struct supervisor *supervisor);

/* After its pidfd has become readable. */
void supervisor_reap_exporter(struct supervisor *supervisor);

void supervisor_end_exporter(struct supervisor *supervisor);

/* Decides whose TIME_WAIT is, before anybody is started. 0, or -errno where it cannot be as the configuration
 * demands; the log says why. */
int supervisor_choose_time_wait(struct supervisor *supervisor);

/* Goes on with what the dead supervisor had. */
void supervisor_take_over_time_wait(struct supervisor *supervisor);

/* What is to be done now and then. */
void supervisor_watch_time_wait(struct supervisor *supervisor);

/* How long the supervisor may sleep before that; -1: for ever. */
int supervisor_time_wait_ms(const struct supervisor *supervisor);

/* The instance has ended: lets the programs answer for what is left, or removes them. */
void supervisor_leave_time_wait(struct supervisor *supervisor);

/* Forks keepers where they are missing: for the slots of the image, and for workers that have lost theirs. At most once
 * a second for a slot. 0 or -errno. */
int supervisor_tend_slots(struct supervisor *supervisor);

/* Follows the ends of keepers, then tends the slots. */
void supervisor_watch_slots(struct supervisor *supervisor);

/* What the slot held is gone; it begins anew when it is tended. */
void supervisor_lose_slot(struct supervisor *supervisor, uint32_t index);

/* Gives every bind of `image` its place: the one it has in the current image, or one that no worker uses. 0 or
 * -EBUSY: places are taken by sockets that are being closed. */
int supervisor_place_listeners(const struct supervisor *supervisor, struct image *image);

/* Opens what `image` names and is not open. 0, or -1 with a message and nothing new open. */
int supervisor_open_listeners(struct supervisor *supervisor, const struct image *image);

/* Hands the sockets that were opened for `image` to the workers. 0 or -errno. */
int supervisor_hand_listeners(struct supervisor *supervisor, const struct image *image);

/* Steers new connections away from what `image` does not name, and gives up our hold of it: workers take who is on the
 * way, then close. Unix paths of `old` that `image` does not name are removed. */
void supervisor_leave_listeners(struct supervisor *supervisor, const struct image *old,
                                const struct image *image);

/* The same of all there are. */
void supervisor_close_listeners(struct supervisor *supervisor);

/* Undoes the steering when the workers have closed. */
void supervisor_settle_listeners(struct supervisor *supervisor);

/* Sets congestion control and buffers of every listening socket as `image` has them. Workers' copies are the same
 * sockets: it holds for connections from now on. 0 or -errno with a message. */
int supervisor_set_options(const struct supervisor *supervisor, const struct image *image);

/* Takes out of a configuration what the kernel does not have and can be done without; a log line says so. */
void supervisor_adapt(const struct supervisor *supervisor, struct image *image);

/* SIGHUP: the file is to be followed. */
void supervisor_reload(struct supervisor *supervisor);

/* Follows it, once the last reload is through: checks the file, publishes its image. A wrong one changes nothing. */
void supervisor_follow_reload(struct supervisor *supervisor);

/* Makes every worker look at the region. */
void supervisor_wake_all(const struct supervisor *supervisor);

#endif
