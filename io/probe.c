#include "io/probe.h"

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "io/ring.h"
#include "io/sock.h"

static const char *const names[PROBE_FEATURES] = {
    [PROBE_IO_URING] = "io_uring",
    [PROBE_DEFER_TASKRUN] = "io_uring_defer_taskrun",
    [PROBE_BUFFER_RINGS] = "io_uring_buffer_rings",
    [PROBE_MULTISHOT_RECEIVE] = "io_uring_multishot_receive",
    [PROBE_PORT_WINDOW] = "ip_local_port_range",
    [PROBE_ZERO_COPY] = "io_uring_zero_copy",
};

const char *probe_name(enum probe_feature feature)
{
    return names[feature];
}

static int read_sysctl(const char *path)
{
    int value = -1;
    FILE *file = fopen(path, "re");

    if (file != NULL) {
        if (fscanf(file, "%d", &value) != 1) {
            value = -1;
        }
        fclose(file);
    }
    return value;
}

/* Why io_uring_setup() failed, and what to do about it. */
static void explain(struct probe_result *result, int error)
{
    struct utsname system;
    int disabled = read_sysctl("/proc/sys/kernel/io_uring_disabled");
    const char *text;

    uname(&system);
    switch (error) {
    case EPERM:
        if (disabled == 2) {
            text = "io_uring is disabled on this host; set the sysctl kernel.io_uring_disabled=0";
        } else if (disabled == 1) {
            text =
                "io_uring is kept to privileged processes; set the sysctl kernel.io_uring_disabled=0, or start as "
                "root or in the group of kernel.io_uring_group";
        } else {
            text = "io_uring is blocked, as container runtimes do by their default seccomp profile; allow "
                   "io_uring_setup, io_uring_enter and io_uring_register in it";
        }
        break;
    case ENOSYS:
        text =
            "this kernel has no io_uring (CONFIG_IO_URING), or a seccomp profile hides it; Linux 6.1 or newer is "
            "needed";
        break;
    case ENOMEM:
        text = "locked memory is exhausted; raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=), 3 MiB a worker";
        break;
    case EMFILE:
    case ENFILE:
        text = "no descriptor is left; raise RLIMIT_NOFILE (systemd: LimitNOFILE=)";
        break;
    default:
        text = "this kernel's io_uring is too old; Linux 6.1 or newer is needed";
        break;
    }
    snprintf(result->cause, sizeof(result->cause), "%s (kernel %s: %s)", text, system.release,
             strerror(error));
}

static int try_setup(uint32_t flags)
{
    struct io_uring ring;
    struct io_uring_params params = {.flags = flags};
    int result = io_uring_queue_init_params(8, &ring, &params);

    if (result == 0) {
        io_uring_queue_exit(&ring);
    }
    return result;
}

/* Receives one byte by a multishot receive into a provided buffer, on the very kind of ring a worker uses. */
static void try_receive(struct probe_result *result)
{
    uint8_t params[RING_PARAMS_BYTES];
    char memory[16];
    struct ring *ring = NULL;
    struct ring_completion completion = {.result = -1};
    int fd = dup(STDERR_FILENO);
    int pair[2] = {-1, -1};

    if (fd < 0 || ring_create(&ring, fd, 2 * RING_SUBMISSIONS, params) != 0) {
        goto out;
    }
    result->have[PROBE_BUFFER_RINGS] = ring_buffers_create(ring, 0, 8) == 0;
    if (!result->have[PROBE_BUFFER_RINGS] || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        goto out;
    }
    ring_buffers_add(ring, 0, 0, memory, sizeof(memory));
    ring_receive(ring, (struct ring_tag){.op = RING_OP_RECV}, pair[0], true);
    if (write(pair[1], "x", 1) == 1 && ring_wait(ring, 1000) == 0 && ring_peek(ring, &completion)) {
        result->have[PROBE_MULTISHOT_RECEIVE] = completion.result == 1 && completion.more;
    }
out:
    if (ring != NULL) {
        ring_destroy(ring);
    }
    if (fd >= 0) {
        close(fd); /* the ring goes with it */
    }
    if (pair[0] >= 0) {
        close(pair[0]);
        close(pair[1]);
    }
}

/* A zero-copy send to nobody: it fails, but where the kernel knows such sends and their reports a notice follows. */
static bool try_zero_copy(void)
{
    uint8_t params[RING_PARAMS_BYTES];
    struct ring *ring = NULL;
    struct ring_completion completion = {.more = false};
    struct ring_tag tag = {.op = RING_OP_SEND, .zero_copy = true};
    struct iovec piece = {.iov_base = params, .iov_len = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int ring_fd = dup(STDERR_FILENO);

    if (fd >= 0 && ring_fd >= 0 && ring_create(&ring, ring_fd, 2 * RING_SUBMISSIONS, params) == 0) {
        ring_send(ring, tag, fd, &piece, 1);
        if (ring_wait(ring, 1000) == 0) {
            (void)ring_peek(ring, &completion);
        }
        ring_destroy(ring);
    }
    if (ring_fd >= 0) {
        close(ring_fd); /* the ring goes with it */
    }
    if (fd >= 0) {
        close(fd);
    }
    return completion.more;
}

int probe_kernel(struct probe_result *result)
{
    *result = (struct probe_result){.cause = ""};
    int error = try_setup(0);
    result->have[PROBE_IO_URING] = error == 0;
    if (error == 0) {
        error = try_setup(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
        result->have[PROBE_DEFER_TASKRUN] = error == 0;
    }
    if (error != 0) {
        explain(result, -error);
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    result->have[PROBE_PORT_WINDOW] = fd >= 0 && sock_port_window(fd, 40000, 40000) == 0;
    if (fd >= 0) {
        close(fd);
    }
    result->have[PROBE_ZERO_COPY] = try_zero_copy();
    try_receive(result);
    if (!result->have[PROBE_BUFFER_RINGS] || !result->have[PROBE_MULTISHOT_RECEIVE]) {
        explain(result, EINVAL);
        return -1;
    }
    return 0;
}
