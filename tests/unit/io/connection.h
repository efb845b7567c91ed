/*
 * Real TCP connections for a test, in a network namespace of the test's own where it may make one: ports that others
 * have used up are then none of its business.
 */
#ifndef PENSTOCK_TESTS_UNIT_IO_CONNECTION_H
#define PENSTOCK_TESTS_UNIT_IO_CONNECTION_H

/* Before the first connection of a test. */
void connection_isolate(void);

/* Both ends of a TCP connection; ends[1] was accepted, with a receive buffer of so many bytes (0: the system's). */
void connection_make(int ends[2], int receive_bytes);

#endif
