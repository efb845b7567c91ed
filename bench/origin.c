/*
 * origin: the upstream of Penstock's tests and demos. One thread. Command line, signals and the final line of
 * totals; the work is in origin_server.c and the services. Exit status: 0, or 2 if it could not start.
 */
#include "bench/number.h"
#include "bench/origin_server.h"
#include "bench/origin_service.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct program {
    struct origin origin;
    struct loop_source signals;
    struct loop_timer end;
    struct address addresses[ORIGIN_LISTENERS_MAX];
    unsigned address_count;
    const struct origin_service *service;
    int ready_fd;
    int send_buffer; /* 0: default */
    uint64_t run_ms; /* 0: until a signal */
};

static const char usage[] =
    "usage: origin --listen ADDR [--listen ADDR...] [--mode MODE] [--send-buffer B] [--ready-fd N] [--seconds S]\n"
    "  ADDR  127.0.0.1:9001, [::1]:9001, unix:/path; port 0 takes a free one\n"
    "  MODE  auto (default), echo, http, stream, pingpong, endless, sink, close, reset, silent\n"
    "  B     SO_SNDBUF of the connections\n"
    "Prints \"listening ADDR\" for each listener, and its totals as JSON on SIGUSR1 and at the end.\n";

static int fail_usage(const char *what, const char *value)
{
    fprintf(stderr, "origin: %s: %s\n%s", what, value, usage);
    return -EINVAL;
}

static int parse_option(struct program *program, int option, const char *value)
{
    uint64_t number;

    switch (option) {
    case 'l':
        if (program->address_count == ORIGIN_LISTENERS_MAX ||
            address_parse(value, &program->addresses[program->address_count]) != 0)
            return fail_usage("not an address, or too many", value);
        program->address_count++;
        return 0;
    case 'm':
        program->service = origin_service_find(value);
        return program->service != NULL ? 0 : fail_usage("no such mode", value);
    case 'b':
        if (number_parse(value, INT32_MAX, &number) != 0)
            return fail_usage("not a number of bytes", value);
        program->send_buffer = (int)number;
        return 0;
    case 'r':
        if (number_parse(value, 65535, &number) != 0)
            return fail_usage("not a descriptor", value);
        program->ready_fd = (int)number;
        return 0;
    case 's':
        return number_parse_seconds(value, &program->run_ms) == 0 ? 0 : fail_usage("not a time", value);
    default:
        fputs(usage, option == 'h' ? stdout : stderr);
        return option == 'h' ? 1 : -EINVAL;
    }
}

/* 0, 1 if only help was wanted, or -EINVAL. */
static int parse_arguments(struct program *program, int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"mode", required_argument, NULL, 'm'},
        {"send-buffer", required_argument, NULL, 'b'},
        {"ready-fd", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;

    program->service = &origin_service_auto;
    program->ready_fd = -1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int result = parse_option(program, option, optarg);
        if (result != 0)
            return result;
    }
    if (optind < argc)
        return fail_usage("unexpected argument", argv[optind]);
    if (program->address_count == 0)
        return fail_usage("missing", "--listen");
    return 0;
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct program *program = LOOP_OWNER(source, struct program, signals);
    int number = loop_signal_take(source);
    (void)events;
    if (number == SIGUSR1)
        origin_print(&program->origin, stdout);
    else if (number != 0)
        loop_stop(program->origin.loop);
}

static void end_due(struct loop_timer *timer)
{
    struct program *program = LOOP_OWNER(timer, struct program, end);
    loop_stop(program->origin.loop);
}

/* 0 or -errno, after having said on stderr what failed. */
static int open_listeners(struct program *program)
{
    char text[ADDRESS_TEXT_MAX];

    for (unsigned i = 0; i < program->address_count; i++) {
        int error = origin_listen(&program->origin, &program->addresses[i], program->send_buffer);
        if (error != 0) {
            address_format(&program->addresses[i], text);
            fprintf(stderr, "origin: cannot listen on %s: %s\n", text, strerror(-error));
            return error;
        }
        address_format(&program->origin.listeners[i].address, text);
        printf("listening %s\n", text);
    }
    fflush(stdout);
    return 0;
}

static void tell_ready(const struct program *program)
{
    if (program->ready_fd < 0)
        return;
    if (write(program->ready_fd, "ready\n", 6) < 0)
        fprintf(stderr, "origin: --ready-fd %d: %s\n", program->ready_fd, strerror(errno));
    close(program->ready_fd);
}

int main(int argc, char **argv)
{
    static struct program program; /* large: listeners and addresses */
    static const int signals[] = {SIGINT, SIGTERM, SIGUSR1};
    int status = 2;

    int parsed = parse_arguments(&program, argc, argv);
    if (parsed != 0)
        return parsed > 0 ? 0 : 2;
    int error = origin_init(&program.origin, program.service);
    if (error != 0) {
        fprintf(stderr, "origin: %s\n", strerror(-error));
        return 2;
    }
    program.signals = (struct loop_source){.fd = -1, .ready = signal_ready};
    program.end.fire = end_due;
    if (loop_signal_open(program.origin.loop, &program.signals, signals, 3) != 0 ||
        open_listeners(&program) != 0)
        goto out;
    if (program.run_ms > 0)
        loop_timer_arm(program.origin.loop, &program.end, program.run_ms * LOOP_NS_PER_MS);
    tell_ready(&program);
    error = loop_run(program.origin.loop);
    if (error != 0)
        fprintf(stderr, "origin: %s\n", strerror(-error));
    else
        status = 0;
    origin_print(&program.origin, stdout);
out:
    loop_source_close(program.origin.loop, &program.signals);
    origin_fini(&program.origin);
    return status;
}
