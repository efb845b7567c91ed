/* Value parsers: each text gives a value, or a sentence. */
#include "config/value.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

TestSuite(config_value);

#define REFUSED UINT64_MAX

struct number_case {
    const char *text;
    uint64_t value; /* REFUSED */
    const char *why;
};

#define EXPECT(result, text, got, expected, why_is, why_expected)                          \
    do {                                                                                   \
        cr_expect_eq(result, (expected) == REFUSED ? -EINVAL : 0, "%s: %s", text, why_is); \
        if ((expected) != REFUSED)                                                         \
            cr_expect_eq(got, expected, "%s", text);                                       \
        else                                                                               \
            cr_expect_str_eq(why_is, why_expected);                                        \
    } while (0)

Test(config_value, integers)
{
    static const struct number_case cases[] = {
        {"1", 1, NULL},
        {"10000", 10000, NULL},
        {"0", REFUSED, "0 is out of range; write a whole number from 1 to 10000"},
        {"10001", REFUSED, "10001 is out of range; write a whole number from 1 to 10000"},
        {"18446744073709551616", REFUSED,
         "18446744073709551616 is out of range; write a whole number from 1 to 10000"},
        {"99999999999999999999999999999999999999999999999999999999999999999999", REFUSED,
         "999999999999999999999999999999999999999999999999999999999999... is out of range; "
         "write a whole number from 1 to 10000"},
        {"10k", REFUSED, "'10k' is not a whole number; write one from 1 to 10000"},
        {"-1", REFUSED, "'-1' is not a whole number; write one from 1 to 10000"},
        {"+1", REFUSED, "'+1' is not a whole number; write one from 1 to 10000"},
        {"1.0", REFUSED, "'1.0' is not a whole number; write one from 1 to 10000"},
        {"1_000", REFUSED, "'1_000' is not a whole number; write one from 1 to 10000"},
        {"0x10", REFUSED, "'0x10' is not a whole number; write one from 1 to 10000"},
        {"010", REFUSED, "'010' is not a whole number; write one from 1 to 10000"},
        {" 1", REFUSED, "' 1' is not a whole number; write one from 1 to 10000"},
        {"", REFUSED, "'' is not a whole number; write one from 1 to 10000"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        uint64_t value = 0;
        int result = config_value_integer(cases[i].text, 1, 10000, &value, &why);

        EXPECT(result, cases[i].text, value, cases[i].value, why.text, cases[i].why);
    }
}

Test(config_value, durations)
{
    static const char units[] =
        "is not a duration; write one whole number and one unit of ms, s, m, h or d, as in 90s";
    static const struct number_case cases[] = {
        {"0", 0, NULL},
        {"off", 0, NULL},
        {"0s", 0, NULL},
        {"250ms", 250, NULL},
        {"5s", 5000, NULL},
        {"2m", 120000, NULL},
        {"1h", 3600000, NULL},
        {"49d", 49ull * 24 * 3600 * 1000, NULL},
        {"4233600000ms", 4233600000, NULL},
        {"4233600001ms", REFUSED, "4233600001ms is too long; write at most 49d, or off for no limit"},
        {"50d", REFUSED, "50d is too long; write at most 49d, or off for no limit"},
        {"99999999999999999999d", REFUSED,
         "99999999999999999999d is too long; write at most 49d, or off for no limit"},
        {"5", REFUSED, "'5' has no unit; write it with ms, s, m, h or d, as in 5s"},
        {"1h30m", REFUSED, NULL},
        {"5 s", REFUSED, NULL},
        {"5S", REFUSED, NULL},
        {"1.5s", REFUSED, NULL},
        {"s", REFUSED,
         "'s' is not a duration; write a whole number with ms, s, m, h or d, as in 30s, or off"},
        {"-5s", REFUSED,
         "'-5s' is not a duration; write a whole number with ms, s, m, h or d, as in 30s, or off"},
        {"05s", REFUSED,
         "'05s' is not a duration; write a whole number with ms, s, m, h or d, as in 30s, or off"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        uint32_t value = 0;
        char expected[CONFIG_WHY_MAX];
        int result = config_value_duration(cases[i].text, &value, &why);

        snprintf(expected, sizeof(expected), "'%s' %s", cases[i].text, units);
        EXPECT(result, cases[i].text, value, cases[i].value, why.text,
               cases[i].why ? cases[i].why : expected);
    }
}

Test(config_value, sizes)
{
    static const struct number_case cases[] = {
        {"1024KiB", 1 << 20, NULL},
        {"1MiB", 1 << 20, NULL},
        {"256MiB", 256 << 20, NULL},
        {"1GiB", 1 << 30, NULL},
        {"1023KiB", REFUSED, "1023KiB is out of range; write a size from 1MiB to 1GiB"},
        {"1025MiB", REFUSED, "1025MiB is out of range; write a size from 1MiB to 1GiB"},
        {"17179869185GiB", REFUSED, "17179869185GiB is out of range; write a size from 1MiB to 1GiB"},
        {"0", REFUSED, "'0' has no unit; write it with KiB, MiB or GiB, as in 256MiB"},
        {"256MB", REFUSED,
         "'256MB' is not a size; write one whole number and one unit of KiB, MiB or GiB, as in 256MiB"},
        {"256 MiB", REFUSED,
         "'256 MiB' is not a size; write one whole number and one unit of KiB, MiB or GiB, as in 256MiB"},
        {"MiB", REFUSED, "'MiB' is not a size; write a whole number with KiB, MiB or GiB, as in 256MiB"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        uint64_t value = 0;
        int result = config_value_size(cases[i].text, 1 << 20, 1 << 30, &value, &why);

        EXPECT(result, cases[i].text, value, cases[i].value, why.text, cases[i].why);
    }
}

Test(config_value, booleans)
{
    static const char *const refused[] = {"yes", "no", "on", "off", "True", "FALSE", "1", "0", ""};
    struct config_why why;
    bool value = false;

    cr_expect_eq(config_value_boolean("true", &value, &why), 0);
    cr_expect(value);
    cr_expect_eq(config_value_boolean("false", &value, &why), 0);
    cr_expect_not(value);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_expect_eq(config_value_boolean(refused[i], &value, &why), -EINVAL, "%s", refused[i]);
}

Test(config_value, choices)
{
    static const struct config_choice all[] = {
        {"old", CONFIG_CHOICE_UNSUPPORTED}, {"red", 3}, {"green", 1},
        {"new", CONFIG_CHOICE_UNSUPPORTED}, {NULL, 0},
    };
    struct config_why why;
    uint32_t value = 9;

    cr_expect_eq(config_value_choice("red", all, &value, &why), 0);
    cr_expect_eq(value, 3);
    cr_expect_eq(config_value_choice("new", all, &value, &why), -EINVAL);
    cr_expect_str_eq(why.text, "'new' is not supported by this version; write red or green");
    cr_expect_eq(config_value_choice("Red", all, &value, &why), -EINVAL);
    cr_expect_str_eq(why.text, "'Red' is not known; write red or green");
    cr_expect_eq(value, 3);
}

Test(config_value, names)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"edge", NULL},
        {"a.B-c_9", NULL},
        {"_x", NULL},
        {"1234567", NULL},
        {"12345678", "'12345678' is too long; a name has at most 7 characters"},
        {"", "'' is not a name; write letters, digits and any of '_.-'"},
        {"a b", "'a b' is not a name; write letters, digits and any of '_.-' only"},
        {"a/b", "'a/b' is not a name; write letters, digits and any of '_.-' only"},
        {"\xc3\xa9", "'\xc3\xa9' is not a name; write letters, digits and any of '_.-' only"},
        {"..", "'..' is not a name; begin it with a letter, a digit or '_'"},
        {"-x", "'-x' is not a name; begin it with a letter, a digit or '_'"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        char name[8] = "before";
        int result = config_value_name(cases[i].text, name, sizeof(name), &why);

        cr_expect_eq(result, cases[i].why ? -EINVAL : 0, "%s", cases[i].text);
        cr_expect_str_eq(name, cases[i].why ? "before" : cases[i].text);
        cr_expect_str_eq(why.text, cases[i].why ? cases[i].why : "");
    }
}

Test(config_value, paths)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"/var/log/a", NULL},
        {"/var/log/ab", "'/var/log/ab' is too long; a path has at most 10 bytes"},
        {"a.log", "'a.log' is not an absolute path; write for example /var/log/penstock/access.log"},
        {"", "'' is not an absolute path; write for example /var/log/penstock/access.log"},
        {"/", "'/' is a directory; write the path of a file, as in /var/log/penstock/access.log"},
        {"/a\tb", "'/a\tb' has a control character; write a plain path"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        char path[11] = "before";
        int result = config_value_path(cases[i].text, path, sizeof(path), &why);

        cr_expect_eq(result, cases[i].why ? -EINVAL : 0, "%s", cases[i].text);
        cr_expect_str_eq(path, cases[i].why ? "before" : cases[i].text);
        cr_expect_str_eq(why.text, cases[i].why ? cases[i].why : "");
    }
}

