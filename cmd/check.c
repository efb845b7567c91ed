/*
 * penstock check, and the loading of configurations that `run` and `reload` share with it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/command.h"
#include "cmd/machine.h"
#include "cmd/privileges.h"
#include "io/interface.h"
#include "io/sock.h"

struct image *command_load(const char *path, bool starting)
{
    static struct config_report report; /* large */
    struct config_options options = {.cpus = machine_cpus()};
    struct config_positions positions;
    struct machine_facts facts;
    struct image *image = NULL;
    const char *why = "";

    if (config_load(path, &options, &report, &image, &positions) == 0) {
        machine_read(&facts, starting);
        (void)config_check_machine(image, &positions, &facts, &report);
        if (privileges_check(image->user, &why) < 0) {
            config_report_add(&report, (struct config_place){0}, "user: '%s': %s", image->user, why);
        }
    }
    if (report.count > 0) {
        config_report_print(&report, stderr);
        free(image);
        return NULL;
    }
    return image;
}

/* Above that load new connections begin to find no place: their TIME_WAITs are not recorded. */
static void advise_flows(const char *path, const struct image *image)
{
    uint64_t living = 2 * image->sessions_limit;

    if (image->flows_limit > 0 && living * 100 > image->flows_limit * IMAGE_FLOW_LOAD_PERCENT) {
        printf(
            "%s: advice: limits.flows: living sessions alone may fill %lu %% of the entries, and TIME_WAITs come on "
            "top; write %lu or more, or leave it out\n",
            path, (unsigned long)(living * 100 / image->flows_limit),
            (unsigned long)(living * 100 / IMAGE_FLOW_LOAD_PERCENT));
    }
}

/* Connections cannot come from a port that is listened on. */
static void advise_source_ports(const char *path, const struct image *image)
{
    char text[ENDPOINT_TEXT_MAX];

    for (uint32_t i = 0; i < image->pool_count; i++) {
        const struct image_source *source = &image_pool(image, i)->source;
        for (uint32_t k = 0; k < image->bind_count; k++) {
            const struct endpoint *bind = &image_bind(image, k)->endpoint;
            if (bind->port > 0 && bind->port >= source->port_low && bind->port <= source->port_high) {
                printf("%s: advice: pools[%u].source.ports: port %u is that of the listener at %s and stays "
                       "unused; write a range without it\n",
                       path, i, bind->port, endpoint_format(bind, text, sizeof(text)));
            }
        }
    }
}

static void advise_source_addresses(const char *path, const struct image *image)
{
    for (uint32_t i = 0; i < image->pool_count; i++) {
        const struct image_source *source = &image_pool(image, i)->source;
        for (uint32_t k = 0; k < source->address_count; k++) {
            if (sock_probe_source(&source->addresses[k]) == -EADDRNOTAVAIL) {
                printf(
                    "%s: advice: pools[%u].source.addresses[%u] is not an address of this machine now; nothing "
                    "can be connected from it\n",
                    path, i, k);
            }
        }
    }
}

/* Owning begins with all that are named, or not at all; a reload takes others as they come. */
static void advise_interfaces(const char *path, const struct image_time_wait *time_wait)
{
    for (uint32_t i = 0; i < time_wait->interface_count; i++) {
        if (interface_find(time_wait->interfaces[i]) == -ENODEV) {
            printf(
                "%s: advice: time_wait.interfaces[%u]: there is no '%s' now; without it TIME_WAIT cannot be owned at "
                "a start\n",
                path, i, time_wait->interfaces[i]);
        }
    }
}

int command_check(const struct command_options *options)
{
    struct image *image = command_load(options->config, false);

    if (image == NULL) {
        return EXIT_FAILURE;
    }
    printf("%s: good: %u listeners, %u pools, %u servers, %u workers, %lu sessions, %lu MiB of buffers\n",
           options->config, image->listener_count, image->pool_count, image->server_count, image->workers,
           (unsigned long)image->sessions_limit, (unsigned long)(image->buffer_bytes_limit >> 20));
    advise_flows(options->config, image);
    advise_source_ports(options->config, image);
    advise_source_addresses(options->config, image);
    advise_interfaces(options->config, &image->time_wait);
    free(image);
    return EXIT_SUCCESS;
}
