/*
 * Kernel constants newer than Debian 12's headers (Linux 6.1) and liburing 2.3.
 */
#ifndef PENSTOCK_IO_KERNEL_H
#define PENSTOCK_IO_KERNEL_H

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h, since Linux 6.3: ip(7) */
#endif

#ifndef IORING_ACCEPT_DONTWAIT
#define IORING_ACCEPT_DONTWAIT (1U << 1) /* linux/io_uring.h, since Linux 6.10: io_uring_prep_accept(3) */
#endif

#ifndef IORING_SEND_ZC_REPORT_USAGE /* linux/io_uring.h, since Linux 6.2: io_uring_prep_send_zc(3) */
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#endif
