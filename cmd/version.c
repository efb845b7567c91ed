#include <stdio.h>
#include <stdlib.h>

#include "cmd/command.h"
#include "io/probe.h"
#include "shm/region.h"

const char *penstock_version(void)
{
    return PENSTOCK_VERSION;
}

int command_version_layout(void)
{
    struct probe_result result;

    printf("penstock %s\nlayout %u\n", penstock_version(), region_layout_version());
    if (probe_kernel(&result) != 0) {
        printf("%s\n", result.cause);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
