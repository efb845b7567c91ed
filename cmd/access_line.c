#include "cmd/access_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cmd/source.h"
#include "shm/name_row.h"

enum {
    TIME_BYTES = 48,
    SPAN_BYTES = 32,
    NAME_BYTES = ENDPOINT_TEXT_MAX * 6 + 2, /* each character as \u0000, and quotes */
    OTHER_BYTES = 640,                      /* keys, numbers and a reason */
};

/* The words of a line; names as the format has them. */
struct words {
    char time[TIME_BYTES];
    char source[ENDPOINT_TEXT_MAX];
    char listener[NAME_BYTES];
    char pool[NAME_BYTES];
    char server[NAME_BYTES];
};

_Static_assert(sizeof(struct words) + OTHER_BYTES <= ACCESS_LINE_MAX, "the longest line fits");

/* A unix path may have spaces and quotes. */
static char *escape(char *to, const char *name, enum access_format format)
{
    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;
        if (c > ' ' && c != '"' && c != '\\' && c != 0x7f) {
            *to++ = *name;
        } else {
            to += sprintf(to, format == ACCESS_JSON ? "\\u%04x" : "\\x%02x", c);
        }
    }
    return to;
}

/* One field of the line, or what stands for none. */
static void name_text(char *to, const struct region *region, enum name_kind kind, uint16_t row,
                      enum access_format format)
{
    const struct name_row *entry = region_name(region, kind, row);
    const char *quote = format == ACCESS_JSON ? "\"" : "";

    if (entry == NULL || entry->name[0] == '\0') {
        sprintf(to, "%s", format == ACCESS_JSON ? "null" : "-");
        return;
    }
    to += sprintf(to, "%s", quote);
    to = escape(to, entry->name, format);
    sprintf(to, "%s", quote);
}

static void time_text(char *text, const struct region *region, uint64_t monotonic_us)
{
    const struct region_header *header = region->header;
    uint64_t real_us = monotonic_us - header->created_monotonic_us + header->created_realtime_us;
    time_t seconds = (time_t)(real_us / 1000000);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    size_t used = strftime(text, TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, TIME_BYTES - used, ".%06" PRIu64 "Z", real_us % 1000000);
}

static void find_words(struct words *words, const struct region *region, const struct log_record *record,
                       enum access_format format)
{
    time_text(words->time, region, record->accepted_us);
    source_format(words->source, sizeof(words->source), record->source_family, record->source_port,
                  record->source_address);
    name_text(words->listener, region, NAME_LISTENER, record->listener_row, format);
    name_text(words->pool, region, NAME_POOL, record->pool_row, format);
    name_text(words->server, region, NAME_SERVER, record->server_row, format);
}

/* --- Text --------------------------------------------------------------------------------------------------- */

/* Milliseconds, or "-" where it never came to that. */
static const char *span_ms(char *text, uint64_t from_us, uint64_t to_us)
{
    if (to_us == 0) {
        return "-";
    }
    snprintf(text, SPAN_BYTES, "%" PRIu64 ".%03" PRIu64, (to_us - from_us) / 1000, (to_us - from_us) % 1000);
    return text;
}

static int format_text(char *line, const struct region *region, uint32_t slot,
                       const struct log_record *record)
{
    struct words words;
    char spans[3][SPAN_BYTES];

    find_words(&words, region, record, ACCESS_TEXT);
    return snprintf(
        line, ACCESS_LINE_MAX, "%s %s %s %s/%s %s/%s/%s %" PRIu64 " %" PRIu64 " %s %u %u %" PRIu64 "\n",
        words.time, words.source, words.listener, words.pool, words.server,
        span_ms(spans[0], record->accepted_us, record->connected_us),
        span_ms(spans[1], record->accepted_us, record->first_byte_us),
        span_ms(spans[2], record->accepted_us, record->closed_us), record->bytes_from_client,
        record->bytes_from_server, close_reason_text(record->reason), record->tries, slot, record->serial);
}

/* --- JSON --------------------------------------------------------------------------------------------------- */

/* Microseconds, or null where it never came to that. */
static const char *span_us(char *text, uint64_t from_us, uint64_t to_us)
{
    if (to_us == 0) {
        return "null";
    }
    snprintf(text, SPAN_BYTES, "%" PRIu64, to_us - from_us);
    return text;
}

static int format_json(char *line, const struct region *region, uint32_t slot,
                       const struct log_record *record)
{
    struct words words;
    char spans[3][SPAN_BYTES];

    find_words(&words, region, record, ACCESS_JSON);
    return snprintf(line, ACCESS_LINE_MAX,
                    "{\"time\":\"%s\",\"source\":\"%s\",\"listener\":%s,\"pool\":%s,\"server\":%s,"
                    "\"connected_us\":%s,\"first_byte_us\":%s,\"total_us\":%s,\"bytes_up\":%" PRIu64
                    ",\"bytes_down\":%" PRIu64
                    ",\"reason\":\"%s\",\"failed_tries\":%u,\"worker\":%u,\"serial\":%" PRIu64 "}\n",
                    words.time, words.source, words.listener, words.pool, words.server,
                    span_us(spans[0], record->accepted_us, record->connected_us),
                    span_us(spans[1], record->accepted_us, record->first_byte_us),
                    span_us(spans[2], record->accepted_us, record->closed_us), record->bytes_from_client,
                    record->bytes_from_server, close_reason_text(record->reason), record->tries, slot,
                    record->serial);
}

size_t access_line_format(char *line, enum access_format format, const struct region *region, uint32_t slot,
                          const struct log_record *record)
{
    return (size_t)(format == ACCESS_JSON ? format_json(line, region, slot, record)
                                          : format_text(line, region, slot, record));
}
