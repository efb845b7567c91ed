/* What a valid configuration becomes: defaults, each key's value, the files that come with Penstock. */
#include "tests/unit/config/parse.h"

TestSuite(config_accept);

Test(config_accept, defaults)
{
    struct image *image = parse_accept(PARSE_REST);

    cr_assert_not_null(image);
    cr_expect_str_eq(image->name, "test");
    cr_expect_str_eq(image->user, "");
    cr_expect_eq(image->generation, 0);
    cr_expect_eq(image->workers, 4, "auto takes the CPUs there are");
    cr_expect_eq(image->backlog, 4096);
    cr_expect_eq(image->sessions_limit, 8000);
    cr_expect_eq(image->flows_limit, 0);
    cr_expect_eq(image_flows(image), 26666, "two a session, and two thirds more");
    cr_expect_eq(image->buffer_bytes_limit, 256 << 20);
    cr_expect_eq(image->timeouts.connect_ms, 5000);
    cr_expect_eq(image->timeouts.idle_ms, 3600000);
    cr_expect_eq(image->timeouts.half_closed_ms, 30000);
    cr_expect_eq(image->timeouts.drain_ms, 0);
    cr_expect_eq(image->log_level, LOG_LEVEL_INFO);
    cr_expect_eq(image->access_format, ACCESS_TEXT);
    cr_expect_str_eq(image->access_path, "");
    cr_expect_eq(image->listener_count, 1);
    cr_expect_eq(image->spin_us, 0);
    cr_expect_eq(image->watchdog_ms, 10000);
    cr_expect_eq(image->exporter.family, ENDPOINT_NONE);
    cr_expect_eq(image->time_wait.mode, TIME_WAIT_AUTO);
    cr_expect_eq(image->time_wait.two_msl_ms, 60000);
    cr_expect_eq(image->time_wait.interface_count, 0);
    cr_expect_str_eq(image->time_wait.cgroup, "");
    cr_expect_eq(image->time_wait.no_buckets, 0);
    cr_expect_eq(image_listener(image, 0)->timeouts.idle_ms, IMAGE_INHERIT);
    cr_expect_str_eq(image_listener(image, 0)->congestion, "");
    cr_expect_str_eq(image_pool(image, 0)->congestion, "");
    cr_expect_eq(image_listener(image, 0)->zero_copy, 0);
    cr_expect_eq(image_pool(image, 0)->zero_copy, 0);
    cr_expect_eq(image_pool(image, 0)->timeouts.connect_ms, IMAGE_INHERIT);
    cr_expect_eq(image_pool(image, 0)->balance, BALANCE_ROUND_ROBIN);
    cr_expect_eq(image_pool(image, 0)->retries, 3);
    cr_expect_eq(image_server(image, 0)->weight, 1);
    cr_expect_eq(image_server(image, 0)->backup, 0);
    free(image);
}

Test(config_accept, an_exporter_is_for_this_machine_unless_told_otherwise)
{
    struct image *image = parse_accept(PARSE_REST "exporter: {}\n");
    const uint8_t loopback[] = {127, 0, 0, 1};

    cr_expect_eq(image->exporter.family, ENDPOINT_V4);
    cr_expect_arr_eq(image->exporter.bytes, loopback, sizeof(loopback));
    cr_expect_eq(image->exporter.port, 9464);
    free(image);
}

Test(config_accept, every_key_of_the_top_level)
{
    struct image *image = parse_accept(
        PARSE_REST "workers: 128\n"
                   "user: nobody\n"
                   "spin: 100us\n"
                   "watchdog: 2s\n"
                   "exporter: { listen: \"[::1]:9464\" }\n"
                   "limits: { sessions: 10000000, flows: 40000000, buffers: 2GiB, backlog: 65535 }\n"
                   "log: { level: debug, access: /var/log/a.log, format: json }\n"
                   "timeouts: { connect: 100ms, idle: off, half_closed: 2m, drain: 1d }\n");

    cr_expect_eq(image->workers, 128);
    cr_expect_str_eq(image->user, "nobody");
    cr_expect_eq(image->spin_us, 100);
    cr_expect_eq(image->watchdog_ms, 2000);
    cr_expect_eq(image->exporter.family, ENDPOINT_V6);
    cr_expect_eq(image->exporter.port, 9464);
    cr_expect_eq(image->sessions_limit, 10000000);
    cr_expect_eq(image_flows(image), 40000000);
    cr_expect_eq(image->buffer_bytes_limit, 2ull << 30);
    cr_expect_eq(image->backlog, 65535);
    cr_expect_eq(image->log_level, LOG_LEVEL_DEBUG);
    cr_expect_str_eq(image->access_path, "/var/log/a.log");
    cr_expect_eq(image->access_format, ACCESS_JSON);
    cr_expect_eq(image->timeouts.connect_ms, 100);
    cr_expect_eq(image->timeouts.idle_ms, 0);
    cr_expect_eq(image->timeouts.half_closed_ms, 120000);
    cr_expect_eq(image->timeouts.drain_ms, 24 * 3600 * 1000);
    free(image);
}

