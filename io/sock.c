#include "io/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/socket.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* not <netinet/tcp.h>, whose tcp_info ends too early */
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/kernel.h"

/* Bytes accepted by the kernel and not yet sent: more would only fill kernel memory behind a slow reader. */
enum { UNSENT_MAX = 64 * 1024 };

enum { TCP_CLOSE = 7 }; /* of the kernel's states; only <netinet/tcp.h> has them */

socklen_t sock_address(const struct endpoint *endpoint, struct sockaddr_storage *address)
{
    memset(address, 0, sizeof(*address));
    if (endpoint->family == ENDPOINT_V4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint->port);
        memcpy(&v4->sin_addr, endpoint->bytes, 4);
        return sizeof(*v4);
    }
    if (endpoint->family == ENDPOINT_V6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(endpoint->port);
        memcpy(&v6->sin6_addr, endpoint->bytes, 16);
        return sizeof(*v6);
    }
    struct sockaddr_un *local = (struct sockaddr_un *)address;
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, endpoint->bytes, sizeof(local->sun_path));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(local->sun_path) + 1);
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

/* Small messages go at once; urgent data stays in the stream (a single urgent byte otherwise blocks readers); unsent
 * data is bounded. */
static void set_stream_options(int fd)
{
    (void)set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    (void)set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX);
}

static int domain_of(const struct endpoint *endpoint)
{
    switch (endpoint->family) {
    case ENDPOINT_V4:
        return AF_INET;
    case ENDPOINT_V6:
        return AF_INET6;
    default:
        return AF_UNIX;
    }
}

