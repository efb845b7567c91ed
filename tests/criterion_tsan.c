/*
 * Makes Criterion run under the thread sanitizer; linked into the unit tests of `make tsan` only.
 *
 * Criterion places the memory it shares with its test processes at an address drawn by rand_r: 16 MiB times
 * the number, from 0x200000000000 upwards. The sanitizer reserves most of those addresses and refuses them.
 * Drawn from here, the number always leads into the part it leaves to programs, 0x550000000000 to
 * 0x560000000000. Nobody else calls rand_r.
 */
#include <stdlib.h>

int rand_r(unsigned *seed)
{
    *seed = *seed * 1103515245U + 12345U;
    return (int)(0x350000U + (*seed >> 16));
}
