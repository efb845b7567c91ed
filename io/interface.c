#include "io/interface.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <linux/if_arp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whether what is sent back as it came finds its way: there is Ethernet's header, or the kernel takes
 * packets without one (dev_is_mac_header_xmit() in its include/linux/if_arp.h) and no route has to say where
 * to. */
static bool can_answer(int type, short flags)
{
    switch (type) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK:
    case ARPHRD_NONE: /* WireGuard, tun */
    case ARPHRD_RAWIP:
    case ARPHRD_PPP:
        return true;
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_IP6GRE: /* to one other end only */
        return (flags & (IFF_POINTOPOINT | IFF_BROADCAST)) == IFF_POINTOPOINT;
    default:
        return false;
    }
}

int interface_find(const char *name)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -errno;
    }
    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    int result = ioctl(fd, SIOCGIFHWADDR, &request) != 0 ? -errno : 0;
    int type = request.ifr_hwaddr.sa_family;
    if (result == 0) {
        result = ioctl(fd, SIOCGIFFLAGS, &request) != 0 ? -errno : 0;
    }
    if (result == 0 && !can_answer(type, request.ifr_flags)) {
        result = -ENOTSUP;
    }
    if (result == 0) {
        result = ioctl(fd, SIOCGIFINDEX, &request) != 0 ? -errno : request.ifr_ifindex;
    }
    close(fd);
    return result;
}

static bool has_address(const struct ifaddrs *at)
{
    return (at->ifa_flags & IFF_UP) != 0 && at->ifa_addr != NULL &&
           (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6);
}

/* The count with this one, which may be there already. */
static int add(int *indexes, uint32_t max, int count, int index)
{
    for (int i = 0; i < count; i++) {
        if (indexes[i] == index) {
            return count;
        }
    }
    if ((uint32_t)count == max) {
        return -ENOSPC;
    }
    indexes[count] = index;
    return count + 1;
}

int interface_find_all(int *indexes, uint32_t max, char name[IF_NAMESIZE])
{
    struct ifaddrs *all;
    int count = 0;

    name[0] = '\0';
    if (getifaddrs(&all) != 0) {
        return -errno;
    }
    for (const struct ifaddrs *at = all; at != NULL && count >= 0; at = at->ifa_next) {
        if (!has_address(at)) {
            continue;
        }
        int index = interface_find(at->ifa_name);
        if (index == -ENOTSUP && name[0] == '\0') {
            snprintf(name, IF_NAMESIZE, "%s", at->ifa_name);
        }
        if (index != -ENOTSUP && index != -ENODEV) { /* this one went just now */
            count = index < 0 ? index : add(indexes, max, count, index);
        }
    }
    freeifaddrs(all);
    return count;
}
