/*
 * The supervisor's side of the exporter: its listening socket, its process.
 *
 * The socket is opened with the supervisor's rights and kept, so that who asks while the exporter is started again
 * only waits a moment.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/exporter/process.h"
#include "cmd/kin.h"
#include "cmd/supervisor.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/sock.h"

enum {
    BACKLOG = 128,
    PAUSE_US = 1000000, /* between two starts */
};

static void close_descriptor(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int open_socket(const struct endpoint *endpoint)
{
    int result = sock_probe(endpoint);
    int fd = result == 0 ? sock_bind(endpoint) : result;

    if (fd >= 0 && listen(fd, BACKLOG) != 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

int supervisor_open_exporter(struct supervisor *supervisor, const struct image *image)
{
    struct supervised_exporter *exporter = &supervisor->exporter;
    char text[ENDPOINT_TEXT_MAX];

    close_descriptor(&exporter->next_socket);
    if (image->exporter.family == ENDPOINT_NONE ||
        (exporter->socket >= 0 && endpoint_equal(&exporter->endpoint, &image->exporter))) {
        return 0;
    }
    exporter->next_socket = open_socket(&image->exporter);
    if (exporter->next_socket >= 0) {
        return 0;
    }
    int result = exporter->next_socket;
    exporter->next_socket = -1;
    log_line(
        LOG_LEVEL_ERROR,
        "event=listen_failed address=%s error=\"%s\" what=\"the exporter's address; stop who listens there, or "
        "change exporter.listen\"",
        endpoint_format(&image->exporter, text, sizeof(text)), strerror(-result));
    return result;
}

static int start(struct supervisor *supervisor)
{
    struct supervised_exporter *exporter = &supervisor->exporter;
    struct identity identity;
    int resolved = privileges_resolve(supervisor->image->user, &identity);

    if (resolved < 0) {
        return resolved;
    }
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        kin_bind(self);
        exporter_main(&supervisor->region, exporter->socket, &identity);
    }
    if (pid < 0) {
        return -errno;
    }
    exporter->pid = pid;
    exporter->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    return exporter->pidfd < 0 ? -errno : 0;
}

void supervisor_end_exporter(struct supervisor *supervisor)
{
    struct supervised_exporter *exporter = &supervisor->exporter;

    if (exporter->pidfd < 0) {
        return;
    }
    kill(exporter->pid, SIGKILL);
    waitpid(exporter->pid, NULL, 0);
    close_descriptor(&exporter->pidfd);
}

void supervisor_follow_exporter(struct supervisor *supervisor)
{
    struct supervised_exporter *exporter = &supervisor->exporter;
    const struct endpoint *wanted = &supervisor->image->exporter;

    if (exporter->next_socket < 0 && wanted->family != ENDPOINT_NONE) {
        return;
    }
    supervisor_end_exporter(supervisor);
    close_descriptor(&exporter->socket);
    exporter->endpoint = *wanted;
    exporter->socket = exporter->next_socket;
    exporter->next_socket = -1;
    exporter->after_us = 0;
    supervisor_start_exporter(supervisor);
}

void supervisor_start_exporter(struct supervisor *supervisor)
{
    struct supervised_exporter *exporter = &supervisor->exporter;

    if (exporter->socket < 0 || exporter->pidfd >= 0 || clock_now_us() < exporter->after_us) {
        return;
    }
    exporter->after_us = clock_now_us() + PAUSE_US;
    int result = start(supervisor);
    if (result < 0) {
        log_line(LOG_LEVEL_ERROR, "event=exporter_failed error=\"%s\" what=\"tried again in a second\"",
                 strerror(-result));
    }
}

void supervisor_reap_exporter(struct supervisor *supervisor)
{
    struct supervised_exporter *exporter = &supervisor->exporter;
    int status = 0;

    if (waitpid(exporter->pid, &status, WNOHANG) == 0) {
        return; /* what was readable was the one before: a reload came in between */
    }
    close_descriptor(&exporter->pidfd);
    log_line(LOG_LEVEL_WARNING, "event=exporter_died status=%d what=\"started again within a second\"",
             status);
}
