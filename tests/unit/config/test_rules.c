/* Mistakes that no single value shows. */
#include "tests/unit/config/parse.h"

TestSuite(config_rules);

#define NAMES           "name: test\n" PARSE_POOLS "listeners:\n"
#define LISTENERS(rows) NAMES rows
#define TO_APP          "routes: [ pool: app ]"

Test(config_rules, names)
{
    static const struct parse_case cases[] = {
        {LISTENERS("- { name: a, bind: 127.0.0.1:80, " TO_APP " }\n"
                   "- { name: a, bind: 127.0.0.1:81, " TO_APP " }\n"),
         "5:11: listeners[1].name: 'a' is the name of the listener of line 4 already; write another\n"},
        {LISTENERS("- { name: a, bind: 127.0.0.1:80, routes: [ pool: ap ] }\n"),
         "4:50: listeners[0].routes[0].pool: there is no pool 'ap'; write the name of one of 'pools'\n"},
        {"name: test\n" PARSE_LISTENERS "pools:\n- { name: app, servers: [ 127.0.0.1:1 ] }\n"
         "- { name: app, servers: [ 127.0.0.1:1 ] }\n",
         "5:11: pools[1].name: 'app' is the name of the pool of line 4 already; write another\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

/* Two addresses of one listener: the second is refused for the first. */
Test(config_rules, binds_that_collide)
{
    static const char *const pairs[][2] = {
        {"127.0.0.1:80", "127.0.0.1:80"}, {"0.0.0.0:80", "127.0.0.1:80"}, {"127.0.0.1:80", "0.0.0.0:80"},
        {"[::]:80", "[::1]:80"},          {"[::1]:80", "[::]:80"},        {"[::]:80", "[::]:80"},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char text[512], expected[256];

        snprintf(text, sizeof(text),
                 LISTENERS("- name: a\n  " TO_APP "\n  bind:\n    - \"%s\"\n    - \"%s\"\n"), pairs[i][0],
                 pairs[i][1]);
        snprintf(expected, sizeof(expected),
                 "8:7: listeners[0].bind: %s is taken by %s in line 7; choose another port or address\n",
                 pairs[i][1], pairs[i][0]);
        parse_refuse_all(&(struct parse_case){text, expected}, 1);
    }
}

Test(config_rules, addresses)
{
    static const struct parse_case cases[] = {
        {LISTENERS("- { name: a, bind: unix:/run/a, " TO_APP " }\n"
                   "- { name: b, bind: [ unix:/run/b, unix:/run/a ], " TO_APP " }\n"),
         "5:35: listeners[1].bind: unix:/run/a is taken by unix:/run/a in line 4; choose another path\n"},
        {LISTENERS("- { name: a, bind: 224.0.0.1:80, " TO_APP " }\n"),
         "4:20: listeners[0].bind: 224.0.0.1:80 cannot be bound for TCP; write an address of this machine\n"},
        {LISTENERS("- { name: a, bind: \"[ff02::1]:80\", " TO_APP " }\n"),
         "4:20: listeners[0].bind: [ff02::1]:80 cannot be bound for TCP; write an address of this machine\n"},
        {LISTENERS("- { name: a, bind: 127.0.0.1:9001, " TO_APP " }\n"),
         "2:34: pools[0].servers[0]: 127.0.0.1:9001 leads back to the listener of line 4, which uses this pool; write "
         "the address of a server\n"},
        {LISTENERS("- { name: a, bind: 0.0.0.0:9001, " TO_APP " }\n"),
         "2:34: pools[0].servers[0]: 127.0.0.1:9001 leads back to the listener of line 4, which uses this pool; write "
         "the address of a server\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

#define POOL(servers) "name: test\n" PARSE_LISTENERS "pools:\n- name: app\n  servers:\n" servers

Test(config_rules, servers)
{
    static const struct parse_case cases[] = {
        {POOL("  - 10.0.0.1:80\n  - 10.0.0.2:80\n  - { weight: 2, address: 10.0.0.1:80 }\n"),
         "8:27: pools[0].servers[2]: 10.0.0.1:80 is the server of line 6 already; write another address\n"},
        {POOL("  - unix:/a\n  - unix:/a\n"),
         "7:5: pools[0].servers[1]: unix:/a is the server of line 6 already; write another address\n"},
        {POOL("  - { address: 10.0.0.1:80, backup: true }\n"),
         "6:3: pools[0].servers: all servers are backups; leave 'backup' out for at least one\n"},
        {POOL("  - 0.0.0.0:80\n  - \"[::]:80\"\n  - 255.255.255.255:80\n"),
         "6:5: pools[0].servers[0]: 0.0.0.0:80 is not the address of a server; write the one it listens on\n"
         "7:5: pools[0].servers[1]: [::]:80 is not the address of a server; write the one it listens on\n"
         "8:5: pools[0].servers[2]: 255.255.255.255:80 is not the address of a server; write the one it listens "
         "on\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

/* Writes `count` rows of `format`, which has one %u, behind `head`, and `tail` behind them. */
__attribute__((format(printf, 2, 0))) static char *rows_make(const char *head, const char *format,
                                                             unsigned count, const char *tail)
{
    size_t capacity = strlen(head) + strlen(tail) + count * (strlen(format) + 10) + 1;
    char *text = malloc(capacity);
    size_t length = (size_t)snprintf(text, capacity, "%s", head);

    for (unsigned i = 1; i <= count; i++)
        length += (size_t)snprintf(text + length, capacity - length, format, i);
    snprintf(text + length, capacity - length, "%s", tail);
    return text;
}

Test(config_rules, too_many)
{
    static const struct {
        const char *head, *row;
        unsigned count;
        const char *tail, *report;
    } cases[] = {
        {"name: t\n" PARSE_POOLS "listeners:\n",
         "- { name: l%1$u, bind: 127.0.0.1:%1$u, routes: [ pool: app ] }\n", IMAGE_LISTENERS_MAX + 2, "",
         "68:3: listeners[64]: too many listeners; at most 64 are possible\n"},
        {"name: t\n" PARSE_POOLS "listeners:\n- name: l\n  routes: [ pool: app ]\n  bind:\n",
         "  - 127.0.0.1:%u\n", IMAGE_BINDS_MAX + 2, "",
         "135:5: listeners[0].bind[128]: too many addresses; at most 128 are possible\n"},
        {"name: t\n" PARSE_POOLS "listeners:\n- name: l\n  routes: [ pool: app ]\n  bind:\n",
         "  - 127.0.0.1:%u\n", IMAGE_BINDS_MAX, "- { name: m, bind: 127.0.0.2:1, routes: [ pool: app ] }\n",
         "135:20: listeners[1].bind: too many addresses to bind; at most 128 are possible in all\n"},
        {"name: t\n" PARSE_LISTENERS "pools:\n- { name: app, servers: [ 10.0.0.1:1 ] }\n",
         "- { name: p%u, servers: [ 10.0.0.1:1 ] }\n", IMAGE_POOLS_MAX, "",
         "260:3: pools[256]: too many pools; at most 256 are possible\n"},
        {"name: t\n" PARSE_LISTENERS "pools:\n- name: app\n  servers:\n", "  - 10.0.0.1:%u\n",
         IMAGE_SERVERS_MAX, "- { name: p, servers: [ 10.0.0.1:1 ] }\n",
         "1030:25: pools[1].servers[0]: too many servers; at most 1024 are possible in all\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = rows_make(cases[i].head, cases[i].row, cases[i].count, cases[i].tail);

        parse_refuse_all(&(struct parse_case){text, cases[i].report}, 1);
        free(text);
    }
}

Test(config_rules, keys_of_tcp_without_effect)
{
    static const struct parse_case cases[] = {
        {LISTENERS("- { name: a, bind: [ unix:/run/a, unix:/run/b ], congestion: reno, " TO_APP " }\n"),
         "4:62: listeners[0].congestion: unix sockets have none, and this listener binds nothing else; leave it "
         "out\n"},
        {"name: test\n" PARSE_LISTENERS
         "pools:\n- { name: app, servers: [ unix:/run/s ], congestion: reno }\n",
         "4:54: pools[0].congestion: unix sockets have none, and this pool has no other servers; leave it out\n"},
        {LISTENERS("- { name: a, bind: unix:/run/a, send_buffer: 64KiB, " TO_APP " }\n"),
         "4:46: listeners[0].send_buffer: unix sockets have none, and this listener binds nothing else; leave it "
         "out\n"},
        {"name: test\n" PARSE_LISTENERS
         "pools:\n- { name: app, servers: [ unix:/run/s ], receive_buffer: 64KiB }\n",
         "4:58: pools[0].receive_buffer: unix sockets have none, and this pool has no other servers; leave it "
         "out\n"},
        {LISTENERS("- { name: a, bind: unix:/run/a, zero_copy: true, " TO_APP " }\n"),
         "4:44: listeners[0].zero_copy: unix sockets have none, and this listener binds nothing else; leave it "
         "out\n"},
        {"name: test\n" PARSE_LISTENERS
         "pools:\n- { name: app, servers: [ unix:/run/s ], zero_copy: true }\n",
         "4:53: pools[0].zero_copy: unix sockets have none, and this pool has no other servers; leave it out\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_rules, exporter)
{
    static const struct parse_case cases[] = {
        {PARSE_REST "exporter: { listen: unix:/run/x }\n",
         "4:21: exporter.listen: unix:/run/x cannot be bound for TCP; write an address of this machine\n"},
        {PARSE_REST "exporter: { listen: 224.0.0.1:80 }\n",
         "4:21: exporter.listen: 224.0.0.1:80 cannot be bound for TCP; write an address of this machine\n"},
        {PARSE_REST "exporter: { listen: 0.0.0.0:80 }\n",
         "4:21: exporter.listen: 0.0.0.0:80 is taken by the listener of line 2; choose another port\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_rules, flows_for_the_sessions)
{
    static const struct parse_case cases[] = {
        {PARSE_REST "limits: { flows: 15999 }\n",
         "4:18: limits.flows: 15999 are not enough for 8000 sessions of two connections each; write at least 26666, "
         "or leave it out\n"},
        {PARSE_REST "limits: { sessions: 100, flows: 1 }\n",
         "4:33: limits.flows: 1 are not enough for 100 sessions of two connections each; write at least 333, or "
         "leave it out\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_rules, time_wait_of_the_kernel)
{
    static const struct parse_case cases[] = {
        {PARSE_REST "time_wait: { mode: kernel, two_msl: 30s }\n",
         "4:37: time_wait.two_msl: is always 60s where mode is kernel; leave it out\n"},
        {PARSE_REST
         "time_wait:\n  interfaces: [ lo ]\n  cgroup: /a\n  tcp_max_tw_buckets: 0\n  mode: kernel\n",
         "5:15: time_wait.interfaces: has no effect where mode is kernel; leave it out\n"
         "6:11: time_wait.cgroup: has no effect where mode is kernel; leave it out\n"
         "7:23: time_wait.tcp_max_tw_buckets: has no effect where mode is kernel; leave it out\n"},
    };

    PARSE_REFUSE_ALL(cases);
}
