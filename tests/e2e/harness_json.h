/*
 * Picks values out of the JSON that penstock and the load tools print. Not a validator: the text is theirs.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_JSON_H
#define PENSTOCK_TESTS_E2E_HARNESS_JSON_H

#include <stdint.h>

/* The value at a path of keys and array indices, "servers.0.connects"; NULL where there is none. */
const char *json_find(const char *json, const char *path);

/* The number there; the test fails where there is none. true is 1, false 0. */
uint64_t json_number(const char *json, const char *path);

#endif
