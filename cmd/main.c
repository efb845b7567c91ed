/*
 * penstock: the command line.
 */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/command.h"
#include "config/value.h"

/* Which of the options that are not for all commands a command takes. */
enum choice { CHOOSES_NOTHING, CHOOSES_FLOWS = 1, CHOOSES_SESSIONS = 2, CHOOSES_END = 4, CHOOSES_FORM = 8 };

struct command {
    const char *name;
    int (*run)(const struct command_options *options);
    const char *words; /* what it acts on; NULL: nothing */
    int words_min, words_max;
    bool needs_config; /* -c; otherwise -n will do */
    unsigned choices;  /* enum choice */
    const char *summary;
};

static const struct command commands[] = {
    {"run", command_run, .needs_config = true, .summary = "run in the foreground"},
    {"check", command_check, .needs_config = true,
     .summary = "check the configuration: 0, or FILE:LINE:COLUMN and what is wrong"},
    {"reload", command_reload, .needs_config = true,
     .summary = "check, let the running instance take the configuration, wait for it"},
    {"status", command_status, .choices = CHOOSES_FORM,
     .summary = "print what a running instance does; --json for machines"},
    {"servers", command_servers, .choices = CHOOSES_FORM,
     .summary = "list the servers and what they get; --json"},
    {"sessions", command_sessions, .choices = CHOOSES_SESSIONS | CHOOSES_FORM,
     .summary = "list the sessions, or those that are chosen; --json"},
    {"flows", command_flows, .choices = CHOOSES_FLOWS | CHOOSES_FORM,
     .summary = "list the flow table: connections and TIME_WAITs; --json"},
    {"top", command_top, .choices = CHOOSES_FORM,
     .summary = "follow rates and the largest sessions; --json: an object each second"},
    {"kill", command_kill, .words = "WORKER/SERIAL", .words_min = 1, .words_max = 1,
     .summary = "reset a session"},
    {"server", command_server, .words = "POOL/SERVER up|drain|down|weight N|weight file", .words_min = 2,
     .words_max = 3, .summary = "choose it for new sessions, or not, or by another weight"},
    {"upgrade", command_upgrade,
     .summary = "let the running instance become the program that is installed now"},
    {"drain", command_drain, .summary = "accept nothing more, end when the last session has"},
    {"stop", command_stop, .choices = CHOOSES_END,
     .summary = "end now; a process stays until its last TIME_WAIT is over, with --now none does"},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int usage(FILE *out)
{
    fprintf(out, "Penstock %s, a TCP proxy whose restarts cost no connection\n\n", penstock_version());
    fprintf(out, "usage: penstock COMMAND [-c FILE | -n NAME] [--json]\n\n");
    for (int i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-8s %s%s%s\n", commands[i].name, commands[i].words != NULL ? commands[i].words : "",
                commands[i].words != NULL ? ": " : "", commands[i].summary);
    }
    fprintf(out, "  %-8s %s\n\n", "version", "print the version");
    fprintf(out, "  -c FILE  the configuration; see config/README.md\n");
    fprintf(out, "  -n NAME  the running instance of that name\n\n");
    fprintf(out, "  sessions: --listener NAME --pool NAME --state choosing|connecting|open|closing\n");
    fprintf(out, "            --older-than DURATION --source ADDRESS\n");
    fprintf(out, "  flows:    --state active|orphaned|fin_wait2|time_wait --limit N\n");
    return out == stdout ? 0 : EXIT_USAGE;
}

static int complain(const char *what, const char *about)
{
    fprintf(stderr, "penstock: %s%s%s; `penstock help` lists the commands\n", what, *about ? " " : "", about);
    return EXIT_USAGE;
}

/* Options with a value, and where it goes in struct command_options. */
static const struct value_option {
    const char *name;
    size_t offset;
    unsigned choices; /* for commands that take any of these; 0: for all */
} value_options[] = {
    {"-c", offsetof(struct command_options, config), CHOOSES_NOTHING},
    {"-n", offsetof(struct command_options, name), CHOOSES_NOTHING},
    {"--listener", offsetof(struct command_options, listener), CHOOSES_SESSIONS},
    {"--pool", offsetof(struct command_options, pool), CHOOSES_SESSIONS},
    {"--state", offsetof(struct command_options, state), CHOOSES_SESSIONS | CHOOSES_FLOWS},
    {"--older-than", offsetof(struct command_options, older_than), CHOOSES_SESSIONS},
    {"--source", offsetof(struct command_options, source), CHOOSES_SESSIONS},
    {"--limit", offsetof(struct command_options, limit), CHOOSES_FLOWS},
};

static const struct value_option *find_option(const struct command *command, const char *word)
{
    for (size_t i = 0; i < sizeof(value_options) / sizeof(value_options[0]); i++) {
        const struct value_option *option = &value_options[i];
        if (strcmp(option->name, word) == 0 &&
            (option->choices == CHOOSES_NOTHING || (option->choices & command->choices) != 0)) {
            return option;
        }
    }
    return NULL;
}

static int parse(const struct command *command, int count, char **words, struct command_options *options)
{
    int given = 0;

    for (int i = 0; i < count; i++) {
        const struct value_option *option = find_option(command, words[i]);
        if (option != NULL && i + 1 == count) {
            return complain("a value is missing after", words[i]);
        }
        if (option != NULL) {
            *(const char **)(void *)((char *)options + option->offset) = words[++i];
        } else if (strcmp(words[i], "--json") == 0 && (command->choices & CHOOSES_FORM) != 0) {
            options->json = true;
        } else if (strcmp(words[i], "--now") == 0 && (command->choices & CHOOSES_END) != 0) {
            options->now = true;
        } else if (words[i][0] != '-' && given < command->words_max) {
            options->words[given++] = words[i];
        } else {
            return complain("cannot understand", words[i]);
        }
    }
    if (given < command->words_min) {
        return complain("what is meant is missing:", command->words);
    }
    return 0;
}

/* As it was called, so that a link that is changed is followed; what was found by $PATH is looked up. */
static const char *find_program(const char *called)
{
    static char path[PATH_MAX];
    char directory[PATH_MAX];

    if (called[0] == '/') {
        return called;
    }
    if (strchr(called, '/') != NULL && getcwd(directory, sizeof(directory)) != NULL &&
        snprintf(path, sizeof(path), "%s/%s", directory, called) < (int)sizeof(path)) {
        return path;
    }
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = '\0';
    return path;
}

static int run_command(const struct command *command, const char *program, int count, char **words)
{
    struct command_options options = {.program = find_program(program)};
    int result = parse(command, count, words, &options);
    struct config_why why;
    char name[IMAGE_NAME_MAX];

    if (result != 0) {
        return result;
    }
    if (command->needs_config && options.config == NULL) {
        return complain("this command needs the configuration: -c FILE", "");
    }
    if ((options.config == NULL) == (options.name == NULL)) {
        return complain("this command needs -c FILE or -n NAME, one of them", "");
    }
    if (options.name != NULL && config_value_name(options.name, name, sizeof(name), &why) < 0) {
        return complain("-n:", why.text);
    }
    return command->run(&options);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        return usage(stderr);
    }
    if (strcmp(argv[1], "version") == 0 && argc == 3 && strcmp(argv[2], "--layout") == 0) {
        return command_version_layout();
    }
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("penstock %s\n", penstock_version());
        return 0;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return usage(stdout);
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return run_command(&commands[i], argv[0], argc - 2, argv + 2);
        }
    }
    return complain("there is no command", argv[1]);
}
