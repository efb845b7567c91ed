/*
 * penstock run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/supervisor.h"
#include "io/log.h"

int command_run(const struct command_options *options)
{
    static struct supervisor supervisor; /* large */

    log_init(LOG_LEVEL_INFO, "supervisor");
    supervisor.config_path = options->config;
    supervisor.program = options->program;
    supervisor.image = command_load(options->config, false);
    if (supervisor.image == NULL) {
        return EXIT_FAILURE;
    }
    log_init(supervisor.image->log_level, "supervisor");
    int result = instance_claim(&supervisor.instance, supervisor.image->name);
    if (result == -EBUSY) {
        log_line(
            LOG_LEVEL_ERROR,
            "event=start_failed what=\"an instance named %s runs already, process %d; choose another name or stop "
            "it\"",
            supervisor.image->name, supervisor.instance.pid);
    } else if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=start_failed path=%s error=\"%s\" what=\"%s\"",
                 supervisor.instance.path, strerror(-result),
                 geteuid() == 0
                     ? "the directory must be one that can be written to"
                     : "without root the instance is noted below $XDG_RUNTIME_DIR, which must be a "
                       "directory of your own");
    }
    int status = result == 0 ? supervisor_run(&supervisor) : EXIT_FAILURE;
    instance_release(&supervisor.instance, supervisor.ended);
    free(supervisor.image);
    return status;
}
