#include "cmd/exporter/json_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct json_list {
    json_list_next *next;
    void *items;
    FILE *out; /* writes into `text` */
    size_t used, read;
    bool begun, ended;
    char text[2 + JSON_ITEM_BYTES]; /* what is before an item, and it */
};

struct json_list *json_list_create(json_list_next *next, void *items)
{
    struct json_list *list = items != NULL ? calloc(1, sizeof(*list)) : NULL;

    if (list != NULL) {
        list->next = next;
        list->items = items;
        list->out = fmemopen(list->text, sizeof(list->text), "w");
    }
    if (list == NULL || list->out == NULL) {
        free(list);
        free(items);
        return NULL;
    }
    return list;
}

void json_list_destroy(struct json_list *list)
{
    fclose(list->out);
    free(list->items);
    free(list);
}

/* Writes the next piece of the list into `text`. */
static void print_next(struct json_list *list)
{
    rewind(list->out);
    fputs(list->begun ? ",\n" : "[\n", list->out);
    if (list->next(list->out, list->items)) {
        list->begun = true;
    } else {
        rewind(list->out);
        fputs(list->begun ? "\n]\n" : "[]\n", list->out);
        list->ended = true;
    }
    list->used = (size_t)ftell(list->out);
    list->read = 0;
    fflush(list->out);
}

size_t json_list_read(struct json_list *list, char *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        if (list->read == list->used) {
            if (list->ended) {
                break;
            }
            print_next(list);
        }
        size_t part = list->used - list->read;
        part = part < size - done ? part : size - done;
        memcpy(buffer + done, list->text + list->read, part);
        list->read += part;
        done += part;
    }
    return done;
}

int json_list_print(FILE *out, struct json_list *list)
{
    char piece[JSON_ITEM_BYTES];
    size_t got;

    if (list == NULL) {
        return -ENOMEM;
    }
    while ((got = json_list_read(list, piece, sizeof(piece))) > 0) {
        fwrite(piece, 1, got, out);
    }
    json_list_destroy(list);
    return 0;
}