/* Removes the socket file of a listener that is gone. A live one answers a connect. */
static int remove_stale_path(const struct endpoint *endpoint)
{
    struct sockaddr_storage address;
    struct stat stat;
    const char *path = (const char *)endpoint->bytes;

    if (lstat(path, &stat) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(stat.st_mode)) {
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    socklen_t length = sock_address(endpoint, &address);
    bool dead = connect(fd, (struct sockaddr *)&address, length) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (!dead) { /* somebody listens, or it is a socket of another kind */
        return -EADDRINUSE;
    }
    return unlink(path) == 0 ? 0 : -errno;
}

int sock_bind(const struct endpoint *endpoint)
{
    struct sockaddr_storage address;
    socklen_t length = sock_address(endpoint, &address);
    bool local = endpoint->family == ENDPOINT_UNIX;
    int result = local ? remove_stale_path(endpoint) : 0;

    if (result < 0) {
        return result;
    }
    /* A unix listener is polled and then accepted from without waiting, in every worker. */
    int fd = socket(domain_of(endpoint), SOCK_STREAM | SOCK_CLOEXEC | (local ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) {
        return -errno;
    }
    if (!local) {
        (void)set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        result = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        set_stream_options(fd);
    }
    if (endpoint->family == ENDPOINT_V6) {
        (void)set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (result == 0 && bind(fd, (struct sockaddr *)&address, length) != 0) {
        result = -errno;
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

bool sock_listens_at(int fd, const struct endpoint *endpoint)
{
    struct sockaddr_storage wanted;
    struct sockaddr_storage is = {0};
    socklen_t wanted_length = sock_address(endpoint, &wanted);
    socklen_t length = sizeof(is);
    int listens = 0;
    socklen_t size = sizeof(listens);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0 &&
           getsockname(fd, (struct sockaddr *)&is, &length) == 0 && memcmp(&wanted, &is, wanted_length) == 0;
}

int sock_probe(const struct endpoint *endpoint)
{
    struct sockaddr_storage address;
    socklen_t length = sock_address(endpoint, &address);

    if (endpoint->family == ENDPOINT_UNIX) {
        return 0; /* sock_bind() finds out */
    }
    int fd = socket(domain_of(endpoint), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* Without SO_REUSEPORT a bind fails where another program listens, even one that would share the port. */
    (void)set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (endpoint->family == ENDPOINT_V6) {
        (void)set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    int result = bind(fd, (struct sockaddr *)&address, length) == 0 ? 0 : -errno;
    close(fd);
    return result;
}

int sock_open(const struct endpoint *to)
{
    /* Blocking: the ring waits, a non-blocking one would fail. */
    int fd = socket(domain_of(to), SOCK_STREAM, 0);

    if (fd < 0) {
        return -errno;
    }
    if (to->family != ENDPOINT_UNIX) {
        set_stream_options(fd);
    }
    return fd;
}

int sock_port_window(int fd, uint16_t low, uint16_t high)
{
    uint32_t range = (uint32_t)high << 16 | low;

    return setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)) == 0 ? 0 : -errno;
}

int sock_bind_source(int fd, uint8_t family, const uint8_t address[16], uint16_t port)
{
    struct endpoint source = {.family = family, .port = port};
    struct sockaddr_storage storage;

    memcpy(source.bytes, address + (family == ENDPOINT_V4 ? 12 : 0), family == ENDPOINT_V4 ? 4 : 16);
    socklen_t length = sock_address(&source, &storage);
    int result =
        port == 0 ? set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) : set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0 && bind(fd, (struct sockaddr *)&storage, length) != 0) {
        result = -errno;
    }
    return result;
}

int sock_probe_source(const struct image_address *address)
{
    uint8_t mapped[16] = {0};

    memcpy(mapped + (address->family == ENDPOINT_V4 ? 12 : 0), address->bytes,
           address->family == ENDPOINT_V4 ? 4 : 16);
    int fd = socket(address->family == ENDPOINT_V4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int result = sock_bind_source(fd, address->family, mapped, 0);
    close(fd);
    return result;
}

/* What a new socket has. */
static int default_option(int level, int option, void *value, socklen_t *length)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    int result = getsockopt(fd, level, option, value, length) == 0 ? 0 : -errno;
    close(fd);
    return result;
}

int sock_set_congestion(int fd, const char *name)
{
    char inherited[IMAGE_CONGESTION_MAX] = "";
    socklen_t length = sizeof(inherited);

    if (name[0] == '\0') {
        int result = default_option(IPPROTO_TCP, TCP_CONGESTION, inherited, &length);
        if (result < 0) {
            return result;
        }
        name = inherited;
    }
    /* The kernel takes the name's length, not its NUL. */
    return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name,
                      (socklen_t)strnlen(name, IMAGE_CONGESTION_MAX)) == 0
               ? 0
               : -errno;
}

/* Sets one of the two, or where `bytes` is 0 what a new socket has, unless it is unset anyway. */
static int set_buffer(int fd, int option, uint32_t bytes, bool is_set, bool *sets)
{
    int value = (int)bytes;
    socklen_t length = sizeof(value);

    *sets = bytes > 0;
    if (bytes == 0 && !is_set) {
        return 0;
    }
    if (bytes == 0) {
        int result = default_option(SOL_SOCKET, option, &value, &length);
        if (result < 0) {
            return result;
        }
        value /= 2; /* it is told with what the kernel adds */
    }
    return setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int sock_set_buffers(int fd, const struct image_socket_buffers *buffers)
{
    int locks = 0;
    socklen_t length = sizeof(locks);
    bool receive = false;
    bool send = false;

    (void)getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &locks, &length);
    int result = set_buffer(fd, SO_RCVBUF, buffers->receive, (locks & SOCK_RCVBUF_LOCK) != 0, &receive);
    if (result == 0) {
        result = set_buffer(fd, SO_SNDBUF, buffers->send, (locks & SOCK_SNDBUF_LOCK) != 0, &send);
    }
    int wanted = (receive ? SOCK_RCVBUF_LOCK : 0) | (send ? SOCK_SNDBUF_LOCK : 0);
    if (result == 0 && wanted != locks) {
        result = setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &wanted, sizeof(wanted)) == 0 ? 0 : -errno;
    }
    return result;
}

uint64_t sock_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

/* Writes an address as 16 bytes, IPv4 as ::ffff:a.b.c.d. False where it is neither. */
static bool map_address(const struct sockaddr_storage *address, uint8_t bytes[16], uint16_t *port)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        memset(bytes, 0, 10);
        memset(bytes + 10, 0xff, 2);
        memcpy(bytes + 12, &v4->sin_addr, 4);
        *port = ntohs(v4->sin_port);
        return true;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        memcpy(bytes, &v6->sin6_addr, 16);
        *port = ntohs(v6->sin6_port);
        return true;
    }
    return false;
}

bool sock_flow_key(int fd, struct flow_key *key)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);

    if (getpeername(fd, (struct sockaddr *)&address, &length) != 0 ||
        !map_address(&address, key->remote, &key->remote_port)) {
        return false;
    }
    length = sizeof(address);
    return getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
           map_address(&address, key->local, &key->local_port);
}

void sock_shutdown(int fd)
{
    (void)shutdown(fd, SHUT_WR); /* fails only where the connection is gone, which a receive will tell */
}

void sock_set_nonblocking(int fd)
{
    (void)fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
}

bool sock_has_waiting(int fd)
{
    struct pollfd listener = {.fd = fd, .events = POLLIN};

    return poll(&listener, 1, 0) == 1 && (listener.revents & POLLIN) != 0;
}

