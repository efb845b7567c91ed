/*
 * Kernel constants newer than Debian 12's headers (Linux 6.1) and liburing 2.3.
 */
#ifndef PENSTOCK_IO_KERNEL_H
#define PENSTOCK_IO_KERNEL_H

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h, since Linux 6.3: ip(7) */
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

#endif
