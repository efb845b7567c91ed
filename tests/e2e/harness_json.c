#include "tests/e2e/harness_json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/harness.h"

static const char *skip_space(const char *at)
{
    while (isspace((unsigned char)*at)) {
        at++;
    }
    return at;
}

static const char *skip_string(const char *at)
{
    for (at++; *at != '"' && *at != '\0'; at++) {
        at += *at == '\\' && at[1] != '\0';
    }
    return *at == '"' ? at + 1 : at;
}

/* Behind the value that begins at `at`. */
static const char *skip_value(const char *at)
{
    unsigned depth = 0;

    do {
        if (*at == '"') {
            at = skip_string(at);
            continue;
        }
        depth += *at == '{' || *at == '[';
        if (depth == 0 && (*at == ',' || *at == '}' || *at == ']')) {
            break;
        }
        depth -= *at == '}' || *at == ']';
        at += *at != '\0';
    } while (*at != '\0' && (depth > 0 || (*at != ',' && *at != '}' && *at != ']')));
    return at;
}

/* The value of one member or element of the object or array at `at`. */
static const char *find_member(const char *at, const char *key, size_t length)
{
    bool object = *at == '{';
    unsigned long index = 0;

    if (!object && *at != '[') {
        return NULL;
    }
    for (at = skip_space(at + 1); *at != '\0' && *at != '}' && *at != ']'; index++) {
        bool found = !object && strtoul(key, NULL, 10) == index;
        if (object) {
            const char *end = skip_string(at);
            found = (size_t)(end - at) == length + 2 && strncmp(at + 1, key, length) == 0;
            at = skip_space(end);
            at = skip_space(*at == ':' ? at + 1 : at);
        }
        if (found) {
            return at;
        }
        at = skip_space(skip_value(at));
        at = skip_space(*at == ',' ? at + 1 : at);
    }
    return NULL;
}

const char *json_find(const char *json, const char *path)
{
    const char *at = skip_space(json);

    while (at != NULL && *path != '\0') {
        size_t length = strcspn(path, ".");
        at = find_member(at, path, length);
        path += length + (path[length] == '.');
    }
    return at;
}

uint64_t json_number(const char *json, const char *path)
{
    const char *value = json_find(json, path);

    cr_assert_not_null(value, "no %s in: %s", path, json);
    if (strncmp(value, "true", 4) == 0) {
        return 1;
    }
    if (strncmp(value, "false", 5) == 0) {
        return 0;
    }
    cr_assert(isdigit((unsigned char)*value), "%s is no number in: %s", path, json);
    return strtoull(value, NULL, 10);
}
