/*
 * From libyaml's events to the tree. No recursion: open mappings and lists lie on a stack of CONFIG_DEPTH_MAX frames.
 */
#include "config/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct frame {
    struct config_node *node;
    struct config_node **link; /* where the next item or key goes */
    struct config_node *key;   /* waits for its value */
};

struct builder {
    yaml_parser_t parser;
    struct config_tree *tree;
    struct config_report *report;
    const char *bytes;
    size_t size;
    uint32_t depth;
    struct frame stack[CONFIG_DEPTH_MAX];
};

static struct config_place place_of(yaml_mark_t mark)
{
    return (struct config_place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

/* Room for four nodes a byte, which is more than any YAML makes ("[a:]" makes four in all). */
static int tree_init(struct config_tree *tree, size_t size)
{
    memset(tree, 0, sizeof(*tree));
    tree->node_capacity = 4 * size + 16;
    if (tree->node_capacity > CONFIG_NODES_MAX)
        tree->node_capacity = CONFIG_NODES_MAX;
    tree->text_capacity = 2 * size + tree->node_capacity; /* "\L" makes three bytes of two */
    tree->nodes = malloc(tree->node_capacity * sizeof(*tree->nodes) + tree->text_capacity);
    if (!tree->nodes)
        return -1;
    tree->texts = (char *)(tree->nodes + tree->node_capacity);
    return 0;
}

void config_tree_fini(struct config_tree *tree)
{
    free(tree->nodes);
    memset(tree, 0, sizeof(*tree));
}

static struct config_node *node_create(struct builder *builder, enum config_kind kind,
                                       struct config_place place)
{
    struct config_tree *tree = builder->tree;
    struct config_node *node;

    if (tree->node_count == tree->node_capacity) {
        config_report_add(builder->report, place, "more than %d values; a configuration has far fewer",
                          CONFIG_NODES_MAX);
        return NULL;
    }
    node = &tree->nodes[tree->node_count++];
    *node = (struct config_node){.kind = kind, .place = place};
    return node;
}

static int node_set_text(struct builder *builder, struct config_node *node, const char *text, size_t length)
{
    struct config_tree *tree = builder->tree;

    if (memchr(text, '\0', length)) {
        config_report_add(builder->report, node->place, "a text must not contain a NUL character; remove it");
        node->kind = CONFIG_BROKEN;
        length = 0;
    }
    if (length >= tree->text_capacity - tree->text_size) {
        config_report_add(builder->report, node->place, "the texts are too long all together; shorten them");
        return -1;
    }
    node->text = memcpy(tree->texts + tree->text_size, text, length);
    tree->texts[tree->text_size + length] = '\0';
    tree->text_size += length + 1;
    return 0;
}

/* Puts a node where the open mapping or list expects one. */
static int node_attach(struct builder *builder, struct config_node *node)
{
    struct frame *frame = builder->depth ? &builder->stack[builder->depth - 1] : NULL;

    if (!frame) {
        builder->tree->root = node;
        return 0;
    }
    if (frame->key) {
        frame->key->value = node;
        frame->key = NULL;
        return 0;
    }
    if (frame->node->kind == CONFIG_MAPPING) {
        if (node->kind != CONFIG_SCALAR && node->kind != CONFIG_BROKEN) {
            config_report_add(builder->report, node->place,
                              "a key must be one word; write for example 'name: web'");
            return -1;
        }
        frame->key = node;
    }
    *frame->link = node;
    frame->link = &node->next;
    frame->node->count++;
    return 0;
}

static void marks_refuse(struct builder *builder, struct config_place place, const yaml_char_t *anchor,
                         const yaml_char_t *tag)
{
    char quote[CONFIG_QUOTE_MAX];

    if (anchor)
        config_report_add(builder->report, place,
                          "anchor '&%s' is not supported; write the value out at each place",
                          config_quote(quote, (const char *)anchor));
    if (tag)
        config_report_add(builder->report, place, "tag '%s' is not supported; remove it",
                          config_quote(quote, (const char *)tag));
}

static int scalar_add(struct builder *builder, const yaml_event_t *event)
{
    struct config_node *node = node_create(builder, CONFIG_SCALAR, place_of(event->start_mark));

    if (!node)
        return -1;
    marks_refuse(builder, node->place, event->data.scalar.anchor, event->data.scalar.tag);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (node_set_text(builder, node, (const char *)event->data.scalar.value, event->data.scalar.length) < 0)
        return -1;
    return node_attach(builder, node);
}

static int alias_add(struct builder *builder, const yaml_event_t *event)
{
    struct config_node *node = node_create(builder, CONFIG_BROKEN, place_of(event->start_mark));
    char quote[CONFIG_QUOTE_MAX];

    if (!node)
        return -1;
    config_report_add(builder->report, node->place, "alias '*%s' is not supported; write the value out",
                      config_quote(quote, (const char *)event->data.alias.anchor));
    return node_attach(builder, node);
}

static int collection_open(struct builder *builder, const yaml_event_t *event)
{
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    struct config_place place = place_of(event->start_mark);
    struct config_node *node;

    if (builder->depth == CONFIG_DEPTH_MAX) {
        config_report_add(builder->report, place, "nested deeper than %d levels; a configuration needs five",
                          CONFIG_DEPTH_MAX);
        return -1;
    }
    node = node_create(builder, mapping ? CONFIG_MAPPING : CONFIG_LIST, place);
    if (!node)
        return -1;
    if (mapping)
        marks_refuse(builder, place, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    else
        marks_refuse(builder, place, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    if (node_attach(builder, node) < 0)
        return -1;
    builder->stack[builder->depth++] = (struct frame){.node = node, .link = &node->first};
    return 0;
}

static int document_open(struct builder *builder, const yaml_event_t *event)
{
    if (!builder->tree->root)
        return 0;
    config_report_add(builder->report, place_of(event->start_mark),
                      "a second document begins; a configuration is one document");
    return -1;
}

/* Returns 1 at the end of the stream, 0 to go on, -1 to give up. */
static int event_apply(struct builder *builder, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return document_open(builder, event);
    case YAML_SCALAR_EVENT:
        return scalar_add(builder, event);
    case YAML_ALIAS_EVENT:
        return alias_add(builder, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return collection_open(builder, event);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        builder->depth--;
        return 0;
    case YAML_STREAM_END_EVENT:
        return 1;
    default:
        return 0;
    }
}

/* Whether the character at libyaml's mark, whose index counts characters, is a tab. */
static bool tab_at(const struct builder *builder, size_t index)
{
    size_t at = 0;

    for (; at < builder->size; at++)
        if (((unsigned char)builder->bytes[at] & 0xc0) != 0x80 && index-- == 0)
            return builder->bytes[at] == '\t';
    return false;
}

static void problem_report(struct builder *builder)
{
    const yaml_parser_t *parser = &builder->parser;
    struct config_place place = place_of(parser->problem_mark);
    const char *problem = parser->problem ? parser->problem : "unknown problem";

    if (parser->error == YAML_MEMORY_ERROR)
        config_report_add(builder->report, (struct config_place){0, 0}, "out of memory");
    else if (parser->error == YAML_READER_ERROR)
        config_report_add(builder->report, (struct config_place){0, 0},
                          "is not YAML: %s; see config/README.md", problem);
    else if (tab_at(builder, parser->problem_mark.index))
        config_report_add(builder->report, place, "a tab is not allowed here; indent with spaces");
    else if (parser->context)
        config_report_add(
            builder->report, place,
            "not YAML: %s %s (from line %zu on); check indentation, brackets and quotes, and put "
            "texts with special characters in quotes, as in \"[::]:80\"",
            problem, parser->context, parser->context_mark.line + 1);
    else
        config_report_add(builder->report, place,
                          "not YAML: %s; check indentation, brackets and quotes, and put texts with special "
                          "characters in quotes, as in \"[::]:80\"",
                          problem);
}

/* An empty file makes no node; one of comments or "---" only makes an empty one. */
static int root_check(struct builder *builder)
{
    const struct config_node *root = builder->tree->root;

    if (root && !(root->kind == CONFIG_SCALAR && root->plain && root->text[0] == '\0'))
        return 0;
    config_report_add(builder->report, (struct config_place){1, 1},
                      "the configuration is empty; it needs at least name, listeners and pools");
    return -1;
}

int config_tree_parse(struct config_tree *tree, const char *bytes, size_t size, struct config_report *report)
{
    struct builder builder = {.tree = tree, .report = report, .bytes = bytes, .size = size};
    yaml_event_t event;
    int outcome = 0;

    if (tree_init(tree, size) < 0 || !yaml_parser_initialize(&builder.parser)) {
        config_report_add(report, (struct config_place){0, 0}, "out of memory");
        return -1;
    }
    yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&builder.parser, (const unsigned char *)bytes, size);
    /* Bounded: every event but a few takes a byte of the text or makes one of CONFIG_NODES_MAX nodes. */
    while (outcome == 0) {
        if (!yaml_parser_parse(&builder.parser, &event)) {
            problem_report(&builder);
            outcome = -1;
            break;
        }
        outcome = event_apply(&builder, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&builder.parser);
    return outcome < 0 ? -1 : root_check(&builder);
}
