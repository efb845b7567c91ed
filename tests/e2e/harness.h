/*
 * The bed of a test with real processes: a directory, processes that surely end, and limits for waiting.
 *
 * Each test is a process of its own, so there is one bed, `bed`. Suites are declared with BED_SUITE(name, seconds);
 * a test that got through says bed_end() last. A guard process outside the test's own group watches a pipe: when the
 * test says so, fails, crashes or is killed, the guard shows the logs (of a failure or with a sanitizer's report),
 * kills the group that every process of the test belongs to, and removes the directory.
 *
 * Nothing here has a fixed port or name: two runs at once do not meet. Waiting is bounded by WAIT_LIMIT_MS, which is
 * no measurement: it only turns "never" into a failure.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_H
#define PENSTOCK_TESTS_E2E_HARNESS_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    WAIT_LIMIT_MS = 30000,
    PATH_BYTES = 128,
    TEXT_ARENA_BYTES = 256 * 1024,
    FILE_BYTES_MAX = 8 * 1024 * 1024, /* of bed_read_file() */
};

struct bed {
    char dir[PATH_BYTES];
    char name[48]; /* of the Penstock instance */
    int guard_fd;  /* its other end is the guard's; closed on exec */
    pid_t guard;
    pid_t group;    /* every process of the test is in it */
    pid_t penstock; /* 0: does not run */
    uint16_t port;  /* reserved for its listener */
    unsigned outputs;
};

extern struct bed bed;

#define BED_SUITE(suite, seconds) TestSuite(suite, .init = bed_begin, .fini = bed_fini, .timeout = (seconds))

void bed_begin(void);
void bed_fini(void);

/* Ends a test that got through: stops Penstock if it runs, which must exit with 0 and leave no process. */
void bed_end(void);

/* Texts that the condition formats do not outlive it. */
#define WAIT_UNTIL(condition)                                                        \
    do {                                                                             \
        uint64_t give_up_ms = bed_now_ms() + WAIT_LIMIT_MS;                          \
        size_t texts = bed_mark();                                                   \
        while (!(condition)) {                                                       \
            cr_assert(bed_now_ms() < give_up_ms, "never came true: %s", #condition); \
            bed_release(texts);                                                      \
            bed_pause_ms(5);                                                         \
        }                                                                            \
        bed_release(texts);                                                          \
    } while (0)

uint64_t bed_now_ms(void);
void bed_pause_ms(unsigned ms);

/* A formatted text that lives as long as the test. */
const char *bed_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For loops that format many: gives back the texts since the mark. */
size_t bed_mark(void);
void bed_release(size_t mark);

/* DIR/name */
const char *bed_path(const char *name);

void bed_write_file(const char *path, const char *text);

/* The file's content, "" where there is none; lives as long as the test. */
const char *bed_read_file(const char *path);

/* Lines of a file of any size. */
uint64_t bed_count_lines(const char *path);

/* Occurrences of `what` in `text`. */
unsigned bed_count(const char *text, const char *what);

/* The program of this build: $PENSTOCK, and those in $BENCH_DIR. */
const char *bed_penstock_path(void);
const char *bed_bench_path(const char *name);

struct bed_process {
    pid_t pid;
    const char *out; /* path of its standard output */
    const char *err;
};

/* Starts argv[0], a path, with outputs to files of the bed. before_exec (NULL: nothing) runs in the child; where it
 * returns false the child exits with 126. */
struct bed_process bed_spawn(const char *const *argv, bool (*before_exec)(void));

/* Waits until the process ends. Its exit status, or 256 + the signal. */
int bed_wait(pid_t pid);

/* Whether it would return at once. */
bool bed_has_ended(pid_t pid);

/* Runs a program to its end. */
int bed_run(const char *const *argv, struct bed_process *process);

/* Binds a TCP socket to a free port of the IP address `host`; returns the port. */
uint16_t bed_bind(int fd, const char *host);

/* A TCP port that stays reserved for the test, though Penstock can listen on it: bound, never listening. `host` is an
 * IP address. */
uint16_t bed_reserve_port(const char *host);

/* Descriptors of a process. */
unsigned bed_count_descriptors(pid_t pid);

/* The number behind "Key:" in /proc/PID/status; 0 where there is none. */
uint64_t bed_proc_status(pid_t pid, const char *key);

/* The child of `parent` whose process is named so; 0: none. */
pid_t bed_child_named(pid_t parent, const char *name);

#endif
