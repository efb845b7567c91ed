#include "core/chain.h"

#include "core/check.h"

void chain_append(struct conn *conn, const struct buffer_table *table, uint32_t id, uint32_t length)
{
    CHECK(id < table->count);
    CHECK(length > 0 && length <= buffer_capacity(table, id));
    table->records[id] = (struct buffer_record){.next = BUFFER_NONE, .length = length};
    if (conn->chain_head == BUFFER_NONE) {
        conn->chain_head = id;
        conn->chain_offset = 0;
    } else {
        table->records[conn->chain_tail].next = id;
    }
    conn->chain_tail = id;
    conn->queued_bytes += length;
    conn->held_bytes += buffer_capacity(table, id);
}

struct buffer_list chain_consume(struct conn *conn, const struct buffer_table *table, uint32_t bytes)
{
    struct buffer_list released = {.first = conn->chain_head, .count = 0};

    CHECK(bytes <= conn->queued_bytes);
    conn->queued_bytes -= bytes;
    while (bytes > 0) {
        const struct buffer_record *head = &table->records[conn->chain_head];
        uint32_t left = head->length - conn->chain_offset;
        if (bytes < left) {
            conn->chain_offset += bytes;
            break;
        }
        bytes -= left;
        released.count++;
        conn->held_bytes -= buffer_capacity(table, conn->chain_head);
        conn->chain_head = head->next;
        conn->chain_offset = 0;
    }
    if (conn->chain_head == BUFFER_NONE) {
        conn->chain_tail = BUFFER_NONE;
    }
    return released;
}

struct buffer_list chain_clear(struct conn *conn, const struct buffer_table *table)
{
    return chain_consume(conn, table, conn->queued_bytes);
}

uint32_t chain_replace(struct conn *conn, const struct buffer_table *table, uint32_t id)
{
    uint32_t old = conn->chain_head;

    CHECK(old != BUFFER_NONE && old == conn->chain_tail);
    CHECK(conn->queued_bytes <= buffer_capacity(table, id));
    table->records[id] = (struct buffer_record){.next = BUFFER_NONE, .length = conn->queued_bytes};
    conn->chain_head = id;
    conn->chain_tail = id;
    conn->chain_offset = 0;
    conn->held_bytes = buffer_capacity(table, id);
    return old;
}

bool chain_check(const struct conn *conn, const struct buffer_table *table)
{
    uint64_t bytes = 0;
    uint64_t held = 0;
    uint32_t last = BUFFER_NONE;
    uint32_t steps = 0;

    for (uint32_t id = conn->chain_head; id != BUFFER_NONE; id = table->records[id].next) {
        if (id >= table->count || steps++ > table->count) {
            return false;
        }
        if (table->records[id].length == 0 || table->records[id].length > buffer_capacity(table, id)) {
            return false;
        }
        bytes += table->records[id].length;
        held += buffer_capacity(table, id);
        last = id;
    }
    if (last != conn->chain_tail || held != conn->held_bytes) {
        return false;
    }
    if (last == BUFFER_NONE) {
        return conn->queued_bytes == 0 || conn->pipe != PIPE_NONE;
    }
    return conn->chain_offset < table->records[conn->chain_head].length &&
           bytes - conn->chain_offset == conn->queued_bytes;
}
