#include "tests/e2e/harness_lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/e2e/harness.h"

enum {
    TCP_BYTES = 20,
    IPV4_BYTES = 20,
    IPV4_MORE_FRAGMENTS = 0x2000,
    IPV4_WHOLE = 0x4000,
    IPV6_BYTES = 40,
    ICMP_BYTES = 8,
    MSS = 1400,
    WINDOW = 64000,
    WINDOW_SCALE = 7,
    ICMP_ECHO = 8,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_OPTIONS = 60,
};

static struct {
    int server_ns;
    int peer_ns;
    int packets; /* AF_PACKET in the peer's namespace, or the end of a tun */
    bool bare;   /* no Ethernet header */
    int cgroup_root;
    int cgroup;
    char cgroup_name[64];
    char cgroup_home[PATH_BYTES]; /* where the test came from, under the root */
    int janitor;                  /* a pipe's end */
    uint8_t server_mac[6];
    uint8_t peer_mac[6];
} lab = {.janitor = -1};

void lab_ip(const char *arguments)
{
    char line[256];
    const char *argv[24] = {"/sbin/ip"};
    struct bed_process process;
    char *rest = NULL;
    int count = 1;

    snprintf(line, sizeof(line), "%s", arguments);
    for (const char *word = strtok_r(line, " ", &rest); word != NULL && count < 23;
         word = strtok_r(NULL, " ", &rest)) {
        argv[count++] = word;
    }
    cr_assert_eq(bed_run(argv, &process), 0, "ip %s: %s", arguments, bed_read_file(process.err));
}

static int new_namespace(void)
{
    cr_assert_eq(unshare(CLONE_NEWNET), 0, "unshare: %s", strerror(errno));
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0);
    return fd;
}

void lab_enter_server(void)
{
    cr_assert_eq(setns(lab.server_ns, CLONE_NEWNET), 0);
}

void lab_enter_peer(void)
{
    cr_assert_eq(setns(lab.peer_ns, CLONE_NEWNET), 0);
}

static void read_mac(const char *interface, uint8_t mac[6])
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    cr_assert_eq(ioctl(fd, SIOCGIFHWADDR, &request), 0);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    close(fd);
}

static int open_packets(void)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex("peer0"),
    };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

    cr_assert(fd >= 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void lab_give_to_peer(const char *interface)
{
    lab_ip(bed_format("link set %s netns /proc/%d/fd/%d", interface, getpid(), lab.peer_ns));
}

/* Adds it to an interface. The kernel takes packets to it when it has the route, some time later. */
static void add_ipv6(const char *address, const char *interface)
{
    char route[40];
    uint8_t bytes[16];
    size_t length = 0;

    cr_assert_eq(inet_pton(AF_INET6, address, bytes), 1);
    for (int i = 0; i < 16; i++) {
        length += (size_t)snprintf(route + length, sizeof(route) - length, "%02x", bytes[i]);
    }
    snprintf(route + length, sizeof(route) - length, " 80 ");
    lab_ip(bed_format("addr add %s/64 dev %s nodad", address, interface));
    WAIT_UNTIL(strstr(bed_read_file("/proc/net/ipv6_route"), route) != NULL);
}

static void set_up_server(void)
{
    lab_ip("link set " LAB_INTERFACE " up");
    lab_ip("addr add " LAB_SERVER "/16 dev " LAB_INTERFACE);
    add_ipv6(LAB_SERVER6, LAB_INTERFACE);
}

static void join_namespaces(void)
{
    const uint8_t *mac = lab.peer_mac;

    lab_ip("link add " LAB_INTERFACE " type veth peer name peer0");
    lab_give_to_peer("peer0");
    lab_ip("link set lo up");
    set_up_server();
    read_mac(LAB_INTERFACE, lab.server_mac);
    lab_enter_peer();
    lab_ip("link set lo up");
    lab_ip("link set peer0 up");
    lab_ip("addr add " LAB_KERNEL_PEER "/16 dev peer0");
    add_ipv6(LAB_KERNEL_PEER6, "peer0");
    read_mac("peer0", lab.peer_mac);
    lab.packets = open_packets();
    lab_enter_server();
    const char *text =
        bed_format("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    lab_ip(bed_format("neigh add " LAB_PEER " lladdr %s dev " LAB_INTERFACE, text));
    lab_ip(bed_format("neigh add " LAB_PEER6 " lladdr %s dev " LAB_INTERFACE, text));
}

int lab_open_tun(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
        cr_skip("no /dev/net/tun");
    }
    return fd;
}

void lab_add_tun(const char *name, int hardware)
{
    int fd = lab_open_tun(name);

    cr_assert_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
    cr_assert_eq(ioctl(fd, TUNSETLINK, hardware), 0, "%s", strerror(errno));
    close(fd);
    lab_ip(bed_format("link set %s up", name));
    lab_ip(bed_format("addr add 10.10.0.1/24 dev %s", name));
}

void lab_go_bare(void)
{
    close(lab.packets);
    lab_ip("link del " LAB_INTERFACE);
    lab.packets = lab_open_tun(LAB_INTERFACE);
    lab.bare = true;
    set_up_server();
}

/* Answers come in the order of the questions only if all are handled on one CPU. */
static void stay_on_one_cpu(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)sched_getcpu(), &set);
    cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

