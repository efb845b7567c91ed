#include "core/port_queue.h"

#include <string.h>

#define NODE_NONE UINT16_MAX

enum { SINCE_UNIT_MS = 125, REST_UNITS = PORT_REST_MS / SINCE_UNIT_MS };

static uint16_t units_of(uint64_t now_ms)
{
    return (uint16_t)(now_ms / SINCE_UNIT_MS);
}

static uint16_t age_of(const struct port_queue *queue, uint16_t index, uint64_t now_ms)
{
    return (uint16_t)(units_of(now_ms) - queue->nodes[index].since);
}

static void push(struct port_queue *queue, struct port_list *list, uint16_t index)
{
    queue->nodes[index].next = NODE_NONE;
    if (list->head == NODE_NONE) {
        list->head = index;
    } else {
        queue->nodes[list->tail].next = index;
    }
    list->tail = index;
}

static uint16_t pop(struct port_queue *queue, struct port_list *list)
{
    uint16_t index = list->head;

    list->head = queue->nodes[index].next;
    return index;
}

void port_queue_init(struct port_queue *queue, uint16_t first, uint32_t count, uint32_t start)
{
    *queue = (struct port_queue){
        .first = first,
        .count = count,
        .start = start % count,
        .ready = {NODE_NONE, NODE_NONE},
        .resting = {NODE_NONE, NODE_NONE},
    };
}

uint32_t port_queue_needs(const struct port_queue *queue)
{
    uint32_t wanted = queue->capacity == 0 ? PORT_NODES_INITIAL : 2 * queue->capacity;

    if (queue->used < queue->capacity || queue->used == queue->count) {
        return 0;
    }
    return wanted < queue->count ? wanted : queue->count;
}

struct port_node *port_queue_extend(struct port_queue *queue, struct port_node *nodes, uint32_t capacity)
{
    struct port_node *before = queue->nodes;

    if (queue->used > 0) {
        memcpy(nodes, before, queue->used * sizeof(*nodes));
    }
    queue->nodes = nodes;
    queue->capacity = capacity;
    return before;
}

/* The queue whose head is older; NULL: there is nobody to be taken. */
static struct port_list *older(struct port_queue *queue, uint64_t now_ms)
{
    uint16_t ready = queue->ready.head;
    uint16_t resting = queue->resting.head;
    bool rested = resting != NODE_NONE && age_of(queue, resting, now_ms) > REST_UNITS;

    if (ready == NODE_NONE) {
        return rested ? &queue->resting : NULL;
    }
    return rested && age_of(queue, resting, now_ms) > age_of(queue, ready, now_ms) ? &queue->resting
                                                                                   : &queue->ready;
}

uint16_t port_queue_take(struct port_queue *queue, uint64_t now_ms)
{
    uint16_t index;

    if (queue->used < queue->capacity) {
        index = (uint16_t)queue->used++;
    } else {
        struct port_list *list = older(queue, now_ms);
        if (list == NULL) {
            return 0;
        }
        index = pop(queue, list);
    }
    queue->nodes[index].next = index;
    return (uint16_t)(queue->first + (queue->start + index) % queue->count);
}

void port_queue_return(struct port_queue *queue, uint16_t port, bool rests, uint64_t now_ms)
{
    uint32_t offset = (uint32_t)port - queue->first;
    uint32_t index = (offset + queue->count - queue->start) % queue->count;

    if (offset >= queue->count || index >= queue->used || queue->nodes[index].next != index) {
        return;
    }
    queue->nodes[index].since = units_of(now_ms);
    push(queue, rests ? &queue->resting : &queue->ready, (uint16_t)index);
}

bool port_may_reuse(const struct flow_entry *entry, enum port_reuse reuse, uint32_t two_msl_ms,
                    uint64_t now_ms)
{
    int32_t left_ms = (int32_t)(entry->expire_ms - (uint32_t)now_ms);

    if (entry->state != FLOW_TIME_WAIT || left_ms <= 0) {
        return entry->state == FLOW_TIME_WAIT;
    }
    if (reuse == PORT_REUSE_LATE || (reuse == PORT_REUSE_TIMESTAMPS && !(entry->flags & FLOW_TIMESTAMPS))) {
        return false;
    }
    return (int64_t)two_msl_ms - left_ms > PORT_REST_MS;
}
