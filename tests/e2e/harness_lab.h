/*
 * Two network namespaces joined by a veth pair, and a TCP peer made by hand: it sends any segment and sees each answer
 * in every field. For what is asked of a kernel's, or a responder's, very bytes.
 *
 * The test stands in the server's namespace. Beside the peer's kernel (LAB_KERNEL_PEER) there is the hand-made peer, at
 * addresses that no kernel has. Everything is the test's own and ends with it: namespaces, a mount namespace, a cgroup.
 */
#ifndef PENSTOCK_TESTS_E2E_HARNESS_LAB_H
#define PENSTOCK_TESTS_E2E_HARNESS_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_INTERFACE    "server0"
#define LAB_SERVER       "10.9.0.1"
#define LAB_SERVER6      "fd09::1"
#define LAB_KERNEL_PEER  "10.9.0.2"
#define LAB_KERNEL_PEER6 "fd09::2"
#define LAB_PEER         "10.9.1.1" /* the hand-made one */
#define LAB_PEER6        "fd09::1:1"

enum {
    LAB_FIN = 1,
    LAB_SYN = 2,
    LAB_RST = 4,
    LAB_ACK = 16,
    LAB_SYN_ACK = LAB_SYN | LAB_ACK,
    LAB_FIN_ACK = LAB_FIN | LAB_ACK,
    LAB_PACKET_MAX = 2048,
};

/* Makes the two namespaces; the test is skipped where it may not. */
void lab_begin(void);
void lab_fini(void);

/* An interface of bare IP packets in the veth's place, with its name and addresses: the hand-made peer is at
 * its other end, and no kernel. */
void lab_go_bare(void);

/* Such an interface: what is written to the descriptor it receives. It goes when that is closed. */
int lab_open_tun(const char *name);

/* The same that stays, and claims to be of this kind of hardware (ARPHRD_...). Up, with an address. */
void lab_add_tun(const char *name, int hardware);

/* Whose sockets the next ones are. */
void lab_enter_server(void);
void lab_enter_peer(void);

/* ip(8), in the namespace that the test is in; hands an interface of it to the peer. */
void lab_ip(const char *arguments);
void lab_give_to_peer(const char *interface);

/* For tests that ask nothing by hand. */
void lab_use_all_cpus(void);

/* A cgroup2 of the test's own, which nobody in it survives, and whether the test is in it. */
int lab_cgroup(void);
const char *lab_cgroup_path(void);

/* In a process that the test has forked: the cgroup ends with the test all the same. */
void lab_leave_janitor(void);
void lab_enter_cgroup(bool inside);

/* Writes a number to /proc/sys/NAME of the namespace that the test is in; reads it. */
void lab_sysctl(const char *name, unsigned value);
unsigned lab_sysctl_now(const char *name);

/* The server's interface leaves no checksum to be filled in later, and the peer's kernel checks each. */
void lab_finish_checksums(void);

/* A listening socket of the server, IPv6 or not, whose packets have the given TOS or traffic class. */
int lab_listen(bool ipv6, int tos, uint16_t *port);

/* The hand-made peer's end of a connection. */
struct lab_peer {
    bool ipv6;
    bool timestamps;
    uint16_t port;
    uint16_t server_port;
    uint32_t snd_nxt;
    uint32_t rcv_nxt;
    uint32_t ts_value; /* ours, and the last that came */
    uint32_t ts_echo;
    const char *address; /* NULL: LAB_PEER, LAB_PEER6; LAB_SERVER, LAB_SERVER6 */
    const char *server_address;
};

struct lab_segment {
    uint8_t flags;
    uint32_t seq;
    uint32_t ack;
    uint32_t length; /* payload */
    bool timestamps;
    uint32_t ts_value;
    uint32_t ts_echo;
    bool timestamps_cut; /* the header ends within the option */
    uint32_t ip_options; /* bytes, a multiple of 4 (IPv4) or 8 (IPv6: a destination options header) */
    bool more_fragments;
    bool no_length; /* in the IP header */
    bool vlan;
};

/* What came back. */
struct lab_answer {
    bool there;
    uint8_t flags;
    uint8_t tos;
    uint8_t hops;
    uint16_t ip_id;
    uint16_t fragment; /* IPv4: flags and offset */
    uint32_t flow_label;
    uint32_t seq;
    uint32_t ack;
    uint16_t window;
    uint16_t urgent;
    uint32_t options; /* bytes */
    uint32_t length;  /* payload */
    uint32_t scale;
    bool timestamps;
    uint32_t ts_value;
    uint32_t ts_echo;
    bool checksums_right;
    bool addressed; /* from the server's MAC address to the peer's, where there are any */
};

/* A segment in sequence: seq, ack and timestamps from the peer. */
struct lab_segment lab_segment(const struct lab_peer *peer, uint8_t flags, uint32_t length);

/* The packet, as it goes on the wire. Returns its length. */
size_t lab_build(const struct lab_peer *peer, const struct lab_segment *segment,
                 uint8_t packet[LAB_PACKET_MAX]);

/* Reads a packet of the server's to this peer; false where it is none. */
bool lab_parse(const struct lab_peer *peer, const uint8_t *packet, size_t length, struct lab_answer *answer);

void lab_send(const struct lab_peer *peer, const struct lab_segment *segment);

/* Sends it in one piece, whatever its length, as a buffer that is not linear: the payload of more than
 * LAB_JUMBO bytes as segments that were aggregated, with a checksum that is left to the device. */
enum { LAB_JUMBO = 8000 };
void lab_send_large(const struct lab_peer *peer, const struct lab_segment *segment);

/* Where the peer and the server are. */
const char *lab_address_of(const struct lab_peer *peer);
const char *lab_server_of(const struct lab_peer *peer);

/* Sends, and waits until the server has done with it, whatever it answers. */
void lab_tell(const struct lab_peer *peer, const struct lab_segment *segment);

/* The next answer, which must come. */
struct lab_answer lab_receive(const struct lab_peer *peer);

/* Sends; the answer if there is one: a question behind it, which the server's kernel answers, marks the end. */
struct lab_answer lab_ask(const struct lab_peer *peer, const struct lab_segment *segment);

#endif