void lab_use_all_cpus(void)
{
    cpu_set_t set;

    memset(&set, 0xff, sizeof(set));
    cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

void lab_begin(void)
{
    bed_begin();
    if (unshare(CLONE_NEWNS) != 0) {
        cr_skip("needs the right to make namespaces");
    }
    cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    lab.cgroup_root = lab.cgroup = -1;
    lab.peer_ns = new_namespace();
    lab.server_ns = new_namespace();
    join_namespaces();
    stay_on_one_cpu();
}

void lab_fini(void)
{
    if (lab.janitor >= 0) {
        lab_enter_cgroup(false);
        close(lab.janitor);
        lab.janitor = -1;
    }
    bed_fini();
}

/* Ends who is left in it, whatever group and session that belongs to. */
static void end_cgroup(void)
{
    int fd = openat(lab.cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        (void)!write(fd, "1", 1);
        close(fd);
    }
}

/* Removes the cgroup when the test has gone, however it goes. */
static void start_janitor(void)
{
    int ends[2];
    char byte;

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        (void)setpgid(0, 0);
        close(ends[1]);
        while (read(ends[0], &byte, 1) > 0 || errno == EINTR) {
            errno = 0;
        }
        end_cgroup();
        for (int i = 0; i < 500 && unlinkat(lab.cgroup_root, lab.cgroup_name, AT_REMOVEDIR) != 0; i++) {
            bed_pause_ms(10);
        }
        _exit(0);
    }
    close(ends[0]);
    lab.janitor = ends[1];
}

static void find_cgroup_home(void)
{
    const char *line = strstr(bed_read_file("/proc/self/cgroup"), "0::/");

    cr_assert_not_null(line);
    snprintf(lab.cgroup_home, sizeof(lab.cgroup_home), ".%.*s/cgroup.procs", (int)strcspn(line + 3, "\n"),
             line + 3);
}

int lab_cgroup(void)
{
    const char *root = bed_path("cgroup");

    if (lab.cgroup >= 0) {
        return lab.cgroup;
    }
    find_cgroup_home();
    cr_assert_eq(mkdir(root, 0755), 0);
    cr_assert_eq(mount("none", root, "cgroup2", 0, NULL), 0, "cgroup2: %s", strerror(errno));
    lab.cgroup_root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(lab.cgroup_name, sizeof(lab.cgroup_name), "penstock-%s", bed.name);
    cr_assert_eq(mkdirat(lab.cgroup_root, lab.cgroup_name, 0755), 0, "%s", strerror(errno));
    lab.cgroup = openat(lab.cgroup_root, lab.cgroup_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(lab.cgroup >= 0);
    start_janitor();
    return lab.cgroup;
}

void lab_leave_janitor(void)
{
    if (lab.janitor >= 0) {
        close(lab.janitor);
    }
}

const char *lab_cgroup_path(void)
{
    (void)lab_cgroup();
    return bed_format("%s/%s", bed_path("cgroup"), lab.cgroup_name);
}

void lab_enter_cgroup(bool inside)
{
    int fd = inside ? openat(lab.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC)
                    : openat(lab.cgroup_root, lab.cgroup_home, O_WRONLY | O_CLOEXEC);

    cr_assert(fd >= 0, "%s: %s", lab.cgroup_home, strerror(errno));
    cr_assert_eq(write(fd, "0", 1), 1, "%s", strerror(errno));
    close(fd);
}

void lab_sysctl(const char *name, unsigned value)
{
    bed_write_file(bed_format("/proc/sys/%s", name), bed_format("%u", value));
}

unsigned lab_sysctl_now(const char *name)
{
    unsigned value;
    FILE *file = fopen(bed_format("/proc/sys/%s", name), "re");

    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%u", &value), 1);
    fclose(file);
    return value;
}

void lab_finish_checksums(void)
{
    struct ethtool_value value = {.cmd = ETHTOOL_STXCSUM};
    struct ifreq request = {.ifr_name = LAB_INTERFACE, .ifr_data = (char *)&value};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(ioctl(fd, SIOCETHTOOL, &request), 0, "%s", strerror(errno));
    close(fd);
}

int lab_listen(bool ipv6, int tos, uint16_t *port)
{
    int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int level = ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;

    cr_assert(fd >= 0);
    *port = bed_bind(fd, ipv6 ? LAB_SERVER6 : LAB_SERVER);
    cr_assert_eq(setsockopt(fd, level, ipv6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos)), 0);
    cr_assert_eq(listen(fd, 128), 0);
    return fd;
}

