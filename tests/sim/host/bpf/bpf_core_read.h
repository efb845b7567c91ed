/* Here the structures are where the compiler puts them. */
#ifndef PENSTOCK_TESTS_SIM_HOST_BPF_CORE_READ_H
#define PENSTOCK_TESTS_SIM_HOST_BPF_CORE_READ_H

#define BPF_CORE_READ_BITFIELD(structure, field) ((structure)->field)
#define bpf_core_field_exists(field)             1
#define bpf_core_enum_value(type, value)         (value)

#endif
