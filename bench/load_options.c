/*
 * The command line of load: one table of options, each with its bounds. Any mistake is an error.
 */
#include "bench/load_options.h"

#include "bench/number.h"
#include "bench/stream.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: load MODE --connect ADDR [options]\n"
    "\n"
    "modes\n"
    "  pingpong   one request and answer outstanding on each connection\n"
    "  connect    connect, request, answer, close; over and over\n"
    "  bulk       bytes as fast as they go\n"
    "  idle       open connections and hold them\n"
    "  streams    verified streams of random size and behaviour\n"
    "  slow       endless streams, read slowly or never\n"
    "\n"
    "options (sizes take K, M, G; times are seconds)\n"
    "  --connect ADDR          127.0.0.1:9001, [::1]:9001 or unix:/path\n"
    "  --connections N         at the same time (16)\n"
    "  --seconds S             how long (10)\n"
    "  --count N               or how many exchanges, connections or streams in all\n"
    "  --finish-seconds S      how long the open ones may take to end afterwards (60)\n"
    "  --size B                request, or one write of bulk (64; bulk 64K)\n"
    "  --response B            answer (as --size)\n"
    "  --source-range A-B      source addresses, round robin: each has about 28,000 ports\n"
    "  --receive-buffer B      SO_RCVBUF of the connections\n"
    "  --open-rate N           connections opened per second\n"
    "  --seed X                repeats the choices of a run\n"
    "  --json                  one JSON object instead of text\n"
    "  --report-every S        progress lines on stderr\n"
    "  --phase-fd N            as the clock starts and stops: \"running\", \"finishing\", completed, bytes down\n"
    "  --pause S               pingpong: between an answer and the next request on each connection (0)\n"
    "  --close-first WHO       connect: client (default) or origin\n"
    "  --direction D           bulk: up, down (default) or both\n"
    "  --touch, --verify       idle: one exchange each at the beginning, at the end; bulk: --verify checks "
    "bytes\n"
    "  --read-rate B           slow: bytes per second and connection, 0: never (0)\n"
    "  --max-bytes B           streams: longest one (4M)\n"
    "  --slow-readers P        streams: percent that read slowly (0)\n"
    "  --slow-origin P         streams: percent the origin reads slowly (0)\n"
    "  --early-fin P           streams: percent in which the origin's FIN does not wait for ours (10)\n"
    "  --late-fin P            streams: percent in which our FIN waits for the download (20)\n"
    "\n"
    "exit status: 0 all well; 1 anything mismatched, reset, short, refused or unfinished; 2 could not run\n";

enum option_kind {
    OPTION_NUMBER,
    OPTION_SECONDS,
    OPTION_FLAG,
    OPTION_CONNECT,
    OPTION_SOURCES,
    OPTION_WORD,
    OPTION_HELP
};

struct option_rule {
    const char *name;
    enum option_kind kind;
    size_t offset; /* of the value in struct load_options */
    uint64_t min;
    uint64_t max;
    size_t set_offset; /* of a bool that tells it was given; 0: none */
};

#define AT(field) offsetof(struct load_options, field)

static const struct option_rule rules[] = {
    {"connect", OPTION_CONNECT, 0, 0, 0, 0},
    {"connections", OPTION_NUMBER, AT(connections), 1, LOAD_CONNECTIONS_MAX, 0},
    {"seconds", OPTION_SECONDS, AT(run_ms), 0, 0, AT(run_set)},
    {"count", OPTION_NUMBER, AT(count), 1, UINT64_MAX, 0},
    {"finish-seconds", OPTION_SECONDS, AT(finish_ms), 0, 0, 0},
    {"size", OPTION_NUMBER, AT(request_bytes), 1, STREAM_MESSAGE_MAX, AT(size_set)},
    {"response", OPTION_NUMBER, AT(response_bytes), 1, STREAM_MESSAGE_MAX, AT(response_set)},
    {"source-range", OPTION_SOURCES, 0, 0, 0, 0},
    {"receive-buffer", OPTION_NUMBER, AT(receive_buffer), 1, INT32_MAX, 0},
    {"open-rate", OPTION_NUMBER, AT(open_rate), 1, LOAD_CONNECTIONS_MAX, 0},
    {"seed", OPTION_NUMBER, AT(seed), 0, UINT64_MAX, AT(seed_set)},
    {"json", OPTION_FLAG, AT(json), 0, 0, 0},
    {"report-every", OPTION_SECONDS, AT(report_ms), 0, 0, 0},
    {"phase-fd", OPTION_NUMBER, AT(phase_fd), 3, INT32_MAX, 0},
    {"pause", OPTION_SECONDS, AT(pause_ms), 0, 0, 0},
    {"close-first", OPTION_WORD, 0, 0, 0, 0},
    {"direction", OPTION_WORD, 0, 0, 0, 0},
    {"touch", OPTION_FLAG, AT(touch), 0, 0, 0},
    {"verify", OPTION_FLAG, AT(verify), 0, 0, 0},
    {"read-rate", OPTION_NUMBER, AT(read_rate), 0, 1ULL << 40, 0},
    {"max-bytes", OPTION_NUMBER, AT(max_bytes), 0, STREAM_LENGTH_MAX, 0},
    {"slow-readers", OPTION_NUMBER, AT(slow_readers), 0, 100, 0},
    {"slow-origin", OPTION_NUMBER, AT(slow_origin), 0, 100, 0},
    {"early-fin", OPTION_NUMBER, AT(early_fin), 0, 100, 0},
    {"late-fin", OPTION_NUMBER, AT(late_fin), 0, 100, 0},
    {"help", OPTION_HELP, 0, 0, 0, 0},
};

