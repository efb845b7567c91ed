/*
 * penstock servers: every server and what it gets, as text or JSON.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cmd/exporter/json.h"
#include "cmd/show.h"
#include "cmd/text.h"
#include "shm/name_row.h"

static void print_text(const struct summary *summary, const struct region *region)
{
    char to[TEXT_NUMBER_MAX];
    char from[TEXT_NUMBER_MAX];

    printf("%-16s %-28s %-5s %6s %9s %10s %9s %9s %7s %7s %11s %11s\n", "POOL", "SERVER", "STATE", "WEIGHT",
           "SESSIONS", "CONNECTS", "FAILURES", "MOVED ON", "PORTS", "NO PORT", "BYTES TO", "BYTES FROM");
    for (uint32_t row = 0; row < summary->server_rows; row++) {
        const struct name_row *name = region_name(region, NAME_SERVER, (uint16_t)row);
        const struct server_counters *server = &summary->server[row];
        const struct ports_used *ports = &summary->ports[row];
        printf("%-16s %-28s %-5s %6u %9u %10" PRIu64 " %9" PRIu64 " %9" PRIu64 " %7" PRIu64 " %7" PRIu64
               " %11s %11s%s\n",
               name->pool, name->name, admin_state_text(admin_state_of(summary->server_orders[row])),
               summary->server_weights[row], server->sessions, server->connects, server->failures,
               server->redispatches, ports->active + ports->time_wait, server->ports_exhausted,
               text_bytes(to, server->bytes_to), text_bytes(from, server->bytes_from),
               name->current ? "" : "  (no longer configured)");
    }
}

int command_servers(const struct command_options *options)
{
    return show_summary(options, print_text, json_servers);
}
