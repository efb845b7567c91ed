/*
 * Reading a mapping by a table: which keys it may have, how each is read, where its value goes.
 *
 * A table is data (config/keys.c has them all); this module finds keys, refuses the unknown, the misplaced and the
 * repeated, misses the required, and has the readers for plain values. A target is the struct that a table's offsets
 * are within. Readers report mistakes and go on, so that one run finds many.
 */
#ifndef PENSTOCK_CONFIG_SCHEMA_H
#define PENSTOCK_CONFIG_SCHEMA_H

#include "config/tree.h"
#include "config/value.h"

enum {
    CONFIG_KEYS_MAX = 24, /* of one table */
    CONFIG_PATH_MAX = 128,
};

struct config_draft;
struct config_schema;

struct config_reader {
    struct config_report *report;
    struct config_draft *draft;
    uint32_t workers_auto; /* what "auto" stands for; 1..IMAGE_WORKERS_MAX */
    size_t path_length;
    char path[CONFIG_PATH_MAX]; /* of the value being read, as in "pools[0].servers[1].weight" */
};

struct config_key {
    const char *name;
    /* Reads the value into the target; NULL where this version refuses the key. */
    void (*read)(struct config_reader *reader, const struct config_key *key, const struct config_node *value,
                 void *target);
    const char *refusal; /* what would be right instead; NULL: "not supported by this version" */
    const char *example; /* of a required key, as in "name: web"; NULL: the key may be left out */
    size_t offset;       /* where the value goes in the target */
    size_t place;        /* where a struct config_place goes in the target; 0: nowhere */
    uint64_t min, max;   /* of numbers, sizes, microseconds; `max` is the capacity of names and paths */
    const struct config_choice *choices;
    const struct config_schema *schema; /* of a mapping */
};

struct config_schema {
    const struct config_key *keys;
    size_t count; /* at most CONFIG_KEYS_MAX */
};

/* Reads `node`, which must be a mapping, by `schema` into `target`. */
void config_schema_read(struct config_reader *reader, const struct config_schema *schema,
                        const struct config_node *node, void *target);

/* Calls `read` for each of at most `max` items of `node`, which must be a list of at least one; `what` names them in
 * messages, as in "servers". */
void config_list_read(
    struct config_reader *reader, const struct config_node *node, uint32_t max, const char *what,
    void (*read)(struct config_reader *reader, const struct config_node *item, void *target), void *target);

/* The text of a scalar, or NULL after reporting that `node` is none or has no value; `right` is what to write. */
const char *config_scalar_text(struct config_reader *reader, const struct config_node *node,
                               const char *right);

/* Reports a mistake in the value being read. */
__attribute__((format(printf, 3, 4))) void config_reader_refuse(struct config_reader *reader,
                                                                struct config_place place, const char *format,
                                                                ...);

/* Readers for tables. */
#define CONFIG_READER(name)                                                                                \
    void name(struct config_reader *reader, const struct config_key *key, const struct config_node *value, \
              void *target)
CONFIG_READER(config_read_u32);
CONFIG_READER(config_read_u64);
CONFIG_READER(config_read_size);
CONFIG_READER(config_read_duration);
CONFIG_READER(config_read_microseconds);
CONFIG_READER(config_read_boolean);
CONFIG_READER(config_read_choice);
CONFIG_READER(config_read_name);
CONFIG_READER(config_read_congestion);
CONFIG_READER(config_read_socket_buffer);
CONFIG_READER(config_read_mapping);

#endif