Test(config_accept, time_wait)
{
    struct image *image = parse_accept(PARSE_REST "time_wait:\n"
                                                  "  mode: owned\n"
                                                  "  two_msl: 10m\n"
                                                  "  interfaces: [ eth0.5, lo, auto ]\n"
                                                  "  cgroup: /sys/fs/cgroup/penstock\n"
                                                  "  tcp_max_tw_buckets: 0\n");

    cr_expect_eq(image->time_wait.mode, TIME_WAIT_OWNED);
    cr_expect_eq(image->time_wait.two_msl_ms, 600000);
    cr_assert_eq(image->time_wait.interface_count, 3);
    cr_expect_str_eq(image->time_wait.interfaces[0], "eth0.5");
    cr_expect_str_eq(image->time_wait.interfaces[1], "lo");
    cr_expect_str_eq(image->time_wait.interfaces[2], "auto");
    cr_expect_str_eq(image->time_wait.cgroup, "/sys/fs/cgroup/penstock");
    cr_expect_eq(image->time_wait.no_buckets, 1);
    free(image);
    image = parse_accept(PARSE_REST
                         "time_wait: { mode: kernel, two_msl: 60s, interfaces: auto, cgroup: auto }\n");
    cr_expect_eq(image->time_wait.mode, TIME_WAIT_KERNEL);
    free(image);
}

Test(config_accept, listeners_and_pools)
{
    struct image *image = parse_accept("name: test\n"
                                       "listeners:\n"
                                       "  - name: a\n"
                                       "    bind: [\"0.0.0.0:80\", \"[::]:80\", unix:/run/a]\n"
                                       "    routes: [ { pool: two } ]\n"
                                       "    timeouts: { idle: 1m, half_closed: 0 }\n"
                                       "    congestion: bbr\n" /* beside a unix socket, which goes without */
                                       "    send_buffer: 1GiB\n"
                                       "    zero_copy: true\n"
                                       "  - name: b\n"
                                       "    bind: 127.0.0.1:81\n"
                                       "    routes:\n"
                                       "      - pool: one\n"
                                       "pools:\n"
                                       "  - name: one\n"
                                       "    servers: [ 10.0.0.1:1, { address: 10.0.0.2:2, backup: true } ]\n"
                                       "    retries: 0\n"
                                       "  - name: two\n"
                                       "    balance: least_sessions\n"
                                       "    servers:\n"
                                       "      - address: \"[2001:db8::1]:3\"\n"
                                       "        weight: 256\n"
                                       "    timeouts: { connect: 1s, idle: 2s, half_closed: 3s }\n"
                                       "    congestion: a_2345678901-45\n"
                                       "    receive_buffer: 4KiB\n"
                                       "    zero_copy: true\n"
                                       "  - { name: unused, servers: [ unix:/run/s ] }\n");
    char text[ENDPOINT_TEXT_MAX];

    cr_assert_eq(image->listener_count, 2);
    cr_assert_eq(image->bind_count, 4);
    cr_assert_eq(image->pool_count, 3);
    cr_assert_eq(image->server_count, 4);
    cr_expect_str_eq(image_listener(image, 0)->name, "a");
    cr_expect_eq(image_listener(image, 0)->bind_first, 0);
    cr_expect_eq(image_listener(image, 0)->bind_count, 3);
    cr_expect_eq(image_listener(image, 0)->pool, 1);
    cr_expect_eq(image_listener(image, 0)->timeouts.idle_ms, 60000);
    cr_expect_eq(image_listener(image, 0)->timeouts.half_closed_ms, 0);
    cr_expect_eq(image_listener(image, 1)->bind_first, 3);
    cr_expect_eq(image_listener(image, 1)->bind_count, 1);
    cr_expect_eq(image_listener(image, 1)->pool, 0);
    cr_expect_eq(image_bind(image, 3)->listener, 1);
    cr_expect_str_eq(endpoint_format(&image_bind(image, 2)->endpoint, text, sizeof(text)), "unix:/run/a");
    cr_expect_str_eq(image_listener(image, 0)->congestion, "bbr");
    cr_expect_str_eq(image_listener(image, 1)->congestion, "");
    cr_expect_str_eq(image_pool(image, 0)->congestion, "");
    cr_expect_str_eq(image_pool(image, 1)->congestion, "a_2345678901-45");
    cr_expect_eq(image_listener(image, 0)->buffers.receive, 0);
    cr_expect_eq(image_listener(image, 0)->buffers.send, 1 << 30);
    cr_expect_eq(image_pool(image, 1)->buffers.receive, 4096);
    cr_expect_eq(image_pool(image, 1)->buffers.send, 0);
    cr_expect_eq(image_listener(image, 0)->zero_copy, 1);
    cr_expect_eq(image_listener(image, 1)->zero_copy, 0);
    cr_expect_eq(image_pool(image, 0)->zero_copy, 0);
    cr_expect_eq(image_pool(image, 1)->zero_copy, 1);
    cr_expect_eq(image_pool(image, 0)->retries, 0);
    cr_expect_eq(image_pool(image, 0)->server_count, 2);
    cr_expect_eq(image_server(image, 1)->backup, 1);
    cr_expect_eq(image_pool(image, 1)->balance, BALANCE_LEAST_SESSIONS);
    cr_expect_eq(image_pool(image, 1)->server_first, 2);
    cr_expect_eq(image_pool(image, 1)->timeouts.half_closed_ms, 3000);
    cr_expect_eq(image_server(image, 2)->weight, 256);
    cr_expect_str_eq(endpoint_format(&image_server(image, 2)->address, text, sizeof(text)),
                     "[2001:db8::1]:3");
    free(image);
}