#define UNTIL_COUNT_MS (100ULL * 86400 * 1000)
#define RULE_COUNT     (sizeof(rules) / sizeof(rules[0]))

static int parse_word(struct load_options *options, const char *name, const char *value)
{
    static const char *const directions[] = {"", "up", "down", "both"};

    if (strcmp(name, "close-first") == 0) {
        options->origin_closes = strcmp(value, "origin") == 0;
        return options->origin_closes || strcmp(value, "client") == 0 ? 0 : -EINVAL;
    }
    for (unsigned i = LOAD_UP; i <= LOAD_BOTH; i++) {
        if (strcmp(value, directions[i]) == 0) {
            options->direction = (enum load_direction)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int parse_value(struct load_options *options, const struct option_rule *rule, const char *value)
{
    char *field = (char *)options + rule->offset;
    uint64_t number = 0;

    switch (rule->kind) {
    case OPTION_CONNECT:
        options->connect_set = true;
        return address_parse(value, &options->connect);
    case OPTION_SOURCES:
        return address_range_parse(value, &options->sources);
    case OPTION_WORD:
        return parse_word(options, rule->name, value);
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_SECONDS:
        return number_parse_seconds(value, (uint64_t *)(void *)field);
    case OPTION_NUMBER:
        if (number_parse(value, rule->max, &number) != 0 || number < rule->min)
            return -EINVAL;
        *(uint64_t *)(void *)field = number;
        return 0;
    case OPTION_HELP:
        break;
    }
    return -EINVAL;
}

static void set_defaults(struct load_options *options)
{
    memset(options, 0, sizeof(*options));
    options->connections = 16;
    options->run_ms = 10000;
    options->finish_ms = 60000;
    options->request_bytes = 64;
    options->max_bytes = 4 << 20;
    options->early_fin = 10;
    options->late_fin = 20;
    options->direction = LOAD_DOWN;
}

static int complete(struct load_options *options, int argc, char **argv)
{
    if (optind + 1 != argc) {
        fprintf(stderr, "load: exactly one MODE is needed\n%s", usage);
        return -EINVAL;
    }
    options->mode = argv[optind];
    if (!options->connect_set) {
        fprintf(stderr, "load: --connect is missing\n");
        return -EINVAL;
    }
    if (options->count > 0 && !options->run_set)
        options->run_ms = UNTIL_COUNT_MS;
    if (!options->response_set)
        options->response_bytes = options->request_bytes;
    return 0;
}

int load_options_parse(struct load_options *options, int argc, char **argv)
{
    struct option table[RULE_COUNT + 1];
    int index, option;

    memset(table, 0, sizeof(table));
    for (size_t i = 0; i < RULE_COUNT; i++) {
        bool flag = rules[i].kind == OPTION_FLAG || rules[i].kind == OPTION_HELP;
        table[i] = (struct option){rules[i].name, flag ? no_argument : required_argument, NULL, 0};
    }
    set_defaults(options);
    while ((option = getopt_long(argc, argv, "", table, &index)) != -1) {
        if (option != 0)
            return -EINVAL; /* getopt has said why */
        const struct option_rule *rule = &rules[index];
        if (rule->kind == OPTION_HELP) {
            fputs(usage, stdout);
            return 1;
        }
        if (parse_value(options, rule, optarg) != 0) {
            fprintf(stderr, "load: --%s: bad value: %s\n", rule->name, optarg);
            return -EINVAL;
        }
        if (rule->set_offset != 0)
            *((char *)options + rule->set_offset) = true;
    }
    return complete(options, argc, argv);
}