/* --- Packets --- */

const char *lab_address_of(const struct lab_peer *peer)
{
    return peer->address != NULL ? peer->address : (peer->ipv6 ? LAB_PEER6 : LAB_PEER);
}

const char *lab_server_of(const struct lab_peer *peer)
{
    return peer->server_address != NULL ? peer->server_address : (peer->ipv6 ? LAB_SERVER6 : LAB_SERVER);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static uint32_t sum16(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < length; i++) {
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    }
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

/* 0xffff where the checksum in it is right. */
static uint16_t tcp_sum(const uint8_t *addresses, size_t address_bytes, const uint8_t *tcp, size_t length)
{
    return fold(sum16(addresses, address_bytes) + PROTOCOL_TCP + (uint32_t)length + sum16(tcp, length));
}

struct lab_segment lab_segment(const struct lab_peer *peer, uint8_t flags, uint32_t length)
{
    return (struct lab_segment){
        .flags = flags,
        .seq = peer->snd_nxt,
        .ack = (flags & LAB_ACK) != 0 ? peer->rcv_nxt : 0,
        .length = length,
        .timestamps = peer->timestamps,
        .ts_value = peer->ts_value,
        .ts_echo = peer->ts_echo,
    };
}

static size_t build_tcp(const struct lab_peer *peer, const struct lab_segment *segment, uint8_t *tcp)
{
    uint8_t *option = tcp + TCP_BYTES;

    put16(tcp, peer->port);
    put16(tcp + 2, peer->server_port);
    put32(tcp + 4, segment->seq);
    put32(tcp + 8, segment->ack);
    tcp[13] = segment->flags;
    put16(tcp + 14, WINDOW);
    if ((segment->flags & LAB_SYN) != 0) {
        memcpy(option, (uint8_t[8]){2, 4, MSS >> 8, MSS & 255, 1, 3, 3, WINDOW_SCALE}, 8);
        option += 8;
    }
    if (segment->timestamps_cut) {
        memcpy(option, (uint8_t[12]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8, 10}, 12);
        option += 12;
    } else if (segment->timestamps) {
        memcpy(option, (uint8_t[4]){1, 1, 8, 10}, 4);
        put32(option + 4, segment->ts_value);
        put32(option + 8, segment->ts_echo);
        option += 12;
    }
    tcp[12] = (uint8_t)((option - tcp) / 4 << 4);
    memset(option, 'x', segment->length);
    return (size_t)(option - tcp) + segment->length;
}

/* The header, whose options are there. */
static void put_ipv4(const struct lab_peer *peer, uint8_t *ip, size_t header, size_t length, uint8_t protocol)
{
    ip[0] = (uint8_t)(0x40 | header / 4);
    put16(ip + 2, (uint32_t)(header + length));
    put16(ip + 6, IPV4_WHOLE);
    ip[8] = 64;
    ip[9] = protocol;
    cr_assert_eq(inet_pton(AF_INET, lab_address_of(peer), ip + 12), 1);
    cr_assert_eq(inet_pton(AF_INET, lab_server_of(peer), ip + 16), 1);
    put16(ip + 10, (uint16_t)~fold(sum16(ip, header)));
}

static size_t build_ipv4(const struct lab_peer *peer, const struct lab_segment *segment, uint8_t *ip)
{
    size_t header = IPV4_BYTES + segment->ip_options;
    size_t length = build_tcp(peer, segment, ip + header);

    memset(ip + IPV4_BYTES, 1, segment->ip_options);
    put_ipv4(peer, ip, header, length, PROTOCOL_TCP);
    if (segment->no_length) {
        put16(ip + 2, 0);
    }
    if (segment->more_fragments) {
        put16(ip + 6, IPV4_MORE_FRAGMENTS);
    }
    put16(ip + 10, 0);
    put16(ip + 10, (uint16_t)~fold(sum16(ip, header)));
    put16(ip + header + 16, (uint16_t)~tcp_sum(ip + 12, 8, ip + header, length));
    return header + length;
}

static size_t build_ipv6(const struct lab_peer *peer, const struct lab_segment *segment, uint8_t *ip)
{
    size_t header = IPV6_BYTES + segment->ip_options;
    size_t length = build_tcp(peer, segment, ip + header);

    ip[0] = 0x60;
    put16(ip + 4, segment->no_length ? 0 : (uint32_t)(segment->ip_options + length));
    ip[6] = segment->ip_options > 0 ? PROTOCOL_OPTIONS : PROTOCOL_TCP;
    ip[7] = 64;
    cr_assert_eq(inet_pton(AF_INET6, lab_address_of(peer), ip + 8), 1);
    cr_assert_eq(inet_pton(AF_INET6, lab_server_of(peer), ip + 24), 1);
    if (segment->ip_options > 0) {
        ip[40] = PROTOCOL_TCP;
        ip[41] = (uint8_t)(segment->ip_options / 8 - 1);
        ip[42] = 1; /* PadN */
        ip[43] = (uint8_t)(segment->ip_options - 4);
    }
    put16(ip + header + 16, (uint16_t)~tcp_sum(ip + 8, 32, ip + header, length));
    return header + length;
}

/* What comes before the IP header, and its length. */
static size_t build_link(uint8_t *packet, uint32_t protocol, bool vlan)
{
    size_t at = 12;

    if (lab.bare) {
        return 0;
    }
    memcpy(packet, lab.server_mac, 6);
    memcpy(packet + 6, lab.peer_mac, 6);
    if (vlan) {
        put32(packet + at, (uint32_t)ETH_P_8021Q << 16 | 5);
        at += 4;
    }
    put16(packet + at, protocol);
    return at + 2;
}

size_t lab_build(const struct lab_peer *peer, const struct lab_segment *segment,
                 uint8_t packet[LAB_PACKET_MAX])
{
    memset(packet, 0, LAB_PACKET_MAX);
    size_t at = build_link(packet, peer->ipv6 ? ETH_P_IPV6 : ETH_P_IP, segment->vlan);
    return at +
           (peer->ipv6 ? build_ipv6(peer, segment, packet + at) : build_ipv4(peer, segment, packet + at));
}

static void parse_options(const uint8_t *option, struct lab_answer *answer)
{
    const uint8_t *end = option + answer->options;

    while (option < end && *option != 0) {
        if (*option == 1) {
            option++;
            continue;
        }
        if (*option == 8) {
            answer->timestamps = true;
            answer->ts_value = get32(option + 2);
            answer->ts_echo = get32(option + 6);
        }
        if (*option == 3) {
            answer->scale = option[2];
        }
        option += option[1] > 1 ? option[1] : 2;
    }
}

static void parse_ip(const struct lab_peer *peer, const uint8_t *ip, struct lab_answer *answer)
{
    if (peer->ipv6) {
        answer->tos = (uint8_t)(get16(ip) >> 4);
        answer->flow_label = get32(ip) & 0xfffff;
        answer->hops = ip[7];
        answer->checksums_right = true;
        return;
    }
    answer->tos = ip[1];
    answer->ip_id = get16(ip + 4);
    answer->fragment = get16(ip + 6);
    answer->hops = ip[8];
    answer->checksums_right = fold(sum16(ip, IPV4_BYTES)) == 0xffff;
}

static size_t link_bytes(void)
{
    return lab.bare ? 0 : ETH_HLEN;
}

static bool is_of_server(const uint8_t *packet)
{
    return lab.bare || memcmp(packet + 6, lab.server_mac, 6) == 0;
}

bool lab_parse(const struct lab_peer *peer, const uint8_t *packet, size_t length, struct lab_answer *answer)
{
    const uint8_t *ip = packet + link_bytes();
    size_t header = peer->ipv6 ? IPV6_BYTES : IPV4_BYTES;
    const uint8_t *tcp = ip + header;

    if (length < link_bytes() + header + TCP_BYTES || ip[0] >> 4 != (peer->ipv6 ? 6 : 4) ||
        ip[peer->ipv6 ? 6 : 9] != PROTOCOL_TCP || get16(tcp) != peer->server_port ||
        get16(tcp + 2) != peer->port) {
        return false;
    }
    size_t tcp_length = peer->ipv6 ? get16(ip + 4) : get16(ip + 2) - header;
    *answer = (struct lab_answer){
        .there = true,
        .flags = tcp[13] & 0x3f,
        .seq = get32(tcp + 4),
        .ack = get32(tcp + 8),
        .window = get16(tcp + 14),
        .urgent = get16(tcp + 18),
        .options = (tcp[12] >> 4) * 4u - TCP_BYTES,
        .length = (uint32_t)(tcp_length - (tcp[12] >> 4) * 4u),
        .addressed = lab.bare || (memcmp(packet, lab.peer_mac, 6) == 0 && is_of_server(packet)),
    };
    parse_ip(peer, ip, answer);
    parse_options(tcp + TCP_BYTES, answer);
    answer->checksums_right &=
        tcp_sum(peer->ipv6 ? ip + 8 : ip + 12, peer->ipv6 ? 32 : 8, tcp, tcp_length) == 0xffff;
    return true;
}

static void send_packet(const uint8_t *packet, size_t length)
{
    cr_assert_eq(write(lab.packets, packet, length), (ssize_t)length, "%s", strerror(errno));
}

void lab_send(const struct lab_peer *peer, const struct lab_segment *segment)
{
    uint8_t packet[LAB_PACKET_MAX];

    send_packet(packet, lab_build(peer, segment, packet));
}

void lab_send_large(const struct lab_peer *peer, const struct lab_segment *segment)
{
    static struct {
        struct virtio_net_hdr header;
        uint8_t packet[UINT16_MAX];
    } __attribute__((packed)) large;
    const int on = 1;
    size_t tcp_at = ETH_HLEN + (peer->ipv6 ? IPV6_BYTES : IPV4_BYTES) + segment->ip_options;

    lab_enter_peer();
    int fd = open_packets();
    lab_enter_server();
    cr_assert_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0, "%s", strerror(errno));
    large.header = (struct virtio_net_hdr){.hdr_len = ETH_HLEN}; /* the linear part */
    if (segment->length > LAB_JUMBO) {
        large.header = (struct virtio_net_hdr){
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
            .gso_type = peer->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
            .hdr_len = ETH_HLEN,
            .gso_size = MSS,
            .csum_start = (uint16_t)tcp_at,
            .csum_offset = 16,
        };
    }
    size_t length = sizeof(large.header) + lab_build(peer, segment, large.packet);
    cr_assert_eq(write(fd, &large, length), (ssize_t)length, "%s", strerror(errno));
    close(fd);
}

