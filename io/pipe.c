#include "io/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LARGEST = 1024 * 1024 }; /* pipe(7), /proc/sys/fs/pipe-max-size */

static int read_end(int base, uint32_t index)
{
    return base + PIPE_DESCRIPTORS * (int)index;
}

static int write_end(int base, uint32_t index)
{
    return read_end(base, index) + 1;
}

/* Moves a descriptor to a number. */
static int move_to(int fd, int number)
{
    if (fd == number) {
        return 0;
    }
    int result = dup3(fd, number, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return result;
}

int pipe_make(int base, uint32_t index)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return -errno;
    }
    /* Each of its places holds a fragment of a packet, as small as 1448 bytes: many places keep splices large. Where
     * the user's share of pipe memory is used up the default of 16 has to do. */
    for (int size = LARGEST; size > 65536 && fcntl(ends[1], F_SETPIPE_SZ, size) < 0; size /= 2) {
    }
    if (ends[1] == read_end(base, index)) { /* not to be closed by moving the other */
        return -EBUSY;
    }
    int result = move_to(ends[0], read_end(base, index));
    return result < 0 ? result : move_to(ends[1], write_end(base, index));
}

int32_t pipe_fill(int base, uint32_t index, int from)
{
    ssize_t moved =
        splice(from, NULL, write_end(base, index), NULL, PIPE_FILL_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (moved < 0) {
        return -errno;
    }
    return moved > 0 ? (int32_t)moved : -EAGAIN;
}

int32_t pipe_drain(int base, uint32_t index, int to, uint32_t length)
{
    ssize_t moved = splice(read_end(base, index), NULL, to, NULL, length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    return moved < 0 ? -errno : (int32_t)moved;
}

uint32_t pipe_bytes(int base, uint32_t index)
{
    int bytes = 0;

    return ioctl(read_end(base, index), FIONREAD, &bytes) == 0 ? (uint32_t)bytes : 0;
}

void pipe_discard(int base, uint32_t index)
{
    char rest[16 * 1024];

    while (read(read_end(base, index), rest, sizeof(rest)) > 0) {
    }
}
