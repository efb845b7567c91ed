/*
 * Any bytes as a configuration: either an image that holds, or at least one mistake; nothing leaks, nothing hangs.
 */
#include "config/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void demand(bool condition)
{
    if (!condition)
        abort();
}

/* Mistakes are in order, each with a place within the text and a message. */
static void report_check(const struct config_report *report, size_t size)
{
    demand(report->count <= CONFIG_REPORT_MAX);
    for (uint32_t i = 0; i < report->count; i++) {
        const struct config_mistake *mistake = &report->mistakes[i];
        const struct config_mistake *before = i ? mistake - 1 : mistake;

        demand(mistake->message[0] != '\0');
        demand(mistake->place.line <= size + 1 && mistake->place.column <= size + 1);
        demand(before->place.line < mistake->place.line ||
               (before->place.line == mistake->place.line && before->place.column <= mistake->place.column));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct config_options options = {.cpus = 3};
    static const struct machine_facts facts = {.nofile_limit = 1024, .memory_bytes = 1 << 30};
    static struct config_report report;
    struct config_positions positions;
    struct image *image;

    if (config_parse_memory("fuzz", (const char *)bytes, size, &options, &report, &image, &positions) < 0) {
        demand(image == NULL && report.count > 0);
    } else {
        demand(report.count == 0 && image_check(image, image->size));
        demand(image->listener_count > 0 && image->bind_count > 0 && image->server_count > 0);
        for (uint32_t i = 0; i < image->listener_count; i++)
            demand(image_timeouts_of(image, i, image_listener(image, i)->pool).idle_ms != IMAGE_INHERIT);
        config_check_machine(image, &positions, &facts, &report);
    }
    report_check(&report, size);
    free(image);
    return 0;
}
