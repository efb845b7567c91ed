/* `source` of a pool: what it becomes, and every mistake in it. */
#include "tests/unit/config/parse.h"

TestSuite(config_source);

#define HEAD "name: test\nworkers: 4\n" PARSE_LISTENERS
#define POOL(source) \
    HEAD "pools:\n- name: app\n  servers: [ 10.0.0.1:1, \"[2001:db8::1]:1\" ]\n  source: " source "\n"
#define POOL4(source) \
    HEAD "pools:\n- name: app\n  servers: [ 10.0.0.1:1, unix:/run/s ]\n  source: " source "\n"

Test(config_source, is_read)
{
    struct image *image =
        parse_accept(POOL("{ addresses: [ 192.0.2.1, \"2001:db8::2\", 192.0.2.2 ], ports: 1-65535 }"));
    const struct image_source *source = &image_pool(image, 0)->source;

    cr_expect_eq(source->port_low, 1);
    cr_expect_eq(source->port_high, 65535);
    cr_assert_eq(source->address_count, 3);
    cr_expect_eq(source->addresses[0].family, ENDPOINT_V4);
    cr_expect_eq(memcmp(source->addresses[0].bytes, "\xc0\0\2\1\0\0\0\0", 8), 0);
    cr_expect_eq(source->addresses[1].family, ENDPOINT_V6);
    cr_expect_eq(memcmp(source->addresses[1].bytes, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2", 16), 0);
    cr_expect_eq(source->addresses[2].bytes[3], 2);
    free(image);
}

Test(config_source, may_leave_out_either)
{
    struct image *image = parse_accept(POOL4("{ addresses: [ 127.0.0.2 ] }"));
    cr_expect_eq(image_pool(image, 0)->source.port_low, 0);
    cr_expect_eq(image_pool(image, 0)->source.port_high, 0);
    free(image);

    image = parse_accept(POOL("{ ports: 20000-20003 }"));
    cr_expect_eq(image_pool(image, 0)->source.address_count, 0);
    cr_expect_eq(image_pool(image, 0)->source.port_high, 20003);
    free(image);
}

Test(config_source, ports)
{
    static const struct {
        const char *text, *report;
    } cases[] = {
        {"20000", "'20000' is no range of ports; write two numbers from 1 to 65535, as in 20000-60999"},
        {"0-100", "'0-100' is no range of ports; write two numbers from 1 to 65535, as in 20000-60999"},
        {"1-65536", "'1-65536' is no range of ports; write two numbers from 1 to 65535, as in 20000-60999"},
        {"1 - 100", "'1 - 100' is no range of ports; write two numbers from 1 to 65535, as in 20000-60999"},
        {"1-100x", "'1-100x' is no range of ports; write two numbers from 1 to 65535, as in 20000-60999"},
        {"100-1", "'100-1' has its lowest port last; write 1-100"},
        {"20000-20002", "3 ports are not enough for 4 workers, which have a part each; write at least 4"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], expected[256];

        snprintf(text, sizeof(text), POOL("{ ports: %s }"), cases[i].text);
        snprintf(expected, sizeof(expected), "7:20: pools[0].source.ports: %s\n", cases[i].report);
        parse_refuse_all(&(struct parse_case){text, expected}, 1);
    }
}

Test(config_source, addresses)
{
    static const struct parse_case cases[] = {
        {POOL4("{ addresses: [ 10.0.0.2:80, 10.0.0.300, localhost, \"::ffff:10.0.0.1\" ] }"),
         "7:26: pools[0].source.addresses[0]: '10.0.0.2:80' is no address; write one without a port, as in 192.0.2.1 "
         "or 2001:db8::1\n"
         "7:39: pools[0].source.addresses[1]: '10.0.0.300' is no address; write one without a port, as in 192.0.2.1 "
         "or 2001:db8::1\n"
         "7:51: pools[0].source.addresses[2]: 'localhost' is no address; write one without a port, as in 192.0.2.1 "
         "or 2001:db8::1\n"
         "7:62: pools[0].source.addresses[3]: '::ffff:10.0.0.1' is an IPv4 address in IPv6 form; write the IPv4 "
         "address, as in 192.0.2.1\n"},
        {POOL4("{ addresses: [ 0.0.0.0 ] }"),
         "7:26: pools[0].source.addresses[0]: no connection can come from this address; write one of this machine\n"},
        {POOL("{ addresses: [ 10.0.0.2, \"ff02::1\" ] }"),
         "7:36: pools[0].source.addresses[1]: no connection can come from this address; write one of this machine\n"},
        {POOL("{ addresses: [ 224.0.0.1, \"fe80::1\" ] }"),
         "7:26: pools[0].source.addresses[0]: no connection can come from this address; write one of this machine\n"
         "7:37: pools[0].source.addresses[1]: no connection can come from this address; write one of this machine\n"},
        {POOL4("{ addresses: [ 10.0.0.2, 10.0.0.3, 10.0.0.2 ] }"),
         "7:46: pools[0].source.addresses[2]: this is the address of line 7 already; write another\n"},
        {POOL4("{ addresses: [ 10.0.0.2, \"2001:db8::1\" ] }"),
         "7:36: pools[0].source.addresses[1]: no server of the pool has an IPv6 address; leave this one out\n"},
        {POOL("{ addresses: [ 10.0.0.2 ] }"),
         "7:11: pools[0].source.addresses: servers of the pool have IPv6 addresses; add an IPv6 address of this "
         "machine\n"},
        {POOL("{ addresses: [ \"2001:db8::2\" ] }"),
         "7:11: pools[0].source.addresses: servers of the pool have IPv4 addresses; add an IPv4 address of this "
         "machine\n"},
        {POOL("{ addresses: [] }"),
         "7:24: pools[0].source.addresses: the list of addresses is empty; write at least one\n"},
        {POOL("{ addresses: 10.0.0.2 }"),
         "7:24: pools[0].source.addresses: a list of addresses is needed here; begin each with '- '\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_source, elsewhere)
{
    static const struct parse_case cases[] = {
        {HEAD "pools:\n- name: app\n  servers: [ unix:/run/s ]\n  source: { ports: 20000-30000 }\n",
         "7:11: pools[0].source: unix sockets have none, and this pool has no other servers; leave it out\n"},
        {POOL("10.0.0.2"),
         "7:11: pools[0].source: a mapping of keys is needed here; write for example 'addresses: ...'\n"},
        {POOL("{ port: 1-2 }"), "7:13: pools[0].source: unknown key 'port'; did you mean 'ports'?\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_source, too_many_addresses)
{
    char text[1024] = HEAD "pools:\n- name: app\n  servers: [ 10.0.0.1:1 ]\n  source:\n    addresses:\n";

    for (int i = 0; i <= IMAGE_SOURCES_MAX; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "    - 10.0.0.%d\n", i + 2);
    }
    parse_refuse_all(
        &(struct parse_case){text, "25:7: pools[0].source.addresses[16]: too many addresses; at most 16 "
                                   "are possible\n"},
        1);
}

/* Ports outside the host's range are bound, which below 1024 takes a privilege that workers do not have. */
Test(config_source, ports_that_workers_may_not_bind)
{
    static const struct {
        const char *ports, *user;
        bool is_root, good;
    } cases[] = {
        {"1000-2000", "", true, true},   {"1000-2000", "user: nobody\n", true, false},
        {"1000-2000", "", false, false}, {"1024-2000", "", false, true},
        {"600-700", "", false, true}, /* of the host's range */
    };
    static struct config_report report;
    const struct config_options options = {.cpus = 4};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct machine_facts facts = {
            .nofile_limit = UINT64_MAX,
            .memlock_bytes = UINT64_MAX,
            .memory_bytes = UINT64_MAX,
            .cpus = 4,
            .port_low = 600,
            .port_high = 700,
            .unprivileged_port_start = 1024,
            .is_root = cases[i].is_root,
        };
        struct config_positions positions;
        struct image *image = NULL;
        char text[512];

        snprintf(text, sizeof(text), POOL("{ ports: %s }") "%s", cases[i].ports, cases[i].user);
        cr_assert_eq(config_parse_memory("x", text, strlen(text), &options, &report, &image, &positions), 0);
        cr_expect_eq(config_check_machine(image, &positions, &facts, &report) == 0, cases[i].good, "%s",
                     parse_report_text(&report));
        if (!cases[i].good) {
            cr_expect_str_eq(
                parse_report_text(&report),
                "7:20: pools[0].source.ports: workers may not use ports below 1024 "
                "(net.ipv4.ip_unprivileged_port_start); write a range that begins there or later\n");
        }
        free(image);
    }
}