Test(config_value, directories)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"/sys/fs/cg", NULL},
        {"/sys/fs/cgr", "'/sys/fs/cgr' is too long; a path has at most 10 bytes"},
        {"cg", "'cg' is not an absolute path; write for example /sys/fs/cgroup/penstock"},
        {"", "'' is not an absolute path; write for example /sys/fs/cgroup/penstock"},
        {"/sys/", "'/sys/' ends with '/'; leave that out, as in /sys/fs/cgroup/penstock"},
        {"/a\tb", "'/a\tb' has a control character; write a plain path"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        char path[11] = "before";
        int result = config_value_directory(cases[i].text, path, sizeof(path), &why);

        cr_expect_eq(result, cases[i].why ? -EINVAL : 0, "%s", cases[i].text);
        cr_expect_str_eq(path, cases[i].why ? "before" : cases[i].text);
        cr_expect_str_eq(why.text, cases[i].why ? cases[i].why : "");
    }
}

Test(config_value, interfaces)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "a:1", "a b", "a\tb", "a\n", "a234567890123456"};
    char name[16] = "kept";
    struct config_why why;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(config_value_interface(bad[i], name, sizeof(name), &why), -EINVAL, "%s", bad[i]);
    cr_expect_str_eq(name, "kept");
    cr_expect_eq(config_value_interface("enp3s0f1-.@\xc3\xa9_x", name, sizeof(name), &why), 0);
    cr_expect_str_eq(name, "enp3s0f1-.@\xc3\xa9_x");
}

