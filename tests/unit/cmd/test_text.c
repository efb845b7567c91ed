/* Numbers as people read them. */
#include "cmd/text.h"

#include <criterion/criterion.h>

static char text[TEXT_NUMBER_MAX];

Test(text, bytes)
{
    cr_expect_str_eq(text_bytes(text, 0), "0 B");
    cr_expect_str_eq(text_bytes(text, 1023), "1023 B");
    cr_expect_str_eq(text_bytes(text, 1536), "1.5 KiB");
    cr_expect_str_eq(text_bytes(text, UINT64_MAX), "16384.0 PiB");
}

Test(text, durations)
{
    cr_expect_str_eq(text_duration(text, 999), "999ms");
    cr_expect_str_eq(text_duration(text, 0), "0ms");
    cr_expect_str_eq(text_duration(text, 59999), "59s");
    cr_expect_str_eq(text_duration(text, 187000), "3m07s");
    cr_expect_str_eq(text_duration(text, 18720000), "5h12m");
    cr_expect_str_eq(text_duration(text, 356400000), "4d03h");
}

Test(text, times)
{
    cr_expect_str_eq(text_time(text, 0), "0us");
    cr_expect_str_eq(text_time(text, 999), "999us");
    cr_expect_str_eq(text_time(text, 1500), "1.5ms");
    cr_expect_str_eq(text_time(text, 67220), "67ms");
    cr_expect_str_eq(text_time(text, 61000000), "1m01s");
}