/* False where it is no TCP socket. */
static bool look_at(int fd, struct tcp_info *info)
{
    socklen_t length = sizeof(*info);

    memset(info, 0, sizeof(*info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0;
}

/* False where it is no TCP socket, or TCP still has something to do with it. */
static bool is_closed(int fd, struct tcp_info *info)
{
    return look_at(fd, info) && info->tcpi_state == TCP_CLOSE;
}

/* The kernel counts a FIN as a byte received, and not as one to be read: tcp_rcv_nxt_update(), tcp_inq(). */
bool sock_was_reset(int fd, uint64_t received_bytes)
{
    struct tcp_info info;
    int unread = 0;

    return is_closed(fd, &info) && ioctl(fd, SIOCINQ, &unread) == 0 &&
           info.tcpi_bytes_received == received_bytes + (uint64_t)unread;
}

bool sock_is_closed(int fd)
{
    struct tcp_info info;

    return is_closed(fd, &info);
}

void sock_abort(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void sock_reset(int fd)
{
    struct sockaddr address = {.sa_family = AF_UNSPEC}; /* connect(2): dissolves the association */

    (void)connect(fd, &address, sizeof(address));
}

uint32_t sock_unacknowledged(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? (uint32_t)bytes : 0;
}

uint32_t sock_unheard_ms(int fd)
{
    struct tcp_info info;

    return look_at(fd, &info) && info.tcpi_unacked > 0 ? info.tcpi_last_ack_recv : UINT32_MAX;
}

bool sock_is_drained(int fd)
{
    struct tcp_info info;

    return sock_unacknowledged(fd) == 0 || is_closed(fd, &info); /* a closed one keeps its count */
}

void sock_close(int fd)
{
    (void)close(fd);
}

void sock_retire(int fd, int stand_in)
{
    (void)dup3(stand_in, fd, O_CLOEXEC);
}

void sock_close_range(uint32_t first, uint32_t last)
{
    (void)close_range(first, last, 0);
}

bool sock_source_toward(const struct endpoint *to, uint8_t address[16])
{
    struct sockaddr_storage storage;
    struct flow_key key;
    socklen_t length = sock_address(to, &storage);
    int fd = socket(domain_of(to), SOCK_DGRAM | SOCK_CLOEXEC, 0); /* sends nothing */
    bool known = fd >= 0 && connect(fd, (struct sockaddr *)&storage, length) == 0 && sock_flow_key(fd, &key);

    if (fd >= 0) {
        close(fd);
    }
    if (known) {
        memcpy(address, key.local, sizeof(key.local));
    }
    return known;
}

enum sock_binding sock_binding(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(address);
    uint8_t bytes[16];
    struct tcp_info info;
    uint16_t port = 0;

    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0 || !map_address(&address, bytes, &port) ||
        port == 0) {
        return SOCK_UNBOUND;
    }
    return is_closed(fd, &info) ? SOCK_BOUND : SOCK_UNDER_WAY;
}

void sock_replace(int fd, int by)
{
    (void)dup3(by, fd, 0);
    (void)close(by);
}

void sock_port_range(uint16_t *low, uint16_t *high)
{
    unsigned from = 32768;
    unsigned to = 60999; /* the kernel's defaults: ip(7) */
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (file != NULL) {
        unsigned a;
        unsigned b;
        if (fscanf(file, "%u %u", &a, &b) == 2 && a > 0 && a <= b && b <= 65535) {
            from = a;
            to = b;
        }
        fclose(file);
    }
    *low = (uint16_t)from;
    *high = (uint16_t)to;
}

/* "8080,9000-9100" */
static void read_reserved(FILE *file, uint8_t *reserved)
{
    unsigned from;
    unsigned to;

    while (fscanf(file, "%u", &from) == 1) {
        int next = fgetc(file);
        to = from;
        if (next == '-') {
            if (fscanf(file, "%u", &to) != 1) {
                return;
            }
            next = fgetc(file);
        }
        for (unsigned port = from; port <= to && port <= UINT16_MAX; port++) {
            reserved[port / 8] |= (uint8_t)(1u << port % 8);
        }
        if (next != ',') {
            return;
        }
    }
}

static bool has_windows(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && sock_port_window(fd, 1, 1) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return has;
}

void sock_read_ports(struct sock_ports *ports)
{
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_reserved_ports", "re");
    unsigned reuse = SOCK_REUSE_LOOPBACK; /* the kernel's default */

    memset(ports, 0, sizeof(*ports));
    sock_port_range(&ports->low, &ports->high);
    ports->windows = has_windows();
    if (file != NULL) {
        read_reserved(file, ports->reserved);
        fclose(file);
    }
    file = fopen("/proc/sys/net/ipv4/tcp_tw_reuse", "re");
    if (file != NULL) {
        if (fscanf(file, "%u", &reuse) != 1) {
            reuse = SOCK_REUSE_NONE;
        }
        fclose(file);
    }
    ports->reuse = reuse <= SOCK_REUSE_LOOPBACK ? (enum sock_reuse)reuse : SOCK_REUSE_NONE;
}
