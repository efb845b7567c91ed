#include "io/source_port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "io/relay.h"
#include "io/worker.h"

enum {
    QUEUES_INITIAL = 64,
    /* Ports looked at for one connect: of those that rested too briefly, each once a second. */
    EXAMINE_MAX = 256,
    BORROW_TRIES = 4,     /* ports of other workers' parts */
    IDLE_MS = 120000,     /* a queue none of whose ports is taken is dropped after: more than 2MSL */
    UNBINDABLE_MS = 1000, /* an address that this machine does not have is left alone for so long */
};

/* Compared as a whole: without padding. */
struct source_key {
    uint8_t source[16]; /* as in the flow table; zero: the kernel chooses */
    uint8_t server[16];
    uint16_t server_port;
    uint16_t first, last; /* this worker's part */
    uint16_t low, high;   /* the range */
};

struct source_queue {
    struct source_key key;
    uint16_t next; /* in its chain */
    uint16_t index;
    uint8_t family; /* of the server */
    bool loopback;
    bool has_source;  /* the address is configured */
    bool knows_local; /* `local` is the address that connections come from */
    uint8_t local[16];
    uint32_t held; /* by sessions, borrowed ports included */
    uint64_t used_ms;
    uint64_t unbindable_until_ms;
    struct port_queue ports;
};

_Static_assert(sizeof(struct source_key) == 42, "without padding");

static void map_address(uint8_t family, const uint8_t *bytes, uint8_t mapped[16])
{
    if (family == ENDPOINT_V6) {
        memcpy(mapped, bytes, 16);
        return;
    }
    memset(mapped, 0, 10);
    memset(mapped + 10, 0xff, 2);
    memcpy(mapped + 12, bytes, 4);
}

int source_port_start(struct worker *worker)
{
    struct source_ports *sources = &worker->sources;

    sock_read_ports(&sources->host);
    sources->uses = calloc(worker->slab.capacity, sizeof(sources->uses[0]));
    return sources->uses != NULL ? 0 : -ENOMEM;
}

/* --- Queues --- */

/* This worker's part of a range: each has one, and there is no remainder. */
static void share_range(const struct worker *worker, struct source_key *key)
{
    uint32_t slots = worker->image->workers;
    uint32_t slot = worker->slot_index % slots; /* one that leaves shares another's */
    uint32_t count = (uint32_t)key->high - key->low + 1;
    uint32_t from = count * slot / slots;
    uint32_t to = count * (slot + 1) / slots;

    key->first = (uint16_t)(key->low + from);
    key->last = (uint16_t)(key->low + (to > from ? to - 1 : from));
}

static struct source_key key_of(const struct worker *worker, const struct image_pool *pool,
                                const struct image_address *address, const struct endpoint *server)
{
    const struct image_source *source = &pool->source;
    const struct sock_ports *host = &worker->sources.host;
    struct source_key key = {
        .server_port = server->port,
        .low = source->port_low > 0 ? source->port_low : host->low,
        .high = source->port_low > 0 ? source->port_high : host->high,
    };

    if (address != NULL) {
        map_address(address->family, address->bytes, key.source);
    }
    map_address(server->family, server->bytes, key.server);
    share_range(worker, &key);
    return key;
}

static uint16_t *chain_of(struct worker *worker, const struct source_key *key)
{
    struct flow_key tuple = {.local_port = key->first, .remote_port = key->server_port};

    memcpy(tuple.local, key->source, sizeof(tuple.local));
    memcpy(tuple.remote, key->server, sizeof(tuple.remote));
    return &worker->sources.chains[flow_hash(&tuple, worker->flows.seed) % SOURCE_CHAINS];
}

static void drop_queue(struct worker *worker, struct source_queue *queue)
{
    struct source_ports *sources = &worker->sources;
    uint16_t *place = chain_of(worker, &queue->key);

    while (*place != queue->index + 1) {
        place = &sources->queues[*place - 1]->next;
    }
    *place = queue->next;
    sources->queues[queue->index] = NULL;
    free(queue->ports.nodes);
    free(queue);
}

