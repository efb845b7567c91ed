/*
 * A bed for the relay's step, in the place of io/: it sets in-flight bits for what the step asks for, lends
 * buffers, and after every step checks what must always hold (verify() in bed.c). One session; failing is a
 * failed assertion.
 */
#ifndef PENSTOCK_TESTS_UNIT_CORE_BED_H
#define PENSTOCK_TESTS_UNIT_CORE_BED_H

#include "core/relay.h"

enum { LARGE = 24, BUFFERS = 48, T0 = 1000000, SERVER_ROW = 11 };

struct bed {
    struct session session;
    struct buffer_record records[BUFFERS];
    bool lent[BUFFERS];
    struct relay_env env;
    uint32_t todo;              /* what the last step asked for */
    uint64_t sent[SIDE_COUNT];  /* bytes sent to each side */
    uint64_t given[SIDE_COUNT]; /* bytes received from each side */
    char shuts[4];              /* the sides our FIN went to, in order: "c", "s" */
    bool finished;
    uint32_t pipes_lent; /* bits: pipe 0 is the client's, 1 the server's */
    struct {
        uint16_t pipe; /* given back by the last step; PIPE_NONE: none */
        uint32_t bytes;
    } back[SIDE_COUNT];
};

extern struct bed bed;

#define CLIENT (&bed.session.conn[SIDE_CLIENT])
#define SERVER (&bed.session.conn[SIDE_SERVER])

enum side bed_other(enum side side);

/* Whether the last step asked for a (side) action. */
bool bed_asks(uint32_t action, enum side side);

/* A session that was just accepted; one that is open, with both receives armed. */
void bed_setup(void);
void bed_setup_open(void);

void bed_step(struct relay_event event);

/* A buffer from `from` on, BUFFER_NONE: none is free. */
uint32_t bed_lend(uint32_t from);

/* Events. */
void bed_simple(enum relay_event_kind kind);
void bed_choose(uint16_t row);
void bed_connect_end(int32_t result);
void bed_receive(enum side side, int32_t bytes, bool more);
void bed_receive_end(enum side side, int32_t result);
void bed_sent(enum side side, int32_t result);
void bed_sent_all(enum side side); /* all that was offered */
void bed_writable(enum side side);
void bed_polled(enum side side, int32_t result);
void bed_filled(enum side side, int32_t result);
void bed_drained(enum side side, int32_t result);
void bed_stop(void);

/* Ends everything that is being cancelled, and the sends of a session that is closing. */
void bed_answer_cancels(void);

#endif
