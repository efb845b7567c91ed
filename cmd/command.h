/*
 * The subcommands of penstock: each a function in a file of its own.
 */
#ifndef PENSTOCK_CMD_COMMAND_H
#define PENSTOCK_CMD_COMMAND_H

#include <stdbool.h>

#include "config/config.h"

enum {
    EXIT_USAGE = 2, /* the command line was not understood */
    COMMAND_WORDS_MAX = 3,
};

/* What the command line said. */
struct command_options {
    const char *program; /* absolute path of what runs: an upgrade executes what is there then */
    const char *config;  /* -c FILE */
    const char *name;    /* -n NAME, instead of -c where only the running instance is meant */
    bool json;
    bool now;             /* of `stop`: answer for no TIME_WAIT after the end */
    const char *listener; /* of `sessions`: which are meant; NULL: any. See cmd/exporter/sessions.h */
    const char *pool;
    const char *state;
    const char *older_than;
    const char *source;
    const char *limit;                    /* of `flows` */
    const char *words[COMMAND_WORDS_MAX]; /* what the command acts on; NULL: not given */
};

int command_run(const struct command_options *options);
int command_check(const struct command_options *options);
int command_status(const struct command_options *options);
int command_sessions(const struct command_options *options);
int command_servers(const struct command_options *options);
int command_flows(const struct command_options *options);
int command_kill(const struct command_options *options);
int command_server(const struct command_options *options);
int command_top(const struct command_options *options);
int command_reload(const struct command_options *options);
int command_drain(const struct command_options *options);
int command_upgrade(const struct command_options *options);
int command_stop(const struct command_options *options);

const char *penstock_version(void);

/* `version --layout`: what a supervisor asks a new program; 0 if it can run here. */
int command_version_layout(void);

/* Loads the configuration and checks it against this machine; prints every mistake to standard error. NULL on failure.
 * `starting`: free memory counts too. */
struct image *command_load(const char *path, bool starting);

#endif