static bool extend_places(struct source_ports *sources)
{
    uint32_t places = sources->queue_places == 0 ? QUEUES_INITIAL : 2 * sources->queue_places;
    struct source_queue **queues =
        places < SOURCE_QUEUES_MAX ? calloc(places, sizeof(struct source_queue *)) : NULL;

    if (queues == NULL) {
        return false;
    }
    if (sources->queue_places > 0) {
        memcpy(queues, sources->queues, sources->queue_places * sizeof(struct source_queue *));
    }
    free(sources->queues);
    sources->queues = queues;
    sources->queue_places = places;
    return true;
}

/* A free place for a queue. NULL: there is none. */
static struct source_queue **free_place(struct source_ports *sources)
{
    while (sources->first_free < sources->queue_places && sources->queues[sources->first_free] != NULL) {
        sources->first_free++;
    }
    if (sources->first_free == sources->queue_places && !extend_places(sources)) {
        return NULL;
    }
    return &sources->queues[sources->first_free];
}

/* Looks at one queue with each connect, whether nobody has used it for long. */
static void drop_idle(struct worker *worker)
{
    struct source_ports *sources = &worker->sources;
    uint32_t index = sources->turn % (sources->queue_places + 1);
    struct source_queue *queue = index < sources->queue_places ? sources->queues[index] : NULL;

    if (queue != NULL && queue->held == 0 && worker->now_ms - queue->used_ms > IDLE_MS) {
        drop_queue(worker, queue);
        sources->first_free = index < sources->first_free ? index : sources->first_free;
    }
}

static bool is_loopback(const struct endpoint *server)
{
    static const uint8_t loopback[16] = {[15] = 1};

    return server->family == ENDPOINT_V4 ? server->bytes[0] == 127
                                         : memcmp(server->bytes, loopback, sizeof(loopback)) == 0;
}

static struct source_queue *create_queue(struct worker *worker, const struct source_key *key,
                                         const struct image_address *address, const struct endpoint *server)
{
    struct source_queue **place = free_place(&worker->sources);
    struct source_queue *queue = place != NULL ? calloc(1, sizeof(*queue)) : NULL;
    uint16_t *chain = chain_of(worker, key);

    if (queue == NULL) {
        return NULL;
    }
    queue->key = *key;
    queue->index = (uint16_t)(place - worker->sources.queues);
    queue->next = *chain;
    queue->family = server->family;
    queue->has_source = address != NULL;
    queue->loopback = is_loopback(server);
    queue->used_ms = worker->now_ms;
    queue->knows_local = queue->has_source || sock_source_toward(server, queue->local);
    if (queue->has_source) {
        memcpy(queue->local, key->source, sizeof(queue->local));
    }
    /* Where an earlier incarnation left off is not known: begin anywhere, so that its newest TIME_WAITs rest. */
    port_queue_init(&queue->ports, key->first, (uint32_t)key->last - key->first + 1,
                    (uint32_t)(worker->now_us % 65521));
    *chain = (uint16_t)(queue->index + 1);
    *place = queue;
    return queue;
}

static struct source_queue *find_queue(struct worker *worker, const struct image_pool *pool,
                                       const struct image_address *address, const struct endpoint *server)
{
    struct source_key key = key_of(worker, pool, address, server);

    for (uint16_t at = *chain_of(worker, &key); at != 0;) {
        struct source_queue *queue = worker->sources.queues[at - 1];
        if (memcmp(&queue->key, &key, sizeof(key)) == 0) {
            return queue;
        }
        at = queue->next;
    }
    return create_queue(worker, &key, address, server);
}

/* --- Ports --- */