/* The next packet from the server. */
static size_t receive_packet(uint8_t packet[LAB_PACKET_MAX])
{
    for (;;) {
        struct pollfd ready = {.fd = lab.packets, .events = POLLIN};
        cr_assert_eq(poll(&ready, 1, WAIT_LIMIT_MS), 1, "no packet");
        ssize_t length = read(lab.packets, packet, LAB_PACKET_MAX);
        cr_assert(length > 0);
        if (is_of_server(packet)) {
            return (size_t)length;
        }
    }
}

struct lab_answer lab_receive(const struct lab_peer *peer)
{
    uint8_t packet[LAB_PACKET_MAX];
    struct lab_answer answer;

    while (!lab_parse(peer, packet, receive_packet(packet), &answer)) {
    }
    return answer;
}

/* An echo request. */
static void send_question(void)
{
    uint8_t packet[ETH_HLEN + IPV4_BYTES + ICMP_BYTES] = {0};
    size_t at = build_link(packet, ETH_P_IP, false);

    put_ipv4(&(struct lab_peer){0}, packet + at, IPV4_BYTES, ICMP_BYTES, PROTOCOL_ICMP);
    at += IPV4_BYTES;
    packet[at] = ICMP_ECHO;
    put16(packet + at + 2, (uint16_t)~fold(sum16(packet + at, ICMP_BYTES)));
    send_packet(packet, at + ICMP_BYTES);
}

/* Whether the packet answers the question. */
static bool is_the_end(const uint8_t *packet)
{
    const uint8_t *ip = packet + link_bytes();

    return ip[0] == 0x45 && ip[9] == PROTOCOL_ICMP && ip[IPV4_BYTES] == 0;
}

void lab_tell(const struct lab_peer *peer, const struct lab_segment *segment)
{
    uint8_t packet[LAB_PACKET_MAX];

    lab_send(peer, segment);
    send_question();
    do {
        (void)receive_packet(packet);
    } while (!is_the_end(packet));
}

struct lab_answer lab_ask(const struct lab_peer *peer, const struct lab_segment *segment)
{
    uint8_t packet[LAB_PACKET_MAX];
    struct lab_answer answer = {0};
    struct lab_answer more;

    lab_send(peer, segment);
    send_question();
    for (;;) {
        size_t length = receive_packet(packet);
        if (is_the_end(packet)) {
            return answer;
        }
        if (lab_parse(peer, packet, length, &more)) {
            cr_assert_not(answer.there, "two answers to one segment");
            answer = more;
        }
    }
}
