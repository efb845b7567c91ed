/*
 * Many connections of the peers' kernel through Penstock, to servers that are there, too; half of the final ACKs that
 * Penstock's end sends are lost, so that FINs come again to an end in TIME_WAIT.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_CLOSES_H
#define PENSTOCK_TESTS_E2E_HARNESS_CLOSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct closes {
    uint32_t count;
    bool of_servers; /* whose FINs come again: the servers'; else the clients' */
    bool ipv6;
    const char *interface; /* of the peer; NULL: peer0 */
    const char *address;   /* where Penstock is reached; NULL: LAB_SERVER or LAB_SERVER6 */
};

/* The servers' port, and an element of `servers`. Call before Penstock is started. */
uint16_t closes_listen(const struct closes *closes);
const char *closes_server(const struct closes *closes);

/* Begins to lose ACKs, and starts the connections, one after the other, in a process of its own, whose exit
 * status is 0 when all is well. Penstock listens at bed.port. */
pid_t closes_start(const struct closes *closes);

/* Waits until every FIN is answered; says what happened. */
struct closes_result {
    uint64_t arrived; /* ACKs of FINs */
    uint64_t lost;
    uint64_t resets; /* to the same */
};
struct closes_result closes_finish(const struct closes *closes, pid_t pid);

#endif