static uint32_t two_msl_ms(const struct worker *worker)
{
    const struct region_time_wait *time_wait = &worker->region.header->time_wait;

    return time_wait->owned ? time_wait->two_msl_ms : FLOW_TWO_MSL_MS;
}

static enum port_reuse reuse_of(const struct worker *worker, const struct source_queue *queue)
{
    enum sock_reuse allowed = worker->sources.host.reuse;

    if (worker->region.header->time_wait.owned) {
        return PORT_REUSE_TIMESTAMPS;
    }
    return allowed == SOCK_REUSE_ALL || (allowed == SOCK_REUSE_LOOPBACK && queue->loopback)
               ? PORT_REUSE_KERNEL
               : PORT_REUSE_LATE;
}

/* What the flow table has of a tuple. Where the kernel keeps TIME_WAIT an elder entry may stand beside a younger. */
struct tuple_entries {
    uint32_t count;
    bool reusable; /* all of them */
};

static struct tuple_entries find_entries(const struct worker *worker, const struct source_queue *queue,
                                         uint16_t port)
{
    struct flow_key key = {.local_port = port, .remote_port = queue->key.server_port};
    struct tuple_entries found = {.reusable = true};
    struct flow_entry entries[2 * FLOW_WAYS];

    memcpy(key.local, queue->local, sizeof(key.local));
    memcpy(key.remote, queue->key.server, sizeof(key.remote));
    found.count = queue->knows_local ? flow_table_copy(&worker->flows, &key, entries) : 0;
    for (uint32_t i = 0; i < found.count; i++) {
        found.reusable = found.reusable && port_may_reuse(&entries[i], reuse_of(worker, queue),
                                                          two_msl_ms(worker), worker->now_ms);
    }
    return found;
}

static bool may_use(const struct worker *worker, const struct source_queue *queue, uint16_t port)
{
    return find_entries(worker, queue, port).reusable;
}

static bool is_reserved(const struct worker *worker, uint16_t port)
{
    return (worker->sources.host.reserved[port / 8] >> port % 8 & 1) != 0;
}

static void extend_queue(struct source_queue *queue)
{
    uint32_t needs = port_queue_needs(&queue->ports);
    struct port_node *nodes = needs > 0 ? calloc(needs, sizeof(*nodes)) : NULL;

    if (nodes != NULL) { /* else the ports that were used before have to do */
        free(port_queue_extend(&queue->ports, nodes, needs));
    }
}

/* The oldest port of the worker's own that may be used; 0: there is none. */
static uint16_t take_own(const struct worker *worker, struct source_queue *queue)
{
    for (int n = 0; n < EXAMINE_MAX; n++) {
        extend_queue(queue);
        uint16_t port = port_queue_take(&queue->ports, worker->now_ms);
        if (port == 0) {
            return 0;
        }
        if (is_reserved(worker, port)) {
            continue;
        }
        if (may_use(worker, queue, port)) {
            return port;
        }
        port_queue_return(&queue->ports, port, true, worker->now_ms);
    }
    return 0;
}

/* A port of another worker's part, by chance; the kernel decides where both take it. */
static uint16_t borrow(struct worker *worker, struct source_queue *queue)
{
    const struct source_key *key = &queue->key;
    uint32_t count = (uint32_t)key->high - key->low + 1;

    for (int n = 0; n < BORROW_TRIES && key->last - key->first + 1u < count; n++) {
        worker->sources.turn++;
        uint64_t chance = flow_mix(worker->now_us + worker->sources.turn);
        uint16_t port = (uint16_t)(key->low + chance % count);
        if ((port < key->first || port > key->last) && !is_reserved(worker, port) &&
            may_use(worker, queue, port)) {
            relay_count(worker, &worker->slot->stats.port_fallbacks, 1);
            return port;
        }
    }
    return 0;
}

