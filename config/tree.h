/*
 * YAML text as a tree of nodes, each with its place in the file.
 *
 * Built from libyaml's events, not its documents, so that every bound holds while reading: CONFIG_BYTES_MAX of text,
 * CONFIG_DEPTH_MAX levels, CONFIG_NODES_MAX nodes. Only what a configuration needs: one document of mappings, lists and
 * scalars; no anchors, aliases or tags. All nodes and texts lie in one block that config_tree_fini releases.
 */
#ifndef PENSTOCK_CONFIG_TREE_H
#define PENSTOCK_CONFIG_TREE_H

#include "config/report.h"

#include <stdbool.h>

enum {
    CONFIG_BYTES_MAX = 1024 * 1024,
    CONFIG_DEPTH_MAX = 16,
    CONFIG_NODES_MAX = 32768,
};

enum config_kind {
    CONFIG_SCALAR,
    CONFIG_LIST,
    CONFIG_MAPPING,
    CONFIG_BROKEN, /* reported already; whoever reads it keeps silent */
};

struct config_node {
    enum config_kind kind;
    bool plain; /* a scalar without quotes */
    struct config_place place;
    uint32_t count;            /* items of a list, keys of a mapping */
    const char *text;          /* of a scalar: UTF-8, NUL-terminated, without other NULs */
    struct config_node *first; /* of a list: its items; of a mapping: its keys */
    struct config_node *next;  /* the next item or key */
    struct config_node *value; /* of a key */
};

struct config_tree {
    struct config_node *root;
    struct config_node *nodes;
    size_t node_count, node_capacity;
    char *texts; /* in the same block as `nodes` */
    size_t text_size, text_capacity;
};

/* Builds the tree. Returns 0 with a root, or -1 where there is none to go on with; mistakes are in `report` then, and
 * may be so with 0 as well. To be paired with config_tree_fini in both cases. */
int config_tree_parse(struct config_tree *tree, const char *bytes, size_t size, struct config_report *report);

void config_tree_fini(struct config_tree *tree);

/* Checks that `bytes` are UTF-8 of printable characters, spaces, tabs and line ends. Returns 0, or -1 with the mistake
 * in `report`. */
int config_text_check(const char *bytes, size_t size, struct config_report *report);

#endif
