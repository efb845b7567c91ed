/*
 * What commands share that print the summary of an instance: as text for people, or as JSON.
 */
#ifndef PENSTOCK_CMD_SHOW_H
#define PENSTOCK_CMD_SHOW_H

#include <stdio.h>

#include "cmd/command.h"
#include "cmd/summary.h"

typedef void show_text(const struct summary *summary, const struct region *region); /* to standard output */
typedef void show_json(FILE *out, const struct summary *summary, const struct region *region);

/* Reads the instance that the options name and prints it to standard output. An exit status, after a message
 * if it is not 0. */
int show_summary(const struct command_options *options, show_text *text, show_json *json);

#endif
