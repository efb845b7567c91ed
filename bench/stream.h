/*
 * The protocol between load and origin: one place for both ends.
 *
 * The client begins with a 48-byte header (all fields little endian):
 *
 *      0        8        16             24               32     36        40         44      48
 *      | magic  | seed   | upload bytes | download bytes | kind | request | response | flags |
 *
 * kind stream           client: upload bytes of pattern(seed), FIN. Origin, at the same time: download bytes
 *                       of pattern(seed ^ STREAM_DOWNLOAD_XOR); then, once it has seen the client's FIN, a
 *                       16-byte trailer (u64 status, u64 bytes received) and its FIN.
 * kind pingpong         for ever: request bytes up, response bytes down; positions run on over all exchanges.
 * kind endless          origin sends the download pattern for ever and discards what it receives.
 * kind connect-request  one exchange as in pingpong, then either end closes (STREAM_ORIGIN_CLOSES).
 * kind sink             origin discards what it receives, FIN for FIN.
 *
 * Only decoding can fail.
 */
#ifndef PENSTOCK_BENCH_STREAM_H
#define PENSTOCK_BENCH_STREAM_H

#include <stddef.h>
#include <stdint.h>

#define STREAM_MAGIC         "PNSTOCK1"
#define STREAM_MAGIC_BYTES   8
#define STREAM_HEADER_BYTES  48
#define STREAM_TRAILER_BYTES 16
#define STREAM_DOWNLOAD_XOR  0xD0D0CAFE5EED0001ULL

/* Bounds of what a header may ask for. Nothing is allocated by them; they keep positions from wrapping. */
#define STREAM_LENGTH_MAX    (1ULL << 50)
#define STREAM_MESSAGE_MAX   (1U << 30)

enum stream_kind {
    STREAM_KIND_STREAM = 1,
    STREAM_KIND_PINGPONG = 2,
    STREAM_KIND_ENDLESS = 3,
    STREAM_KIND_REQUEST = 4,
    STREAM_KIND_SINK = 5,
};

enum stream_flag {
    STREAM_ORIGIN_SLOW = 1 << 0,      /* the origin reads slowly (bench/pacer.h) */
    STREAM_ORIGIN_EARLY_FIN = 1 << 1, /* trailer (EARLY) and FIN as soon as all is sent, then reads on */
    STREAM_UNVERIFIED = 1 << 2,       /* endless: the bytes mean nothing, cheapest way to send */
    STREAM_ORIGIN_CLOSES = 1 << 3,    /* connect-request: the origin closes first */
    STREAM_FLAGS_ALL = (1 << 4) - 1,
};

enum stream_status {
    STREAM_STATUS_OK = 0,
    STREAM_STATUS_MISMATCH = 1,
    STREAM_STATUS_SHORT = 2,
    STREAM_STATUS_LONG = 3,
    STREAM_STATUS_EARLY = 4, /* not yet known: the rest is judged by the origin's totals */
};

struct stream_header {
    uint64_t seed;
    uint64_t upload_bytes;
    uint64_t download_bytes;
    uint32_t kind;
    uint32_t request_bytes;
    uint32_t response_bytes;
    uint32_t flags;
};

struct stream_trailer {
    uint64_t status;
    uint64_t received_bytes;
};

void stream_header_encode(const struct stream_header *header, uint8_t out[STREAM_HEADER_BYTES]);

/* 0, or -EINVAL if the magic, the kind, a flag or a bound is wrong. */
int stream_header_decode(const uint8_t in[STREAM_HEADER_BYTES], struct stream_header *header);

void stream_trailer_encode(const struct stream_trailer *trailer, uint8_t out[STREAM_TRAILER_BYTES]);
void stream_trailer_decode(const uint8_t in[STREAM_TRAILER_BYTES], struct stream_trailer *trailer);

/* Bytes [offset, offset + length) of what the client sends: the header, then pattern(seed). */
void stream_fill_upload(const struct stream_header *header, uint64_t offset, uint8_t *out, size_t length);

/* The same for the origin's pattern, and its check: index of the first wrong byte, or length. */
void stream_fill_download(const struct stream_header *header, uint64_t position, uint8_t *out, size_t length);
size_t stream_check_download(const struct stream_header *header, uint64_t position, const uint8_t *data,
                             size_t length);

#endif
