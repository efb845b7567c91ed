/*
 * The protocol between load and origin: layouts and bounds.
 */
#include "bench/stream.h"

#include "bench/pattern.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static void put32(uint8_t *out, uint32_t value)
{
    value = htole32(value);
    memcpy(out, &value, sizeof(value));
}

static void put64(uint8_t *out, uint64_t value)
{
    value = htole64(value);
    memcpy(out, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *in)
{
    uint32_t value;
    memcpy(&value, in, sizeof(value));
    return le32toh(value);
}

static uint64_t get64(const uint8_t *in)
{
    uint64_t value;
    memcpy(&value, in, sizeof(value));
    return le64toh(value);
}

void stream_header_encode(const struct stream_header *header, uint8_t out[STREAM_HEADER_BYTES])
{
    memcpy(out, STREAM_MAGIC, STREAM_MAGIC_BYTES);
    put64(out + 8, header->seed);
    put64(out + 16, header->upload_bytes);
    put64(out + 24, header->download_bytes);
    put32(out + 32, header->kind);
    put32(out + 36, header->request_bytes);
    put32(out + 40, header->response_bytes);
    put32(out + 44, header->flags);
}

int stream_header_decode(const uint8_t in[STREAM_HEADER_BYTES], struct stream_header *header)
{
    if (memcmp(in, STREAM_MAGIC, STREAM_MAGIC_BYTES) != 0)
        return -EINVAL;
    header->seed = get64(in + 8);
    header->upload_bytes = get64(in + 16);
    header->download_bytes = get64(in + 24);
    header->kind = get32(in + 32);
    header->request_bytes = get32(in + 36);
    header->response_bytes = get32(in + 40);
    header->flags = get32(in + 44);

    if (header->kind < STREAM_KIND_STREAM || header->kind > STREAM_KIND_SINK)
        return -EINVAL;
    if (header->upload_bytes > STREAM_LENGTH_MAX || header->download_bytes > STREAM_LENGTH_MAX)
        return -EINVAL;
    if (header->request_bytes > STREAM_MESSAGE_MAX || header->response_bytes > STREAM_MESSAGE_MAX)
        return -EINVAL;
    if ((header->flags & ~(uint32_t)STREAM_FLAGS_ALL) != 0)
        return -EINVAL;
    /* Messages without a byte would be exchanged for ever without reading anything. */
    if (header->kind == STREAM_KIND_PINGPONG && (header->request_bytes == 0 || header->response_bytes == 0))
        return -EINVAL;
    return 0;
}

void stream_trailer_encode(const struct stream_trailer *trailer, uint8_t out[STREAM_TRAILER_BYTES])
{
    put64(out, trailer->status);
    put64(out + 8, trailer->received_bytes);
}

void stream_trailer_decode(const uint8_t in[STREAM_TRAILER_BYTES], struct stream_trailer *trailer)
{
    trailer->status = get64(in);
    trailer->received_bytes = get64(in + 8);
}

void stream_fill_upload(const struct stream_header *header, uint64_t offset, uint8_t *out, size_t length)
{
    if (offset < STREAM_HEADER_BYTES) {
        uint8_t encoded[STREAM_HEADER_BYTES];
        size_t part = STREAM_HEADER_BYTES - (size_t)offset;
        if (part > length)
            part = length;
        stream_header_encode(header, encoded);
        memcpy(out, encoded + offset, part);
        out += part;
        length -= part;
        offset += part;
    }
    if (length > 0)
        pattern_fill(out, length, header->seed, offset - STREAM_HEADER_BYTES);
}

void stream_fill_download(const struct stream_header *header, uint64_t position, uint8_t *out, size_t length)
{
    pattern_fill(out, length, header->seed ^ STREAM_DOWNLOAD_XOR, position);
}

size_t stream_check_download(const struct stream_header *header, uint64_t position, const uint8_t *data,
                             size_t length)
{
    return pattern_check(data, length, header->seed ^ STREAM_DOWNLOAD_XOR, position);
}
