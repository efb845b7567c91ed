/*
 * The descriptors a keeper and its worker share below those of sessions: agreed numbers, so that a new incarnation
 * finds everything without being told.
 */
#ifndef PENSTOCK_CMD_DESCRIPTORS_H
#define PENSTOCK_CMD_DESCRIPTORS_H

#include "core/image.h"
#include "io/pipe.h"

enum {
    FD_HEAD = 3,   /* the region's memfds; this one read-only */
    FD_TABLES = 4, /* these two for ever: struct region_header */
    FD_BANK = 5,
    FD_INBOX = 6,     /* io/inbox.h: the worker's end */
    FD_OUTBOX = 7,    /* and the supervisor's, for one that takes over */
    FD_RING_EVEN = 8, /* rings of even and odd epochs; a copy of FD_WAKE where one is not there */
    FD_RING_ODD = 9,
    FD_WAKE = 10,  /* eventfd: look at the run state, the image and the inbox */
    FD_WATCH = 11, /* the worker's epoll set: io/watch.h */
    FD_PIPES = 12, /* the worker's pipes: io/pipe.h */
    /* The places of listening sockets; FD_WAKE again. */
    FD_LISTENERS = FD_PIPES + PIPE_COUNT * PIPE_DESCRIPTORS,
    FD_SESSIONS = FD_LISTENERS + IMAGE_BINDS_MAX,
};

#endif
