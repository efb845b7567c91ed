/*
 * The test pattern: any range equals the same range of a longer one, and every wrong byte is found where it is.
 */
#include "bench/pattern.h"

#include <criterion/criterion.h>
#include <string.h>

#define SEED  0x1234ULL
#define BYTES 4096

TestSuite(bench_pattern);

Test(bench_pattern, any_range_is_a_part_of_the_whole)
{
    uint8_t whole[256], part[256];
    pattern_fill(whole, sizeof(whole), SEED, 1000);
    for (size_t from = 0; from < 20; from++) {
        for (size_t length = 0; length <= 40; length++) {
            memset(part, 0xEE, sizeof(part));
            pattern_fill(part, length, SEED, 1000 + from);
            cr_assert_arr_eq(part, whole + from, length, "from %zu length %zu", from, length);
            cr_assert_eq(part[length], 0xEE, "wrote beyond length %zu", length);
        }
    }
}

Test(bench_pattern, check_accepts_what_fill_made)
{
    uint8_t data[BYTES];
    for (size_t from = 0; from < 9; from++) {
        for (size_t length = 0; length < 64; length++) {
            pattern_fill(data, length, SEED, (1ULL << 40) + from);
            cr_assert_eq(pattern_check(data, length, SEED, (1ULL << 40) + from), length);
        }
    }
}

Test(bench_pattern, check_finds_each_wrong_byte)
{
    uint8_t data[67];
    for (size_t from = 0; from < 8; from++) {
        pattern_fill(data, sizeof(data), SEED, from);
        for (size_t wrong = 0; wrong < sizeof(data); wrong++) {
            data[wrong] ^= 0x10;
            cr_assert_eq(pattern_check(data, sizeof(data), SEED, from), wrong);
            data[wrong] ^= 0x10;
        }
    }
}

Test(bench_pattern, a_shifted_repeated_or_foreign_stream_is_found)
{
    uint8_t data[BYTES];
    pattern_fill(data, BYTES, SEED, 0);
    for (uint64_t shift = 1; shift < 300; shift++)
        cr_assert_lt(pattern_check(data, BYTES, SEED, shift), 8, "shift %llu", (unsigned long long)shift);
    for (uint64_t other = 1; other < 300; other++)
        cr_assert_lt(pattern_check(data, BYTES, SEED + other, 0), 8, "seed + %llu",
                     (unsigned long long)other);
}

Test(bench_pattern, the_first_bytes_never_change)
{
    /* Both ends compute the pattern, possibly in different builds. */
    static const uint8_t expected[8] = {0xe5, 0x0b, 0x11, 0xac, 0xef, 0xc0, 0x45, 0x35};
    uint8_t data[8];
    pattern_fill(data, sizeof(data), SEED, 0);
    cr_assert_arr_eq(data, expected, sizeof(data));
}
