/*
 * The test pattern. Byte p of a stream is byte p % 8 (little endian) of a 64-bit word mixed from the seed
 * and p / 8 by the SplitMix64 finaliser: every bit of both reaches every bit of the word, so a shifted,
 * repeated or foreign byte is seen with a chance of 255 in 256, eight of them practically always.
 */
#include "bench/pattern.h"

#include <endian.h>
#include <string.h>

#define GOLDEN 0x9E3779B97F4A7C15ULL

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/* base is mix(seed): neighbouring seeds then never name shifted copies of one stream. */
static inline uint64_t word_at(uint64_t base, uint64_t index)
{
    return htole64(mix(base + index * GOLDEN));
}

/* The bytes up to the next multiple of eight, so that the main loops work on whole words. */
static size_t head_length(size_t length, uint64_t position)
{
    size_t head = (size_t)(-position & 7);
    return head < length ? head : length;
}

void pattern_fill(uint8_t *out, size_t length, uint64_t seed, uint64_t position)
{
    const uint64_t base = mix(seed + GOLDEN);
    size_t done = head_length(length, position);
    uint64_t word;

    if (done > 0) {
        word = word_at(base, position / 8);
        memcpy(out, (const uint8_t *)&word + position % 8, done);
    }
    uint64_t index = (position + done) / 8;
    for (; length - done >= 8; done += 8) {
        word = word_at(base, index++);
        memcpy(out + done, &word, 8);
    }
    if (done < length) {
        word = word_at(base, index);
        memcpy(out + done, &word, length - done);
    }
}

/* The first differing index of two byte ranges that are known to differ or of at most eight bytes. */
static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t length)
{
    size_t i = 0;
    while (i < length && a[i] == b[i])
        i++;
    return i;
}

size_t pattern_check(const uint8_t *data, size_t length, uint64_t seed, uint64_t position)
{
    const uint64_t base = mix(seed + GOLDEN);
    size_t done = head_length(length, position);
    uint64_t expected, actual;

    if (done > 0) {
        expected = word_at(base, position / 8);
        size_t same = first_difference(data, (const uint8_t *)&expected + position % 8, done);
        if (same < done)
            return same;
    }
    uint64_t index = (position + done) / 8;
    for (; length - done >= 8; done += 8) {
        expected = word_at(base, index++);
        memcpy(&actual, data + done, 8);
        if (actual != expected)
            return done + first_difference(data + done, (const uint8_t *)&expected, 8);
    }
    if (done < length) {
        expected = word_at(base, index);
        done += first_difference(data + done, (const uint8_t *)&expected, length - done);
    }
    return done;
}
