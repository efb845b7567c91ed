#include "cmd/command.h"

const char *penstock_version(void)
{
    return PENSTOCK_VERSION;
}