Test(config_value, durations_within)
{
    static const struct number_case cases[] = {
        {"1s", 1000, NULL},
        {"1000ms", 1000, NULL},
        {"10m", 600000, NULL},
        {"999ms", REFUSED, "999ms is out of range; write a duration from 1s to 600s"},
        {"600001ms", REFUSED, "600001ms is out of range; write a duration from 1s to 600s"},
        {"off", REFUSED, "off is out of range; write a duration from 1s to 600s"},
        {"60", REFUSED, "'60' has no unit; write it with ms, s, m, h or d, as in 60s"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        uint32_t value = 0;
        int result = config_value_duration_within(cases[i].text, 1000, 600000, &value, &why);

        EXPECT(result, cases[i].text, value, cases[i].value, why.text, cases[i].why);
    }
}

Test(config_value, addresses)
{
    struct config_why why;
    struct endpoint endpoint;

    cr_expect_eq(config_value_address("[::1]:80", &endpoint, &why), 0);
    cr_expect_eq(endpoint.family, ENDPOINT_V6);
    cr_expect_eq(config_value_address("app:80", &endpoint, &why), -EINVAL);
    cr_expect_str_eq(why.text, "'app:80' needs an IP address; names are not supported by this version");
    cr_expect_eq(endpoint.family, ENDPOINT_V6);
}

Test(config_value, microseconds)
{
    static const struct number_case cases[] = {
        {"0", 0, NULL},
        {"off", 0, NULL},
        {"0us", 0, NULL},
        {"1us", 1, NULL},
        {"100us", 100, NULL},
        {"1000us", 1000, NULL},
        {"1ms", 1000, NULL},
        {"1001us", REFUSED, "1001us is too long; write at most 1ms, or off"},
        {"2ms", REFUSED, "2ms is too long; write at most 1ms, or off"},
        {"1s", REFUSED, "1s is too long; write at most 1ms, or off"},
        {"99999999999999999999us", REFUSED, "99999999999999999999us is too long; write at most 1ms, or off"},
        {"100", REFUSED, "'100' has no unit; write it with us or ms, as in 100us"},
        {"100ns", REFUSED,
         "'100ns' is not a duration; write a whole number with us or ms, as in 100us, or off"},
        {"-1us", REFUSED,
         "'-1us' is not a duration; write a whole number with us or ms, as in 100us, or off"},
        {"", REFUSED, "'' is not a duration; write a whole number with us or ms, as in 100us, or off"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_why why = {""};
        uint32_t value = 0;
        int result = config_value_microseconds(cases[i].text, 1000, &value, &why);

        EXPECT(result, cases[i].text, value, cases[i].value, why.text, cases[i].why);
    }
}

Test(config_value, congestion_controls)
{
    static const char *const bad[] = {"", "Reno", "a b", "a.b", "a/b", "a234567890123456", "r\xc3\xa9no"};
    char name[16] = "kept";
    struct config_why why;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(config_value_congestion(bad[i], name, sizeof(name), &why), -EINVAL, "%s", bad[i]);
    cr_expect_str_eq(name, "kept");
    cr_expect_eq(config_value_congestion("a23456_890-2345", name, sizeof(name), &why), 0);
    cr_expect_str_eq(name, "a23456_890-2345");
}
