#include "cmd/show.h"

#include <stdlib.h>

#include "cmd/instance.h"

int show_summary(const struct command_options *options, show_text *text, show_json *json)
{
    static struct summary summary; /* large */
    struct instance instance;
    struct region region;

    if (instance_open(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    summary_read(&summary, &region);
    if (options->json) {
        json(stdout, &summary, &region);
    } else {
        text(&summary, &region);
    }
    region_detach(&region);
    return EXIT_SUCCESS;
}
