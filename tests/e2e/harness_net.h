/*
 * Plain blocking sockets in the test's own hands, for what no load tool does. Every wait is bounded; whatever goes
 * otherwise than asked fails the test. Contents are the pattern of bench/pattern.h: (seed, position).
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_NET_H
#define PENSTOCK_TESTS_E2E_HARNESS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Both ends of a session. */
struct net_pair {
    int client;
    int server;
};

/* A listening socket of 127.0.0.1. */
int net_listen(uint16_t *port, int backlog);

/* A listener whose queue is full: whoever connects waits. `filler` gets a connection that fills it; accepting one
 * makes room. */
int net_listen_full(uint16_t *port, int *filler);

int net_connect(uint16_t port);

/* "127.0.0.1:1", "[::1]:1", "unix:/path" */
int net_connect_to(const char *text);

/* Whether a connection to the address is taken; it is closed again. */
bool net_can_connect(const char *text);

int net_accept(int listener);

uint16_t net_local_port(int fd);

/* Whether a connection is there to be accepted. */
bool net_has_connection(int listener);

/* Connects through Penstock's port and accepts at the server. */
struct net_pair net_pair(int listener);

/* A question and its answer, through each of the sessions; of new ones, which are closed again. */
void net_exchange(const struct net_pair *pair);
void net_exchange_all(const struct net_pair *pairs, unsigned count);
void net_exchange_new(int listener, unsigned count);

/* The client's end, then the server's: each is seen at the other. */
void net_end(const struct net_pair *pair);

/* Closes the client, sees its server's end, and closes that; of each. */
void net_close(const struct net_pair *pair);
void net_close_all(const struct net_pair *pairs, unsigned count);

void net_write(int fd, const void *data, size_t length);
void net_read(int fd, void *data, size_t length);
void net_write_text(int fd, const char *text);
void net_read_text(int fd, const char *text);
void net_write_pattern(int fd, uint64_t seed, size_t length);
void net_read_pattern(int fd, uint64_t seed, size_t length);
void net_read_pattern_from(int fd, uint64_t seed, size_t position, size_t length);

/* A text from one end to the other. */
void net_pass(int from, int to, const char *text);

/* The same in a process of its own, so that the test can do something meanwhile: that process has all of the test's
 * sockets open until it ends. Its exit status is 0 if all went well. */
pid_t net_write_behind(int fd, uint64_t seed, size_t length);
pid_t net_read_behind(int fd, uint64_t seed, size_t length);

/* A stream from one end to the other; one each way at once. */
void net_stream(int from, int to, uint64_t seed, size_t length);
void net_stream_both_ways(const struct net_pair *pair, size_t length);

void net_half_close(int fd);
void net_reset(int fd);
void net_expect_eof(int fd);
void net_expect_reset(int fd);

/* Nothing to read, no end, no error. */
bool net_is_quiet(int fd);

/* What the kernel keeps in TIME_WAIT, or in FIN_WAIT2 that nobody holds, in the namespace that the test is in. */
int net_minisockets(void);

/* One of its counters: "Tcp", "OutRsts"; "TcpExt", "TCPSynRetrans". */
uint64_t net_counter(const char *group, const char *name);

/* A new network namespace with its loopback interface up and no route elsewhere. False without the privilege. */
bool net_isolate(void);

#endif
