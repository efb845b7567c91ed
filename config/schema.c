/*
 * The walk along a table and the readers of plain values. Pure.
 */
#include "config/schema.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "core/image.h"

static void *field(void *target, size_t offset)
{
    return (char *)target + offset;
}

/* Lengthens the path; returns its length before, for path_leave. A path too long for its buffer is cut. */
__attribute__((format(printf, 2, 3))) static size_t path_enter(struct config_reader *reader,
                                                               const char *format, ...)
{
    size_t before = reader->path_length;
    size_t room = sizeof(reader->path) - before;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(reader->path + before, room, format, arguments);
    va_end(arguments);
    reader->path_length += length < 0 ? 0 : ((size_t)length < room ? (size_t)length : room - 1);
    return before;
}

static void path_leave(struct config_reader *reader, size_t before)
{
    reader->path_length = before;
    reader->path[before] = '\0';
}

void config_reader_refuse(struct config_reader *reader, struct config_place place, const char *format, ...)
{
    char message[CONFIG_MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    config_report_add(reader->report, place, "%s%s%s", reader->path, reader->path_length ? ": " : "",
                      message);
}

/* YAML 1.1 and 1.2 both read these as "no value". */
static bool scalar_is_null(const struct config_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    for (size_t i = 0; node->plain && i < sizeof(nulls) / sizeof(nulls[0]); i++)
        if (strcmp(node->text, nulls[i]) == 0)
            return true;
    return false;
}

const char *config_scalar_text(struct config_reader *reader, const struct config_node *node,
                               const char *right)
{
    if (node->kind == CONFIG_BROKEN)
        return NULL;
    if (node->kind != CONFIG_SCALAR)
        config_reader_refuse(reader, node->place, "a %s is not possible here; write %s",
                             node->kind == CONFIG_LIST ? "list" : "mapping", right);
    else if (scalar_is_null(node))
        config_reader_refuse(reader, node->place, "has no value; write %s", right);
    else
        return node->text;
    return NULL;
}

/* Numbers and booleans are written without quotes: in quotes they are texts. */
static const char *plain_text(struct config_reader *reader, const struct config_node *node, const char *right)
{
    const char *text = config_scalar_text(reader, node, right);

    if (!text || node->plain)
        return text;
    config_reader_refuse(reader, node->place,
                         "a text in quotes is not possible here; write %s without quotes", right);
    return NULL;
}

/* Edits (insert, delete, replace, exchange of neighbours) that make `b` of `a`; `limit` + 1 for all beyond. */
static size_t edit_distance(const char *a, const char *b, size_t limit)
{
    enum { LENGTH_MAX = 24 };
    size_t rows[LENGTH_MAX + 1][LENGTH_MAX + 1];
    size_t a_length = strlen(a), b_length = strlen(b);

    if (a_length > LENGTH_MAX || b_length > LENGTH_MAX)
        return limit + 1;
    for (size_t i = 0; i <= a_length; i++) {
        for (size_t j = 0; j <= b_length; j++) {
            size_t best = i == 0 ? j : i;

            if (i > 0 && j > 0) {
                best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
                best = rows[i - 1][j] + 1 < best ? rows[i - 1][j] + 1 : best;
                best = rows[i][j - 1] + 1 < best ? rows[i][j - 1] + 1 : best;
            }
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                rows[i - 2][j - 2] + 1 < best)
                best = rows[i - 2][j - 2] + 1;
            rows[i][j] = best;
        }
    }
    return rows[a_length][b_length] > limit ? limit + 1 : rows[a_length][b_length];
}

/* The key most like `name`, at most two edits away and fewer than half its letters; NULL if there is none. */
static const struct config_key *nearest_find(const struct config_schema *schema, const char *name)
{
    size_t best = strlen(name) < 6 ? 1 : 2;
    const struct config_key *nearest = NULL;

    for (size_t i = 0; i < schema->count; i++) {
        size_t distance = edit_distance(name, schema->keys[i].name, best);

        if (distance <= best && strlen(schema->keys[i].name) > 2 * distance) {
            nearest = &schema->keys[i];
            best = distance - 1;
        }
    }
    return nearest;
}

static void unknown_refuse(struct config_reader *reader, const struct config_schema *schema,
                           const struct config_node *key)
{
    const struct config_key *nearest = nearest_find(schema, key->text);
    char quote[CONFIG_QUOTE_MAX], names[160] = "";
    size_t length = 0;

    config_quote(quote, key->text);
    if (nearest) {
        config_reader_refuse(reader, key->place, "unknown key '%s'; did you mean '%s'?", quote,
                             nearest->name);
        return;
    }
    for (size_t i = 0; i < schema->count && length < sizeof(names); i++)
        if (schema->keys[i].read)
            length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s", length ? ", " : "",
                                       schema->keys[i].name);
    config_reader_refuse(reader, key->place, "unknown key '%s'; possible here: %s", quote, names);
}

static void key_read(struct config_reader *reader, const struct config_schema *schema,
                     const struct config_node *key, const struct config_node **seen, void *target)
{
    size_t before, index = 0;
    const struct config_key *found;

    while (index < schema->count && strcmp(schema->keys[index].name, key->text) != 0)
        index++;
    if (index == schema->count) {
        unknown_refuse(reader, schema, key);
        return;
    }
    found = &schema->keys[index];
    if (seen[index]) {
        config_reader_refuse(reader, key->place, "duplicate key '%s'; it is given in line %u already",
                             found->name, seen[index]->place.line);
        return;
    }
    seen[index] = key;
    if (!found->read) {
        if (found->refusal)
            config_reader_refuse(reader, key->place, "key '%s' is not possible here; %s", found->name,
                                 found->refusal);
        else
            config_reader_refuse(reader, key->place, "key '%s' is not supported by this version",
                                 found->name);
        return;
    }
    if (found->place)
        *(struct config_place *)field(target, found->place) = key->value->place;
    before = path_enter(reader, "%s%s", reader->path_length ? "." : "", found->name);
    found->read(reader, found, key->value, target);
    path_leave(reader, before);
}

