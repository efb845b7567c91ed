/*
 * The descriptors a keeper and its worker share below those of sessions: agreed numbers, so that a new incarnation
 * finds everything without being told.
 */
#ifndef PENSTOCK_CMD_DESCRIPTORS_H
#define PENSTOCK_CMD_DESCRIPTORS_H

#include "io/pipe.h"

enum {
    FD_HEAD = 3, /* the region's memfds; this one read-only */
    FD_TABLES = 4,
    FD_BANK = 5,
    FD_CONTROL = 6, /* keeper: its end of the socket to the supervisor */
    FD_RING_EVEN =
        7, /* rings of even and odd epochs; a copy of FD_WAKE stands in for the one that is not there */
    FD_RING_ODD = 8,
    FD_WAKE = 9,   /* eventfd: look at the run state and the image */
    FD_WATCH = 10, /* the worker's epoll set: io/watch.h */
    FD_PIPES = 11, /* the worker's pipes: io/pipe.h */
    FD_LISTENERS =
        FD_PIPES + PIPE_COUNT * PIPE_DESCRIPTORS, /* the listening sockets, one a bind of the image */
};

#endif
