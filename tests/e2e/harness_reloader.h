/*
 * Reloads again and again, by a file that is the same, changed, broken, or wants other workers or listeners.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_RELOADER_H
#define PENSTOCK_TESTS_E2E_HARNESS_RELOADER_H

#include <stdint.h>

struct reloader {
    uint16_t server_port;
    uint16_t spare_port; /* of a listener that comes and goes */
    unsigned reloads;    /* carried out */
    unsigned refused;    /* broken files */
};

/* Starts an instance of two workers with a server at `server_port`. */
void reloader_begin(struct reloader *reloader, uint16_t server_port);

/* Carries out `count` more reloads, with a broken file among each ten. Each must end as it has to. */
void reloader_run(struct reloader *reloader, unsigned count);

#endif
