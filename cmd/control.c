/*
 * penstock reload, upgrade, drain, stop: a signal to the supervisor; the first two wait for the outcome.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/instance.h"
#include "cmd/kin.h"
#include "cmd/leftover.h"
#include "shm/image_box.h"

enum { STOP_TIMEOUT_MS = 10000, RELOAD_TIMEOUT_MS = 10000, UPGRADE_TIMEOUT_MS = 120000 };

static int send_signal(const struct instance *instance, int signal)
{
    if (instance->pid == 0) {
        fprintf(stderr,
                "penstock: the instance serves without its supervisor, which died; start `penstock run` with "
                "its configuration: that takes over and loses nothing\n");
        return EXIT_FAILURE;
    }
    if (kin_state(instance->pid) == 'T') {
        fprintf(
            stderr,
            "penstock: process %d, the supervisor, was stopped by a signal; `kill -CONT %d` lets it go on\n",
            instance->pid, instance->pid);
        return EXIT_FAILURE;
    }
    if (kill(instance->pid, signal) != 0) {
        fprintf(stderr, "penstock: process %d cannot be signalled: %s\n", instance->pid, strerror(errno));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

int command_drain(const struct command_options *options)
{
    struct instance instance;
    struct region region;

    if (instance_open(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    bool serves = region.header->run_state == RUN_SERVE;
    region_detach(&region);
    if (!serves) { /* a second SIGTERM would end it now */
        printf("instance drains already; `penstock stop` ends it now\n");
        return EXIT_SUCCESS;
    }
    return send_signal(&instance, SIGTERM);
}

/* Whether any of those that a dead supervisor has left serves on. */
static bool anybody_serves(const struct instance *instance)
{
    static struct kin found[KIN_MAX];
    bool any = false;

    for (uint32_t i = 0; i < instance->left_count; i++) {
        int count = kin_find(&instance->left[i], found, KIN_MAX);
        any = any || count < 0;
        for (int k = 0; k < count; k++) {
            any = any || found[k].role != KIN_LOGGER;
            close(found[k].pidfd);
        }
    }
    return any;
}

/* Programs that an instance has left, and that wait for the end of its last TIME_WAIT. Whether there were any. */
static bool stop_lingering(const struct command_options *options)
{
    char pins[REGION_PINS_MAX];
    struct image *image = options->name == NULL ? command_load(options->config, false) : NULL;
    const char *name = image != NULL ? image->name : options->name;
    struct instance instance;
    bool removed = false;

    if (name != NULL && instance_claim(&instance, name) == 0) {
        bool ended = !anybody_serves(&instance);
        if (ended) {
            leftover_pins(pins, name);
            removed = leftover_remove(pins);
        }
        instance_release(&instance, ended);
    }
    free(image);
    return removed;
}

