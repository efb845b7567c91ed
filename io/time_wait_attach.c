#include "io/time_wait_attach.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    TCX_INGRESS = 46, /* enum bpf_attach_type, since Linux 6.6 */
    TCX_EGRESS = 47,
    SYSFS_PATH_MAX = 128,
};

/* What sysfs says of the interface; NULL where its mount shows another network namespace, with another
 * interface of that name. */
static DIR *open_sysfs(int interface)
{
    char path[SYSFS_PATH_MAX];
    char name[IF_NAMESIZE];
    int index = 0;

    if (if_indextoname((unsigned)interface, name) == NULL) {
        return NULL;
    }
    snprintf(path, sizeof(path), "/sys/class/net/%s/ifindex", name);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%d", &index) != 1) {
            index = 0;
        }
        fclose(file);
    }
    snprintf(path, sizeof(path), "/sys/class/net/%s", name);
    return index == interface ? opendir(path) : NULL;
}

/* Whether a PCI device is behind it. */
static bool is_card(DIR *interface)
{
    char bus[SYSFS_PATH_MAX] = {0};
    ssize_t length = readlinkat(dirfd(interface), "device/subsystem", bus, sizeof(bus) - 1);

    return length >= 4 && strcmp(bus + length - 4, "/pci") == 0;
}

static bool is_stacked(DIR *interface)
{
    const struct dirent *entry;

    while ((entry = readdir(interface)) != NULL) {
        if (strncmp(entry->d_name, "upper_", 6) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_for_xdp(int interface)
{
    DIR *directory = open_sysfs(interface);
    bool result = directory != NULL && is_card(directory) && !is_stacked(directory);

    if (directory != NULL) {
        closedir(directory);
    }
    return result;
}

int time_wait_attach_to(enum time_wait_hook hook, int program, int interface)
{
    LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);

    if (hook == TIME_WAIT_XDP) {
        return bpf_link_create(program, interface, BPF_XDP, &native);
    }
    int type = hook == TIME_WAIT_TCX ? TCX_INGRESS : TCX_EGRESS;
    return bpf_link_create(program, interface, (enum bpf_attach_type)type, NULL);
}

int time_wait_attach(int tcx_program, int xdp_program, int interface)
{
    int link = is_for_xdp(interface) ? time_wait_attach_to(TIME_WAIT_XDP, xdp_program, interface) : -1;

    return link >= 0 ? link : time_wait_attach_to(TIME_WAIT_TCX, tcx_program, interface);
}

enum time_wait_hook time_wait_attached(int link)
{
    struct bpf_link_info info = {0};
    uint32_t length = sizeof(info);

    return bpf_obj_get_info_by_fd(link, &info, &length) == 0 && info.type == BPF_LINK_TYPE_XDP
               ? TIME_WAIT_XDP
               : TIME_WAIT_TCX;
}
