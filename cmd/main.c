/*
 * penstock: the command line.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/command.h"

struct command {
    const char *name;
    int (*run)(const struct command_options *options);
    bool needs_config; /* -c; otherwise -n will do */
    const char *summary;
};

static const struct command commands[] = {
    {"run", command_run, true, "run in the foreground"},
    {"check", command_check, true, "check the configuration: 0, or FILE:LINE:COLUMN and what is wrong"},
    {"reload", command_reload, true, "check, let the running instance take the configuration, wait for it"},
    {"status", command_status, false, "print what a running instance does; --json for machines"},
    {"upgrade", command_upgrade, false, "let the running instance become the program that is installed now"},
    {"drain", command_drain, false, "accept nothing more, end when the last session has"},
    {"stop", command_stop, false, "end now"},
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int usage(FILE *out)
{
    fprintf(out, "Penstock %s, a TCP proxy whose restarts cost no connection\n\n", penstock_version());
    fprintf(out, "usage: penstock COMMAND [-c FILE | -n NAME] [--json]\n\n");
    for (int i = 0; i < COMMANDS; i++) {
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out, "  %-8s %s\n\n", "version", "print the version");
    fprintf(out, "  -c FILE  the configuration; see config/README.md\n");
    fprintf(out, "  -n NAME  the running instance of that name\n");
    return out == stdout ? 0 : EXIT_USAGE;
}

static int complain(const char *what, const char *about)
{
    fprintf(stderr, "penstock: %s%s%s; `penstock help` lists the commands\n", what, *about ? " " : "", about);
    return EXIT_USAGE;
}

static int parse(int count, char **words, struct command_options *options)
{
    for (int i = 0; i < count; i++) {
        bool takes_value = strcmp(words[i], "-c") == 0 || strcmp(words[i], "-n") == 0;
        if (takes_value && i + 1 == count) {
            return complain("a value is missing after", words[i]);
        }
        if (strcmp(words[i], "-c") == 0) {
            options->config = words[++i];
        } else if (strcmp(words[i], "-n") == 0) {
            options->name = words[++i];
        } else if (strcmp(words[i], "--json") == 0) {
            options->json = true;
        } else {
            return complain("cannot understand", words[i]);
        }
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
    int result = parse(count, words, &options);

    if (result != 0) {
        return result;
    }
    if (command->needs_config && options.config == NULL) {
        return complain("this command needs the configuration: -c FILE", "");
    }
    if (options.config == NULL && options.name == NULL) {
        return complain("this command needs -c FILE or -n NAME", "");
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