/* One line at a time above the least configuration. */
Test(config_accept, forms)
{
    static const struct {
        const char *line;
        const char *access_path;
    } cases[] = {
        {"log: { access: off }\n", "off"},
        {"log: { access: \"off\" }\n", "off"},
        {"log: { access: stderr }\n", ""},
        {"log: { access: syslog }\n", "syslog:/dev/log"},
        {"log: { access: syslog:/run/a log }\n", "syslog:/run/a log"},
        {"log: { }\n", ""},
        {"---\n", ""},
        {"%YAML 1.1\n---\n", ""},
        {"# comment \xc3\xa9\r\n", ""},
        {"\xef\xbb\xbf# byte order mark\n", ""},
        {"'workers': 'auto'\n", ""},
        {"? workers\n: 1\n", ""},
        {"user: \"null\"\n", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        struct image *image;

        snprintf(text, sizeof(text), "%s" PARSE_REST, cases[i].line);
        image = parse_accept(text);
        cr_expect_str_eq(image->access_path, cases[i].access_path);
        free(image);
    }
}

Test(config_accept, wildcards_of_both_families_do_not_collide)
{
    free(
        parse_accept("name: test\n" PARSE_POOLS "listeners:\n"
                     "- { name: a, bind: [ 0.0.0.0:80, \"[::]:80\", 127.0.0.1:81 ], routes: [ pool: app ] }\n"
                     "- { name: b, bind: [ 127.0.0.2:81, \"[::1]:81\" ], routes: [ pool: app ] }\n"));
}

Test(config_accept, workers_auto_is_bounded)
{
    static const struct {
        uint32_t cpus, workers;
    } cases[] = {{0, 1}, {1, 1}, {128, 128}, {129, 128}, {UINT32_MAX, 128}};
    static struct config_report report;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_options options = {.cpus = cases[i].cpus};
        struct image *image;

        cr_assert_eq(
            config_parse_memory("t", PARSE_REST, strlen(PARSE_REST), &options, &report, &image, NULL), 0);
        cr_expect_eq(image->workers, cases[i].workers);
        free(image);
    }
}

Test(config_accept, as_many_rows_as_an_image_holds)
{
    size_t capacity = 256 * 1024, length = 0;
    char *text = malloc(capacity);
    struct image *image;

    length += (size_t)snprintf(text, capacity, "name: test\nlisteners:\n");
    for (unsigned i = 0; i < IMAGE_LISTENERS_MAX; i++)
        length +=
            (size_t)snprintf(text + length, capacity - length,
                             "- { name: l%u, routes: [ pool: p%u ], bind: [ 127.0.0.1:%u, 127.0.0.2:%u ] }\n",
                             i, i, i + 1, i + 1);
    length += (size_t)snprintf(text + length, capacity - length, "pools:\n");
    for (unsigned i = 0; i < IMAGE_POOLS_MAX; i++) {
        length += (size_t)snprintf(text + length, capacity - length, "- { name: p%u, servers: [ ", i);
        for (unsigned s = 0; s < IMAGE_SERVERS_MAX / IMAGE_POOLS_MAX; s++)
            length += (size_t)snprintf(text + length, capacity - length, "{ address: 10.0.0.%u:9 }, ", s);
        length += (size_t)snprintf(text + length, capacity - length, "] }\n");
    }
    image = parse_accept(text);
    cr_expect_eq(image->listener_count, IMAGE_LISTENERS_MAX);
    cr_expect_eq(image->bind_count, IMAGE_BINDS_MAX);
    cr_expect_eq(image->pool_count, IMAGE_POOLS_MAX);
    cr_expect_eq(image->server_count, IMAGE_SERVERS_MAX);
    cr_expect_eq(image_listener(image, 63)->pool, 63);
    free(image);
    free(text);
}
