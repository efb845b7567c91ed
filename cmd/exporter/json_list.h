/*
 * A list as JSON in pieces of any size, so that nobody has to hold all of it.
 */
#ifndef PENSTOCK_CMD_EXPORTER_JSON_LIST_H
#define PENSTOCK_CMD_EXPORTER_JSON_LIST_H

#include <stdbool.h>
#include <stdio.h>

enum { JSON_ITEM_BYTES = 4096 }; /* more than an item takes, every character of its names escaped */

/* Prints the next item, without a newline; false at the end. */
typedef bool json_list_next(FILE *out, void *items);

struct json_list;

/* `items`, from malloc(3), is the list's from now on. NULL without memory; `items` may be NULL for the same reason. */
struct json_list *json_list_create(json_list_next *next, void *items);
void json_list_destroy(struct json_list *list);

/* The next bytes, `size` at most; 0 at the end. */
size_t json_list_read(struct json_list *list, char *buffer, size_t size);

/* All of it to `out`, then destroys it. 0, or -ENOMEM where `list` is NULL. */
int json_list_print(FILE *out, struct json_list *list);

#endif
