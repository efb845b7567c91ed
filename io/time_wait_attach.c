#include "io/time_wait_attach.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    TCX_INGRESS = 46, /* enum bpf_attach_type, since Linux 6.6 */
    SYSFS_PATH_MAX = 64,
};

/* What sysfs says of the interface; NULL where its mount shows another network namespace, with another interface of that
 * name. */
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

/* A device of its own behind it, no interface above it. */
static bool is_plain_card(int interface)
{
    const struct dirent *entry;
    bool device = false;
    bool stacked = false;
    DIR *files = open_sysfs(interface);

    while (files != NULL && (entry = readdir(files)) != NULL) {
        device |= strcmp(entry->d_name, "device") == 0;
        stacked |= strncmp(entry->d_name, "upper_", 6) == 0;
    }
    if (files != NULL) {
        closedir(files);
    }
    return device && !stacked;
}

int time_wait_attach_to(enum time_wait_hook hook, int program, int interface)
{
    LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);

    if (hook == TIME_WAIT_XDP) {
        return bpf_link_create(program, interface, BPF_XDP, &native);
    }
    return bpf_link_create(program, interface, (enum bpf_attach_type)TCX_INGRESS, NULL);
}

int time_wait_attach(int tcx_program, int xdp_program, int interface, enum time_wait_hook *used)
{
    int link = is_plain_card(interface) ? time_wait_attach_to(TIME_WAIT_XDP, xdp_program, interface) : -1;

    *used = link >= 0 ? TIME_WAIT_XDP : TIME_WAIT_TCX;
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
