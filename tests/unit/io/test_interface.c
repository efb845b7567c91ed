/* Which interfaces there are to answer at, in a network namespace of the test's own. */
#include "io/interface.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX = 4 };

static void begin(void)
{
    if (unshare(CLONE_NEWNET) != 0) {
        cr_skip("needs the right to make a namespace");
    }
}

TestSuite(interface, .init = begin);

static void set_up(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0, "%s: %s", name, strerror(errno));
    close(fd);
}

/* An interface of such hardware, with an address. Lives as long as its descriptor. */
static int make_tun(short kind, int hardware)
{
    struct ifreq request = {.ifr_name = "tun0", .ifr_flags = kind};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0) {
        cr_skip("no /dev/net/tun");
    }
    cr_assert_eq(ioctl(tun, TUNSETLINK, hardware), 0, "%s", strerror(errno));
    memcpy(&request.ifr_addr, &address, sizeof(address));
    cr_assert_eq(ioctl(fd, SIOCSIFADDR, &request), 0);
    close(fd);
    set_up("tun0");
    return tun;
}

Test(interface, is_found_by_name)
{
    cr_expect_eq(interface_find("lo"), (int)if_nametoindex("lo"));
    cr_expect_eq(interface_find("none0"), -ENODEV);
    cr_expect_eq(interface_find(""), -ENODEV);
}

static int find_tun(short kind, int hardware)
{
    int tun = make_tun(kind, hardware);
    int result = interface_find("tun0");

    cr_expect(result < 0 || result == (int)if_nametoindex("tun0"));
    close(tun);
    return result;
}

Test(interface, of_a_kind_that_is_not_known_is_refused)
{
    cr_expect_gt(find_tun(IFF_TUN, ARPHRD_NONE), 0);
    cr_expect_gt(find_tun(IFF_TUN, ARPHRD_PPP), 0);
    cr_expect_gt(find_tun(IFF_TAP, ARPHRD_ETHER), 0);
    cr_expect_eq(find_tun(IFF_TUN, ARPHRD_INFINIBAND), -ENOTSUP);
    cr_expect_eq(find_tun(IFF_TAP, ARPHRD_IEEE1394), -ENOTSUP);
}

/* tun is point-to-point, tap is not. */
Test(interface, of_a_tunnel_with_many_ends_is_refused)
{
    cr_expect_gt(find_tun(IFF_TUN, ARPHRD_TUNNEL), 0);
    cr_expect_gt(find_tun(IFF_TUN, ARPHRD_IPGRE), 0);
    cr_expect_eq(find_tun(IFF_TAP, ARPHRD_TUNNEL), -ENOTSUP);
    cr_expect_eq(find_tun(IFF_TAP, ARPHRD_IPGRE), -ENOTSUP);
}

Test(interface, is_among_all_once_it_is_up)
{
    int indexes[MAX];
    char name[IF_NAMESIZE] = "before";

    cr_expect_eq(interface_find_all(indexes, MAX, name), 0);
    set_up("lo");
    cr_expect_eq(interface_find_all(indexes, MAX, name), 1, "though it has two addresses");
    cr_expect_eq(indexes[0], (int)if_nametoindex("lo"));
    cr_expect_str_eq(name, "");
    cr_expect_eq(interface_find_all(indexes, 0, name), -ENOSPC);
}

Test(interface, that_is_refused_is_named_and_left_out)
{
    int indexes[MAX];
    char name[IF_NAMESIZE];
    int tun = make_tun(IFF_TUN, ARPHRD_INFINIBAND);

    set_up("lo");
    cr_expect_eq(interface_find_all(indexes, MAX, name), 1);
    cr_expect_eq(indexes[0], (int)if_nametoindex("lo"));
    cr_expect_str_eq(name, "tun0");
    close(tun);
}
