/*
 * The Penstock instance of a bed: its configuration, its life, its numbers.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_PENSTOCK_H
#define PENSTOCK_TESTS_E2E_HARNESS_PENSTOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/e2e/harness_net.h"

enum { WORKERS_MAX = 8 };

/* Parts of the file, NULL for the defaults. One listener `in`, one pool `app`. */
struct penstock_config {
    unsigned workers;           /* 2 */
    const char *user;           /* nobody where the tests run as root */
    const char *limits;         /* members of a flow mapping */
    const char *timeouts;       /* the same */
    const char *log;            /* the same; access.log of the bed */
    const char *bind;           /* elements of a flow list; 127.0.0.1 and bed.port */
    const char *listener;       /* members, without name, bind and routes */
    const char *pool;           /* members, without name and servers */
    const char *servers;        /* elements */
    const char *more_listeners; /* whole lines */
    const char *more_pools;     /* likewise */
    const char *more;           /* likewise, at the end */
    bool (*before_exec)(void);
};

/* Writes the file and returns its path. */
const char *penstock_configure(const struct penstock_config *config);

/* Writes the file, starts `penstock run` and waits until it is ready. */
void penstock_start(const struct penstock_config *config);

/* The same with one server, a port of this machine, and the default configuration. */
void penstock_start_to(uint16_t server_port);

/* The same with the test itself as the one server, on the listening socket that is returned. `config` says the rest;
 * NULL: the defaults. */
int penstock_start_to_test(const struct penstock_config *config);

/* Puts a copy of a program where the instance's is, as a package manager would; from here on that one is started. */
void penstock_install(const char *from);

/* The program whose shared memory has another layout. */
const char *penstock_other_layout(void);

/* SIGKILL to the supervisor alone. */
void penstock_kill(void);

/* `penstock run` once more, with the file as it is now and before_exec as at the start: takes over who serves. */
void penstock_start_again(void);

/* Starts it without waiting; its outputs. */
struct bed_process penstock_spawn(const char *config_path, bool (*before_exec)(void));

/* Sends the signal, waits for the end: no process may be left. The exit status. */
int penstock_stop(int signal);

/* What it wrote to standard error so far. */
const char *penstock_log(void);

/* The access log so far. */
const char *penstock_access_log(void);

/* For who reads why a test failed: what the access log says of sessions that no side closed. */
void penstock_show_cut_sessions(void);

/* `penstock status --json`, now. */
const char *penstock_status(void);

/* One number of it. */
uint64_t penstock_number(const char *path);

/* Waits for the end of the one session there was; its reason, and its line in the access log. Ends the bed. */
void penstock_expect_end(const char *reason);

/* The same, of a session that the client closes first. */
void penstock_end_session(const struct net_pair *pair);

/* `penstock reload -c` with the file as it is now; the exit status. */
int penstock_reload(void);

/* Writes the file and reloads, which must succeed. */
void penstock_reload_with(const struct penstock_config *config);

/* `penstock upgrade`; the exit status. */
int penstock_upgrade(void);

pid_t penstock_worker(unsigned slot);
pid_t penstock_keeper(unsigned slot);

/* User memory of all its processes; shared pages count once. */
uint64_t penstock_memory_kib(unsigned workers);

#endif