static bool take_from(struct worker *worker, uint32_t session_index, struct source_queue *queue)
{
    if (queue == NULL || queue->unbindable_until_ms > worker->now_ms) {
        return false;
    }
    uint16_t port = take_own(worker, queue);
    port = port != 0 ? port : borrow(worker, queue);
    if (port == 0) {
        return false;
    }
    queue->used_ms = worker->now_ms;
    queue->held++;
    worker->sources.uses[session_index] =
        (struct source_use){.queue = (uint16_t)(queue->index + 1), .port = port};
    return true;
}

bool source_port_take(struct worker *worker, uint32_t session_index, const struct image_pool *pool,
                      const struct endpoint *server)
{
    const struct image_source *source = &pool->source;
    uint32_t turn = worker->sources.turn++;

    drop_idle(worker);
    if (source->address_count == 0) {
        return take_from(worker, session_index, find_queue(worker, pool, NULL, server));
    }
    for (uint32_t n = 0; n < source->address_count; n++) {
        const struct image_address *address = &source->addresses[(turn + n) % source->address_count];
        if (address->family == server->family &&
            take_from(worker, session_index, find_queue(worker, pool, address, server))) {
            return true;
        }
    }
    return false;
}

bool source_port_is_taken(const struct worker *worker, uint32_t session_index)
{
    return worker->sources.uses[session_index].queue != 0;
}

static void complain(struct worker *worker, const struct source_queue *queue, int error)
{
    bool ipv4 = queue->family == ENDPOINT_V4;
    char text[INET6_ADDRSTRLEN];

    if (worker->now_ms < worker->sources.log_after_ms) {
        return;
    }
    worker->sources.log_after_ms = worker->now_ms + SOURCE_LOG_EVERY_MS;
    inet_ntop(ipv4 ? AF_INET : AF_INET6, queue->key.source + (ipv4 ? 12 : 0), text, sizeof(text));
    log_line(
        LOG_LEVEL_ERROR,
        "event=source_failed source=%s error=\"%s\" what=\"%sother addresses are used, if there are any; "
        "tried again every second\"",
        text, strerror(error), error == EADDRNOTAVAIL ? "this machine does not have it; " : "");
}

int source_port_apply(struct worker *worker, uint32_t session_index, int fd)
{
    struct source_use use = worker->sources.uses[session_index];
    struct source_queue *queue = worker->sources.queues[use.queue - 1];
    const struct sock_ports *host = &worker->sources.host;
    bool window = host->windows && use.port >= host->low && use.port <= host->high;
    int result = 0;

    if (window) {
        result = sock_port_window(fd, use.port, use.port);
    }
    if (result == 0 && (queue->has_source || !window)) {
        result = sock_bind_source(fd, queue->family, queue->key.source, window ? 0 : use.port);
    }
    if (result == 0) {
        return 0;
    }
    if (result == -EADDRINUSE) {
        relay_count(worker, &worker->slot->stats.ports_refused, 1);
    } else if (queue->has_source) { /* the address is not of this machine */
        queue->unbindable_until_ms = worker->now_ms + UNBINDABLE_MS;
        complain(worker, queue, -result);
    }
    source_port_release(worker, session_index, true);
    return result;
}

void source_port_connected(struct worker *worker, uint32_t session_index, const struct flow_key *key)
{
    struct source_use use = worker->sources.uses[session_index];

    if (use.queue != 0) {
        struct source_queue *queue = worker->sources.queues[use.queue - 1];
        memcpy(queue->local, key->local, sizeof(queue->local));
        queue->knows_local = true;
    }
}

void source_port_release(struct worker *worker, uint32_t session_index, bool rests)
{
    struct source_use *use = &worker->sources.uses[session_index];

    if (use->queue == 0) {
        return;
    }
    struct source_queue *queue = worker->sources.queues[use->queue - 1];
    rests = rests || find_entries(worker, queue, use->port).count > 0;
    port_queue_return(&queue->ports, use->port, rests, worker->now_ms);
    queue->used_ms = worker->now_ms;
    queue->held--;
    use->queue = 0;
}