void config_schema_read(struct config_reader *reader, const struct config_schema *schema,
                        const struct config_node *node, void *target)
{
    const struct config_node *seen[CONFIG_KEYS_MAX] = {NULL};

    if (node->kind == CONFIG_BROKEN)
        return;
    if (node->kind != CONFIG_MAPPING) {
        config_reader_refuse(reader, node->place,
                             "a mapping of keys is needed here; write for example '%s: ...'",
                             schema->keys[0].name);
        return;
    }
    for (const struct config_node *key = node->first; key; key = key->next)
        if (key->kind == CONFIG_SCALAR)
            key_read(reader, schema, key, seen, target);
    for (size_t i = 0; i < schema->count; i++)
        if (schema->keys[i].example && !seen[i])
            config_reader_refuse(reader, node->place, "key '%s' is missing; add for example '%s'",
                                 schema->keys[i].name, schema->keys[i].example);
}

void config_list_read(
    struct config_reader *reader, const struct config_node *node, uint32_t max, const char *what,
    void (*read)(struct config_reader *reader, const struct config_node *item, void *target), void *target)
{
    uint32_t index = 0;

    if (node->kind == CONFIG_BROKEN)
        return;
    if (node->kind != CONFIG_LIST) {
        config_reader_refuse(reader, node->place, "a list of %s is needed here; begin each with '- '", what);
        return;
    }
    if (node->count == 0)
        config_reader_refuse(reader, node->place, "the list of %s is empty; write at least one", what);
    for (const struct config_node *item = node->first; item; item = item->next) {
        size_t before = path_enter(reader, "[%u]", index);

        if (index++ == max)
            config_reader_refuse(reader, item->place, "too many %s; at most %u are possible", what, max);
        else
            read(reader, item, target);
        path_leave(reader, before);
        if (index > max)
            return;
    }
}

static bool integer_read(struct config_reader *reader, const struct config_key *key,
                         const struct config_node *value, uint64_t *number)
{
    const char *text = plain_text(reader, value, "a whole number");
    struct config_why why;

    if (!text)
        return false;
    if (config_value_integer(text, key->min, key->max, number, &why) == 0)
        return true;
    config_reader_refuse(reader, value->place, "%s", why.text);
    return false;
}

CONFIG_READER(config_read_u32)
{
    uint64_t number;

    if (integer_read(reader, key, value, &number))
        *(uint32_t *)field(target, key->offset) = (uint32_t)number;
}

CONFIG_READER(config_read_u64)
{
    uint64_t number;

    if (integer_read(reader, key, value, &number))
        *(uint64_t *)field(target, key->offset) = number;
}

CONFIG_READER(config_read_size)
{
    const char *text = config_scalar_text(reader, value, "a size, as in 256MiB");
    struct config_why why;

    if (text && config_value_size(text, key->min, key->max, field(target, key->offset), &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

CONFIG_READER(config_read_duration)
{
    const char *text = config_scalar_text(reader, value, "a duration, as in 30s, or off");
    struct config_why why;

    uint32_t *duration_ms = field(target, key->offset);
    if (text && config_value_duration(text, duration_ms, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
    else if (text && *duration_ms != 0 && *duration_ms < key->min)
        config_reader_refuse(reader, value->place, "%s is too short; write at least %" PRIu64 "ms, or off",
                             text, key->min);
}

CONFIG_READER(config_read_microseconds)
{
    const char *text = config_scalar_text(reader, value, "a duration, as in 100us, or off");
    struct config_why why;

    if (text && config_value_microseconds(text, (uint32_t)key->max, field(target, key->offset), &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

CONFIG_READER(config_read_boolean)
{
    const char *text = plain_text(reader, value, "true or false");
    struct config_why why;
    bool flag;

    if (!text)
        return;
    if (config_value_boolean(text, &flag, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
    else
        *(uint8_t *)field(target, key->offset) = flag;
}

CONFIG_READER(config_read_choice)
{
    const char *text = config_scalar_text(reader, value, "one word");
    struct config_why why;

    if (text && config_value_choice(text, key->choices, field(target, key->offset), &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

CONFIG_READER(config_read_name)
{
    const char *text = config_scalar_text(reader, value, "a name, as in web");
    struct config_why why;

    if (text && config_value_name(text, field(target, key->offset), key->max, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

CONFIG_READER(config_read_socket_buffer)
{
    const char *text = config_scalar_text(reader, value, "a size, as in 64KiB");
    struct config_why why;
    uint64_t bytes = 0;

    if (text && config_value_size(text, IMAGE_SOCKET_BUFFER_MIN, IMAGE_SOCKET_BUFFER_MAX, &bytes, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
    *(uint32_t *)field(target, key->offset) = (uint32_t)bytes;
}

CONFIG_READER(config_read_congestion)
{
    const char *text = config_scalar_text(reader, value, "a congestion control, as in cubic");
    struct config_why why;

    if (text && config_value_congestion(text, field(target, key->offset), key->max, &why) < 0)
        config_reader_refuse(reader, value->place, "%s", why.text);
}

CONFIG_READER(config_read_mapping)
{
    config_schema_read(reader, key->schema, value, field(target, key->offset));
}
