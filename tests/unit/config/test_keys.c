/* Mistakes in keys and values, each with its exact place. */
#include "tests/unit/config/parse.h"

TestSuite(config_keys);

Test(config_keys, unknown_and_unsupported)
{
    static const struct parse_case cases[] = {
        {PARSE_REST "wokers: 1\n", "4:1: unknown key 'wokers'; did you mean 'workers'?\n"},
        {PARSE_REST "Workers: 1\n", "4:1: unknown key 'Workers'; did you mean 'workers'?\n"},
        {PARSE_REST "exportr: 1\n", "4:1: unknown key 'exportr'; did you mean 'exporter'?\n"},
        {PARSE_REST "zzz: 1\n",
         "4:1: unknown key 'zzz'; possible here: name, workers, user, spin, watchdog, limits, log, timeouts, "
         "listeners, pools, exporter, time_wait\n"},
        {PARSE_REST "\"\": 1\n",
         "4:1: unknown key ''; possible here: name, workers, user, spin, watchdog, limits, log, timeouts, "
         "listeners, pools, exporter, time_wait\n"},
        {PARSE_REST "exporter: { listen: 9464 }\n",
         "4:21: exporter.listen: '9464' needs an IP address before the port, as in 192.0.2.1:80\n"},
        {PARSE_REST "exporter: { listn: 127.0.0.1:1 }\n",
         "4:13: exporter: unknown key 'listn'; did you mean 'listen'?\n"},
        {PARSE_REST "sessions: 5\n", "4:1: key 'sessions' is not possible here; it belongs to 'limits'\n"},
        {PARSE_REST "limits: { session: 5 }\n",
         "4:11: limits: unknown key 'session'; did you mean 'sessions'?\n"},
        {PARSE_REST "user: a\nworkers: 1\nuser: b\n",
         "6:1: duplicate key 'user'; it is given in line 4 already\n"},
        {PARSE_REST "limits: { backlog: 1, backlog: 1 }\n",
         "4:23: limits: duplicate key 'backlog'; it is given in line 4 already\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_keys, missing)
{
    static const struct parse_case cases[] = {
        {"workers: 1\n", "1:1: key 'name' is missing; add for example 'name: edge'\n"
                         "1:1: key 'listeners' is missing; add for example 'listeners: [ ... ]'\n"
                         "1:1: key 'pools' is missing; add for example 'pools: [ ... ]'\n"},
        {"name: test\n" PARSE_POOLS "listeners:\n  - {}\n",
         "4:5: listeners[0]: key 'name' is missing; add for example 'name: web'\n"
         "4:5: listeners[0]: key 'bind' is missing; add for example 'bind: 0.0.0.0:8080'\n"
         "4:5: listeners[0]: key 'routes' is missing; add for example 'routes: [ { pool: app } ]'\n"},
        {"name: test\n" PARSE_POOLS "listeners: [ { name: web, bind: 127.0.0.1:80, routes: [ {} ] } ]\n",
         "3:57: listeners[0].routes[0]: key 'pool' is missing; add for example 'pool: app'\n"},
        {"name: test\n" PARSE_LISTENERS "pools: [ { name: app } ]\n",
         "3:10: pools[0]: key 'servers' is missing; add for example 'servers: [ 127.0.0.1:9001 ]'\n"},
        {"name: test\n" PARSE_LISTENERS "pools: [ { name: app, servers: [ { weight: 2 } ] } ]\n",
         "3:34: pools[0].servers[0]: key 'address' is missing; add for example 'address: 127.0.0.1:9001'\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_keys, wrong_types)
{
    static const struct parse_case cases[] = {
        {"- a\n", "1:1: a mapping of keys is needed here; write for example 'name: ...'\n"},
        {"edge\n", "1:1: a mapping of keys is needed here; write for example 'name: ...'\n"},
        {PARSE_REST "limits: 5\n",
         "4:9: limits: a mapping of keys is needed here; write for example 'sessions: ...'\n"},
        {PARSE_REST "limits:\n",
         "4:8: limits: a mapping of keys is needed here; write for example 'sessions: ...'\n"},
        {PARSE_REST "user: [a]\n", "4:7: user: a list is not possible here; write a name, as in web\n"},
        {PARSE_REST "user: {a: b}\n", "4:7: user: a mapping is not possible here; write a name, as in web\n"},
        {PARSE_REST "user:\n", "4:6: user: has no value; write a name, as in web\n"},
        {PARSE_REST "user: ~\n", "4:7: user: has no value; write a name, as in web\n"},
        {PARSE_REST "user: null\n", "4:7: user: has no value; write a name, as in web\n"},
        {PARSE_REST "workers: []\n",
         "4:10: workers: a list is not possible here; write auto or a whole number\n"},
        {PARSE_REST "workers: \"2\"\n",
         "4:10: workers: a text in quotes is not possible here; write a whole number "
         "without quotes\n"},
        {"name: test\n" PARSE_POOLS "listeners: { name: web }\n",
         "3:12: listeners: a list of listeners is needed here; begin each with '- '\n"},
        {"name: test\n" PARSE_POOLS "listeners: []\n",
         "3:12: listeners: the list of listeners is empty; write at least one\n"},
        {"name: test\n" PARSE_POOLS "listeners: [ web ]\n",
         "3:14: listeners[0]: a mapping of keys is needed here; write for example 'name: ...'\n"},
        {"name: test\n" PARSE_LISTENERS "pools: [ { name: app, servers: 127.0.0.1:9001 } ]\n",
         "3:32: pools[0].servers: a list of servers is needed here; begin each with '- '\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_keys, top_level_values)
{
    static const struct parse_case cases[] = {
        {"name: a/b\n" PARSE_LISTENERS PARSE_POOLS,
         "1:7: name: 'a/b' is not a name; write letters, digits and any of '_.-' only\n"},
        {"name: a2345678901234567890123456789012345678901234567x\n" PARSE_LISTENERS PARSE_POOLS,
         "1:7: name: 'a2345678901234567890123456789012345678901234567x' is too long; a name has at most 47 "
         "characters\n"},
        {PARSE_REST "workers: 0\n", "4:10: workers: 0 is out of range; write a whole number from 1 to 128\n"},
        {PARSE_REST "workers: 129\n",
         "4:10: workers: 129 is out of range; write a whole number from 1 to 128\n"},
        {PARSE_REST "workers: Auto\n",
         "4:10: workers: 'Auto' is not a whole number; write one from 1 to 128\n"},
        {PARSE_REST "limits:\n  sessions: 10k\n  buffers: 256\n  backlog: 0\n",
         "5:13: limits.sessions: '10k' is not a whole number; write one from 1 to 10000000\n"
         "6:12: limits.buffers: '256' has no unit; write it with KiB, MiB or GiB, as in 256MiB\n"
         "7:12: limits.backlog: 0 is out of range; write a whole number from 1 to 65535\n"},
        {PARSE_REST "limits: { flows: 0 }\n",
         "4:18: limits.flows: 0 is out of range; write a whole number from 1 to 1000000000\n"},
        {PARSE_REST "limits: { buffers: 1023KiB }\n",
         "4:20: limits.buffers: 1023KiB is out of range; write a size from 1MiB to 1024GiB\n"},
        {PARSE_REST "log: { level: loud, format: xml, access: a.log }\n",
         "4:15: log.level: 'loud' is not known; write error, warning, info or debug\n"
         "4:29: log.format: 'xml' is not known; write text or json\n"
         "4:42: log.access: 'a.log' is not an absolute path; write for example /var/log/penstock/access.log, or "
         "off, stderr or syslog\n"},
        {PARSE_REST "log: { access: 'syslog:', format: [ json ] }\n",
         "4:16: log.access: 'syslog:' names no socket; write syslog, or syslog: and the absolute path of a socket of "
         "at most 107 bytes, as in syslog:/dev/log\n"
         "4:35: log.format: a list is not possible here; write one word\n"},
        {PARSE_REST "log:\n  access: syslog:10.0.0.1:514\n",
         "5:11: log.access: 'syslog:10.0.0.1:514' names no socket; write syslog, or syslog: and the absolute path of "
         "a socket of at most 107 bytes, as in syslog:/dev/log\n"},
        {PARSE_REST "log: { access: Syslog }\n",
         "4:16: log.access: 'Syslog' is not an absolute path; write for example /var/log/penstock/access.log, or "
         "off, stderr or syslog\n"},
        {PARSE_REST "log:\n  access:\n  format: ''\n",
         "5:10: log.access: has no value; write off, stderr, syslog or a path\n"
         "6:11: log.format: '' is not known; write text or json\n"},
        {PARSE_REST "timeouts: { connect: 5, idle: 1h30m, half_closed: 50d }\n",
         "4:22: timeouts.connect: '5' has no unit; write it with ms, s, m, h or d, as in 5s\n"
         "4:31: timeouts.idle: '1h30m' is not a duration; write one whole number and one unit of ms, s, m, h or d, "
         "as in 90s\n"
         "4:51: timeouts.half_closed: 50d is too long; write at most 49d, or off for no limit\n"},
        {PARSE_REST "spin: 2ms\n", "4:7: spin: 2ms is too long; write at most 1ms, or off\n"},
        {PARSE_REST "watchdog: 1999ms\n",
         "4:11: watchdog: 1999ms is too short; write at least 2000ms, or off\n"},
        {PARSE_REST "spin: [ 1us ]\n",
         "4:7: spin: a list is not possible here; write a duration, as in 100us, or off\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

#define LISTENER(keys) "name: test\n" PARSE_POOLS "listeners:\n- name: web\n" keys
#define BIND           "  bind: 127.0.0.1:80\n"
#define ROUTES         "  routes: [ { pool: app } ]\n"

Test(config_keys, listeners)
{
    static const struct parse_case cases[] = {
        {LISTENER(ROUTES "  bind: app:80\n"),
         "6:9: listeners[0].bind: 'app:80' needs an IP address; names are not "
         "supported by this version\n"},
        {LISTENER(ROUTES "  bind:\n  - 127.0.0.1:0\n  - 127.0.0.1\n"),
         "7:5: listeners[0].bind[0]: '127.0.0.1:0' has port 0; ports go from 1 to 65535\n"
         "8:5: listeners[0].bind[1]: '127.0.0.1' needs an address and a port, as in 192.0.2.1:80, "
         "[2001:db8::1]:80 or unix:/run/x.sock\n"},
        {LISTENER(ROUTES "  bind: []\n"),
         "6:9: listeners[0].bind: the list of addresses is empty; write at least one\n"},
        {LISTENER(BIND "  routes: []\n"),
         "6:11: listeners[0].routes: the list of routes is empty; write at least one\n"},
        {LISTENER(BIND "  routes: [ { pool: app }, { pool: app } ]\n"),
         "6:28: listeners[0].routes: more than one route is not supported by this version; write just '- pool: "
         "NAME'\n"},
        {LISTENER(BIND "  routes: [ { sni: x, pool: app } ]\n"),
         "6:15: listeners[0].routes[0]: key 'sni' is not supported by this version\n"},
        {LISTENER(BIND ROUTES "  timeouts: { connect: 1s }\n"),
         "7:15: listeners[0].timeouts: key 'connect' is not possible here; it belongs to the timeouts of a pool or "
         "of the top level\n"},
        {LISTENER(BIND ROUTES "  timeouts: { drain: 1s }\n"),
         "7:15: listeners[0].timeouts: key 'drain' is not possible here; it belongs to the timeouts of the top "
         "level\n"},
        {LISTENER(BIND ROUTES "  congestion: Reno\n"),
         "7:15: listeners[0].congestion: 'Reno' is not a congestion control; write small letters, digits, '_' and "
         "'-', as in cubic\n"},
        {LISTENER(BIND ROUTES "  receive_buffer: 1KiB\n"),
         "7:19: listeners[0].receive_buffer: 1KiB is out of range; write a size from 4KiB to 1GiB\n"},
        {LISTENER(BIND ROUTES "  congestion:\n"),
         "7:14: listeners[0].congestion: has no value; write a congestion control, as in cubic\n"},
        {LISTENER(BIND ROUTES "  pool: app\n"),
         "7:3: listeners[0]: key 'pool' is not possible here; write 'routes: [ "
         "{ pool: NAME } ]'\n"},
        {LISTENER(BIND ROUTES "  accept_proxy: off\n  allow: []\n  max_sessions: 1\n  rate: {}\n"),
         "7:3: listeners[0]: key 'accept_proxy' is not supported by this version\n"
         "8:3: listeners[0]: key 'allow' is not supported by this version\n"
         "9:3: listeners[0]: key 'max_sessions' is not supported by this version\n"
         "10:3: listeners[0]: key 'rate' is not supported by this version\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

#define POOL(keys) "name: test\n" PARSE_LISTENERS "pools:\n- name: app\n" keys
#define SERVERS    "  servers: [ 127.0.0.1:9001 ]\n"

Test(config_keys, pools)
{
    static const struct parse_case cases[] = {
        {POOL(SERVERS "  balance: maglev\n"),
         "6:12: pools[0].balance: 'maglev' is not supported by this version; write round_robin or least_sessions\n"},
        {POOL(SERVERS "  balance: rr\n"),
         "6:12: pools[0].balance: 'rr' is not known; write round_robin or least_sessions\n"},
        {POOL(SERVERS "  retries: 8\n"),
         "6:12: pools[0].retries: 8 is out of range; write a whole number from 0 to 7\n"},
        {POOL(SERVERS "  congestion: a234567890123456\n"),
         "6:15: pools[0].congestion: 'a234567890123456' is too long; a congestion control has at most 15 "
         "characters\n"},
        {POOL(SERVERS "  helth: {}\n"), "6:3: pools[0]: unknown key 'helth'; did you mean 'health'?\n"},
        {POOL(SERVERS "  health: {}\n"), "6:3: pools[0]: key 'health' is not supported by this version\n"},
        {POOL(SERVERS "  timeouts: { drain: 1s }\n"),
         "6:15: pools[0].timeouts: key 'drain' is not possible here; it belongs to the timeouts of the top level\n"},
        {POOL("  servers: []\n"),
         "5:12: pools[0].servers: the list of servers is empty; write at least one\n"},
        {POOL("  servers: [ app:1 ]\n"),
         "5:14: pools[0].servers[0]: 'app:1' needs an IP address; names are not "
         "supported by this version\n"},
        {POOL("  servers:\n  - address: 127.0.0.1:99999\n    weight: 0\n    backup: yes\n    resolve: 1s\n"),
         "6:14: pools[0].servers[0].address: '127.0.0.1:99999' has a port beyond 65535; ports go from 1 to 65535\n"
         "7:13: pools[0].servers[0].weight: 0 is out of range; write a whole number from 1 to 256\n"
         "8:13: pools[0].servers[0].backup: 'yes' is neither true nor false; write one of them\n"
         "9:5: pools[0].servers[0]: key 'resolve' is not supported by this version\n"},
        {POOL("  servers: [ [] ]\n"),
         "5:14: pools[0].servers[0]: a mapping of keys is needed here; write for example "
         "'address: ...'\n"},
    };

    PARSE_REFUSE_ALL(cases);
}

Test(config_keys, time_wait)
{
    static const struct parse_case cases[] = {
        {PARSE_REST "time_wait: auto\n",
         "4:12: time_wait: a mapping of keys is needed here; write for example 'mode: ...'\n"},
        {PARSE_REST "time_wait: { mode: ours, twomsl: 1s }\n",
         "4:20: time_wait.mode: 'ours' is not known; write auto, owned or kernel\n"
         "4:26: time_wait: unknown key 'twomsl'; did you mean 'two_msl'?\n"},
        {PARSE_REST "time_wait:\n  two_msl: 999ms\n  interfaces: eth0\n  cgroup: penstock\n",
         "5:12: time_wait.two_msl: 999ms is out of range; write a duration from 1s to 600s\n"
         "6:15: time_wait.interfaces: write auto or a list of interfaces, as in [ eth0, lo ]\n"
         "7:11: time_wait.cgroup: 'penstock' is not an absolute path; write for example "
         "/sys/fs/cgroup/penstock\n"},
        {PARSE_REST "time_wait: { two_msl: off, cgroup: [ /a ], interfaces: {} }\n",
         "4:23: time_wait.two_msl: off is out of range; write a duration from 1s to 600s\n"
         "4:36: time_wait.cgroup: a list is not possible here; write auto or the path of a cgroup\n"
         "4:56: time_wait.interfaces: a mapping is not possible here; write auto or a list of interfaces\n"},
        {PARSE_REST "time_wait: { two_msl: 601s, tcp_max_tw_buckets: 1 }\n",
         "4:23: time_wait.two_msl: 601s is out of range; write a duration from 1s to 600s\n"
         "4:49: time_wait.tcp_max_tw_buckets: '1' is not possible; write 0, or leave it out\n"},
        {PARSE_REST "time_wait: { tcp_max_tw_buckets: [], cgroup: / }\n",
         "4:34: time_wait.tcp_max_tw_buckets: a list is not possible here; write 0\n"
         "4:46: time_wait.cgroup: '/' ends with '/'; leave that out, as in /sys/fs/cgroup/penstock\n"},
        {PARSE_REST
         "time_wait:\n  interfaces: [ lo, a/b, lo, 'a b', a23456789012345, a234567890123456, [] ]\n",
         "5:21: time_wait.interfaces[1]: 'a/b' is not an interface; write its name without '/', ':' and blanks, as "
         "in eth0\n"
         "5:26: time_wait.interfaces[2]: 'lo' is given already; write it once\n"
         "5:30: time_wait.interfaces[3]: 'a b' is not an interface; write its name without '/', ':' and blanks, as "
         "in eth0\n"
         "5:54: time_wait.interfaces[5]: 'a234567890123456' is too long; an interface has at most 15 bytes\n"
         "5:72: time_wait.interfaces[6]: a list is not possible here; write the name of an interface, as in eth0\n"},
        {PARSE_REST "time_wait: { interfaces: [] }\n",
         "4:26: time_wait.interfaces: the list of interfaces is empty; write at least one\n"},
        {PARSE_REST "time_wait: { interfaces: [ a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q ] }\n",
         "4:76: time_wait.interfaces[16]: too many interfaces; at most 16 are possible\n"},
    };

    PARSE_REFUSE_ALL(cases);
}
