#ifndef PENSTOCK_TESTS_SIM_HOST_BPF_ENDIAN_H
#define PENSTOCK_TESTS_SIM_HOST_BPF_ENDIAN_H

#define bpf_htonl(x)       __builtin_bswap32(x)
#define bpf_ntohl(x)       __builtin_bswap32(x)
#define bpf_htons(x)       __builtin_bswap16(x)
#define bpf_ntohs(x)       __builtin_bswap16(x)
#define bpf_cpu_to_be64(x) __builtin_bswap64(x)

#endif