int command_stop(const struct command_options *options)
{
    struct instance instance;
    struct region region;

    if (options->now && stop_lingering(options)) {
        return EXIT_SUCCESS;
    }
    if (instance_open(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    region_detach(&region);
    int pidfd = instance.pid != 0 ? kin_open(instance.pid) : -1;
    int result = send_signal(&instance, options->now ? SIGQUIT : SIGINT);
    if (result == EXIT_SUCCESS && pidfd >= 0 && !kin_wait_end(pidfd, STOP_TIMEOUT_MS)) {
        fprintf(stderr, "penstock: process %d has not ended within 10 s; see its log\n", instance.pid);
        result = EXIT_FAILURE;
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
    return result;
}

/* The file that the supervisor was told to follow. False where that cannot be found out. */
static bool find_followed(pid_t pid, char path[PATH_MAX])
{
    char words[PATH_MAX] = "";
    char at[64];
    const char *file = NULL;

    snprintf(at, sizeof(at), "/proc/%d/cmdline", pid);
    int fd = open(at, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, words, sizeof(words) - 1);
    if (fd >= 0) {
        close(fd);
    }
    for (const char *word = words; word < words + length; word += strlen(word) + 1) {
        file = strcmp(word, "-c") == 0 ? word + sizeof("-c") : file;
    }
    if (file == NULL) {
        return false;
    }
    snprintf(at, sizeof(at), "/proc/%d/cwd", pid);
    length = file[0] == '/' ? 0 : readlink(at, path, PATH_MAX - 1);
    if (length >= 0) {
        snprintf(path + length, PATH_MAX - (size_t)length, "%s%s", length > 0 ? "/" : "", file);
    }
    return length >= 0;
}

/* Nobody shall believe that a file was taken that the instance does not read. */
static bool is_followed(pid_t pid, const char *config)
{
    char path[PATH_MAX];
    char there[PATH_MAX + 64];
    struct stat ours;
    struct stat theirs;

    if (pid == 0 || !find_followed(pid, path)) {
        return true;
    }
    snprintf(there, sizeof(there), "/proc/%d/root%s", pid, path);
    if (stat(config, &ours) != 0 || stat(there, &theirs) != 0 ||
        (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)) {
        return true;
    }
    fprintf(stderr,
            "penstock: the running instance follows %s, not %s: change that one, or start again with this\n",
            path, config);
    return false;
}

/* Waits until every worker has taken a newer configuration than `generation`, or the supervisor refused it. */
static int wait_for_reload(const struct region *region, uint64_t generation, uint32_t failed)
{
    struct timespec pause = {.tv_nsec = 1000000};

    for (int i = 0; i < RELOAD_TIMEOUT_MS; i++) {
        const volatile uint32_t *reloads_failed = &region->header->reloads_failed;
        if (*reloads_failed != failed) {
            fprintf(stderr, "penstock: the running instance refused the configuration; its log says why\n");
            return EXIT_FAILURE;
        }
        uint64_t now = image_box_current(region)->generation;
        if (now > generation && image_box_taken(region)) {
            printf("reloaded: every worker has taken configuration %lu\n", (unsigned long)now);
            return EXIT_SUCCESS;
        }
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "penstock: no outcome within 10 s; see the log of the running instance\n");
    return EXIT_FAILURE;
}

int command_reload(const struct command_options *options)
{
    struct instance instance;
    struct region region;

    if (instance_open(&instance, &region, options) != 0) { /* checks the file, prints its mistakes */
        return EXIT_FAILURE;
    }
    uint64_t generation = image_box_current(&region)->generation;
    uint32_t failed = region.header->reloads_failed;
    int result = is_followed(instance.pid, options->config) ? send_signal(&instance, SIGHUP) : EXIT_FAILURE;
    if (result == EXIT_SUCCESS) {
        result = wait_for_reload(&region, generation, failed);
    }
    region_detach(&region);
    return result;
}

/* Waits until keepers and workers are replaced, or have handed over. The mapping stays, whoever writes it. */
static int wait_for_upgrade(const struct instance *instance, const struct region *region, uint32_t done,
                            uint32_t failed)
{
    const volatile struct region_header *header = region->header;
    struct timespec pause = {.tv_nsec = 1000000};

    for (int i = 0; i < UPGRADE_TIMEOUT_MS; i++) {
        if (header->upgrades != done) {
            printf("upgraded\n");
            return EXIT_SUCCESS;
        }
        if (header->upgrades_failed != failed) {
            fprintf(stderr, "penstock: the upgrade was refused or failed; the instance's log says why\n");
            return EXIT_FAILURE;
        }
        if (kill(instance->pid, 0) != 0) {
            fprintf(stderr,
                    "penstock: the supervisor has ended; its log says why. `penstock run` takes over who "
                    "serves\n");
            return EXIT_FAILURE;
        }
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "penstock: no outcome within 2 minutes; see the log of the running instance\n");
    return EXIT_FAILURE;
}

int command_upgrade(const struct command_options *options)
{
    struct instance instance;
    struct region region;

    if (instance_open(&instance, &region, options) != 0) {
        return EXIT_FAILURE;
    }
    uint32_t done = region.header->upgrades;
    uint32_t failed = region.header->upgrades_failed;
    int result = send_signal(&instance, SIGUSR2);
    if (result == EXIT_SUCCESS) {
        result = wait_for_upgrade(&instance, &region, done, failed);
    }
    region_detach(&region);
    return result;
}
