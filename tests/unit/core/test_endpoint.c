/* Addresses: text forms there and back, what is refused and why, equality. */
#include "core/endpoint.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

TestSuite(endpoint);

Test(endpoint, text_forms_survive_a_round_trip)
{
    static const struct {
        const char *text, *canonical;
        enum endpoint_family family;
        uint16_t port;
    } cases[] = {
        {"192.0.2.1:80", "192.0.2.1:80", ENDPOINT_V4, 80},
        {"0.0.0.0:65535", "0.0.0.0:65535", ENDPOINT_V4, 65535},
        {"[2001:db8::1]:443", "[2001:db8::1]:443", ENDPOINT_V6, 443},
        {"[2001:0DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443", ENDPOINT_V6, 443},
        {"[::]:1", "[::]:1", ENDPOINT_V6, 1},
        {"unix:/run/x.sock", "unix:/run/x.sock", ENDPOINT_UNIX, 0},
        {"unix:/a", "unix:/a", ENDPOINT_UNIX, 0},
        {"unix:/run/..x/.y/a b", "unix:/run/..x/.y/a b", ENDPOINT_UNIX, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct endpoint endpoint;
        char text[ENDPOINT_TEXT_MAX];

        cr_assert_eq(endpoint_parse(&endpoint, cases[i].text, NULL), 0, "%s", cases[i].text);
        cr_expect_eq(endpoint.family, cases[i].family, "%s", cases[i].text);
        cr_expect_eq(endpoint.port, cases[i].port, "%s", cases[i].text);
        cr_expect_str_eq(endpoint_format(&endpoint, text, sizeof(text)), cases[i].canonical);
    }
}

Test(endpoint, address_bytes_are_in_network_order)
{
    struct endpoint endpoint;

    cr_assert_eq(endpoint_parse(&endpoint, "1.2.3.4:258", NULL), 0);
    cr_expect_arr_eq(endpoint.bytes, ((uint8_t[]){1, 2, 3, 4, 0}), 5);
    cr_expect_eq(endpoint.port, 258);
}

Test(endpoint, refusals_say_what_is_expected)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "needs an address and a port"},
        {"192.0.2.1", "needs an address and a port"},
        {"8080", "needs an IP address before the port"},
        {":80", "needs an IP address before the port"},
        {"*:80", "needs an IP address before the port"},
        {"localhost:80", "names are not supported"},
        {"app.internal:9000", "names are not supported"},
        {"192.0.2.1.example.org:80", "names are not supported"},
        {"192.0.2.256:80", "four numbers from 0 to 255"},
        {"192.0.2:80", "four numbers from 0 to 255"},
        {"192.000.002.001:80", "four numbers from 0 to 255"},
        {"192.0.2.1:", "needs a port"},
        {"192.0.2.1:http", "needs a port"},
        {"192.0.2.1:+80", "needs a port"},
        {"192.0.2.1:80 ", "needs a port"},
        {"192.0.2.1:123456", "needs a port"},
        {"192.0.2.1:0", "has port 0"},
        {"192.0.2.1:00000", "has port 0"},
        {"192.0.2.1:080", "leading zero"},
        {"192.0.2.1:65536", "beyond 65535"},
        {"::1", "brackets around the IPv6 address"},
        {"::1:80:zz", "brackets around an IPv6 address"},
        {"[::1]", "needs a port after the bracket"},
        {"[::1]80", "needs a port after the bracket"},
        {"[::1", "closing bracket"},
        {"[]:80", "IPv6 address in the brackets"},
        {"[1.2.3.4]:80", "IPv6 address in the brackets"},
        {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111]:80", "IPv6 address in the brackets"},
        {"[fe80::1%eth0]:80", "zones are not supported"},
        {"[::ffff:192.0.2.1]:80", "IPv4 address in IPv6 form"},
        {"[::1]:0", "has port 0"},
        {"/run/x.sock", "needs 'unix:' before the path"},
        {"unix:", "needs an absolute path"},
        {"unix:run/x.sock", "needs an absolute path"},
        {"unix:@x", "needs an absolute path"},
        {"unix:/", "plain path"},
        {"unix:/run/", "plain path"},
        {"unix:/run//x", "plain path"},
        {"unix:/run/./x", "plain path"},
        {"unix:/run/../x", "plain path"},
        {"unix:/run/x\n", "control character"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct endpoint endpoint;
        const char *why = "";

        memset(&endpoint, 0xff, sizeof(endpoint));
        cr_expect_eq(endpoint_parse(&endpoint, cases[i].text, &why), -EINVAL, "%s", cases[i].text);
        cr_expect(strstr(why, cases[i].why), "%s: %s", cases[i].text, why);
        cr_expect_eq(endpoint.family, ENDPOINT_NONE, "%s", cases[i].text);
        cr_expect_eq(endpoint_parse(&endpoint, cases[i].text, NULL), -EINVAL, "%s", cases[i].text);
    }
}

Test(endpoint, unix_path_may_have_107_bytes)
{
    char text[ENDPOINT_TEXT_MAX] = "unix:/";
    char formatted[ENDPOINT_TEXT_MAX];
    struct endpoint endpoint;

    memset(text + 6, 'x', ENDPOINT_PATH_MAX - 1);
    cr_assert_eq(endpoint_parse(&endpoint, text, NULL), 0);
    cr_expect_str_eq(endpoint_format(&endpoint, formatted, sizeof(formatted)), text);
    text[strlen(text)] = 'x';
    cr_expect_eq(endpoint_parse(&endpoint, text, NULL), -EINVAL);
}

Test(endpoint, longest_text_fits)
{
    char text[ENDPOINT_TEXT_MAX];
    struct endpoint endpoint = {.family = ENDPOINT_UNIX};

    memset(endpoint.bytes, 'x', sizeof(endpoint.bytes)); /* without a NUL: out of a damaged region */
    cr_expect_eq(strlen(endpoint_format(&endpoint, text, sizeof(text))), 5 + ENDPOINT_PATH_MAX);
    cr_expect_str_eq(endpoint_format(&(struct endpoint){.family = 9}, text, sizeof(text)), "none");
    cr_expect_str_eq(endpoint_format(&endpoint, text, 8), "unix:xx");
}

Test(endpoint, equality_is_of_all_that_counts_and_nothing_else)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"192.0.2.1:80", "192.0.2.1:80", true},  {"192.0.2.1:80", "192.0.2.1:81", false},
        {"192.0.2.1:80", "192.0.2.2:80", false}, {"[::1]:80", "[0::0:1]:80", true},
        {"[::1]:80", "[::2]:80", false},         {"0.0.0.0:80", "[::]:80", false},
        {"unix:/run/a", "unix:/run/a", true},    {"unix:/run/a", "unix:/run/b", false},
        {"unix:/run/a", "unix:/run/a.b", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct endpoint a, b;

        cr_assert_eq(endpoint_parse(&a, cases[i].a, NULL), 0);
        cr_assert_eq(endpoint_parse(&b, cases[i].b, NULL), 0);
        a.bytes[ENDPOINT_PATH_MAX] = 1; /* beyond what counts */
        cr_expect_eq(endpoint_equal(&a, &b), cases[i].equal, "%s %s", cases[i].a, cases[i].b);
        cr_expect_eq(endpoint_equal(&b, &a), cases[i].equal, "%s %s", cases[i].b, cases[i].a);
    }
}
