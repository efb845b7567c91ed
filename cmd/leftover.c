#include "cmd/leftover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/log.h"
#include "io/time_wait.h"

#define PINS    "/sys/fs/bpf/penstock"
#define NOTE    "buckets" /* among the pins: what it was */
#define BUCKETS "/proc/sys/net/ipv4/tcp_max_tw_buckets"

void leftover_pins(char pins[REGION_PINS_MAX], const char *name)
{
    struct stat namespace = {0};

    (void)stat("/proc/self/ns/net", &namespace);
    snprintf(pins, REGION_PINS_MAX, PINS "/%s:%lu", name, (unsigned long)namespace.st_ino);
    for (char *dot = strchr(pins, '.'); dot != NULL; dot = strchr(dot, '.')) {
        *dot = '+'; /* a BPF file system takes no dots, a name no plus */
    }
}

static int read_buckets(uint32_t *value)
{
    FILE *file = fopen(BUCKETS, "re");
    int result = file == NULL ? -errno : fscanf(file, "%u", value) == 1 ? 0 : -EPROTO;

    if (file != NULL) {
        fclose(file);
    }
    return result;
}

static int write_buckets(uint32_t value)
{
    FILE *file = fopen(BUCKETS, "we");

    if (file == NULL) {
        return -errno;
    }
    int result = fprintf(file, "%u\n", value) > 0 ? 0 : -errno;
    return fclose(file) == 0 ? result : -errno;
}

int leftover_take_buckets(const char *pins)
{
    uint32_t before = 0;
    int result = read_buckets(&before);

    if (result == 0) {
        result = time_wait_pin_number(pins, NOTE, before);
    }
    return result == 0 || result == -EEXIST ? write_buckets(0) : result;
}

void leftover_restore_buckets(const char *pins)
{
    char note[REGION_PINS_MAX + sizeof("/" NOTE)];
    uint32_t before;

    if (time_wait_pinned_number(pins, NOTE, &before) != 0) {
        return;
    }
    int result = write_buckets(before);
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR,
                 "event=time_wait what=\"" BUCKETS " stays as it is; it was %u\" error=\"%s\"", before,
                 strerror(-result));
        return;
    }
    snprintf(note, sizeof(note), "%s/" NOTE, pins);
    (void)unlink(note);
}

bool leftover_remove(const char *pins)
{
    if (access(pins, F_OK) != 0) {
        return false;
    }
    leftover_restore_buckets(pins);
    int result = time_wait_unpin(pins);
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=time_wait what=\"%s cannot be removed\" error=\"%s\"", pins,
                 strerror(-result));
    }
    return true;
}
