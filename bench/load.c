/*
 * load: the client of Penstock's tests, benchmarks and demos. One thread. Command line and report; a run is
 * load_run.c, the modes are load_<mode>.c. Exit status: 0 all well, 1 any bad counter, 2 could not run.
 */
#include "bench/load_mode.h"
#include "bench/load_options.h"
#include "bench/load_report.h"
#include "bench/load_run.h"

#include <stdio.h>
#include <string.h>

static const struct load_mode *find_mode(const char *name)
{
    static const struct load_mode *const modes[] = {
        &load_mode_pingpong, &load_mode_connect, &load_mode_bulk,
        &load_mode_idle,     &load_mode_streams, &load_mode_slow,
    };
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(name, modes[i]->name) == 0)
            return modes[i];
    return NULL;
}

int main(int argc, char **argv)
{
    static struct load load; /* large: the histogram */
    struct load_options options;
    int status = 2;

    int parsed = load_options_parse(&options, argc, argv);
    if (parsed != 0)
        return parsed > 0 ? 0 : 2;
    const struct load_mode *mode = find_mode(options.mode);
    if (mode == NULL) {
        fprintf(stderr, "load: no such mode: %s (see --help)\n", options.mode);
        return 2;
    }
    if (load_init(&load, &options, mode) != 0)
        goto out;
    int error = load_run(&load);
    if (error != 0) {
        fprintf(stderr, "load: %s\n", strerror(-error));
        goto out;
    }
    load_report_print(&load);
    status = load_is_well(&load) ? 0 : 1;
out:
    load_fini(&load);
    return status;
}
