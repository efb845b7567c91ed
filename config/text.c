/*
 * The check of a file's characters, made before any YAML is read: libyaml gives no line for a bad byte. Pure.
 */
#include "config/tree.h"

#include <string.h>

/* Reads one UTF-8 character (RFC 3629, section 4: shortest form, no surrogates). Returns its bytes, 0 if it is none. */
static size_t character_read(const unsigned char *bytes, size_t size, uint32_t *character)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t more = 0; more < 4; more++) {
        uint32_t value = bytes[0] & (unsigned char)~forms[more].mask;

        if ((bytes[0] & forms[more].mask) != forms[more].lead)
            continue;
        if (more >= size)
            return 0;
        for (size_t i = 1; i <= more; i++) {
            if ((bytes[i] & 0xc0) != 0x80)
                return 0;
            value = value << 6 | (bytes[i] & 0x3f);
        }
        if (value < forms[more].least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
            return 0;
        *character = value;
        return more + 1;
    }
    return 0;
}

/* Beyond control characters: line ends that editors do not count, byte order marks within a text, and no characters. */
static bool character_is_allowed(uint32_t character)
{
    if (character < 0x20)
        return character == '\t' || character == '\n' || character == '\r';
    if (character >= 0x7f && character < 0xa0)
        return false;
    return character != 0x2028 && character != 0x2029 && character != 0xfeff &&
           (character & 0xfffe) != 0xfffe;
}

int config_text_check(const char *bytes, size_t size, struct config_report *report)
{
    struct config_place place = {1, 1};
    const unsigned char *text = (const unsigned char *)bytes;

    for (size_t at = 0; at < size;) {
        uint32_t character = 0;
        size_t length = character_read(text + at, size - at, &character);

        if (length == 0) {
            config_report_add(report, place, "byte 0x%02x is not UTF-8; save the file as UTF-8", text[at]);
            return -1;
        }
        if (!character_is_allowed(character)) {
            config_report_add(report, place, "character U+%04X is not allowed; remove it",
                              (unsigned)character);
            return -1;
        }
        at += length;
        place.column++;
        if (character == '\n' || (character == '\r' && !(at < size && text[at] == '\n'))) {
            place.line++;
            place.column = 1;
        }
    }
    return 0;
}
