#include "cmd/exporter/page.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The files as they are; the Makefile says that this object depends on them. */
#define EMBED(name, path)                                                                  \
    __asm__(".pushsection .rodata\n" #name ": .incbin \"" path "\"\n" #name "_end:\n"      \
            ".balign 8\n" #name "_bytes: .quad " #name "_end - " #name "\n.popsection\n"); \
    extern const char name[];                                                              \
    extern const uint64_t name##_bytes

EMBED(dashboard_html, "cmd/exporter/dashboard.html");
EMBED(dashboard_css, "cmd/exporter/dashboard.css");
EMBED(dashboard_js, "cmd/exporter/dashboard.js");

/* What stands for what in the page. */
struct part {
    const char *mark;
    const char *text;
    size_t bytes;
};

/* The first mark in the text; NULL where there is none. */
static const char *find_mark(const char *from, size_t bytes, const struct part *parts, size_t count,
                             const struct part **found)
{
    const char *first = NULL;

    for (size_t i = 0; i < count; i++) {
        const char *at = memmem(from, bytes, parts[i].mark, strlen(parts[i].mark));
        if (at != NULL && (first == NULL || at < first)) {
            first = at;
            *found = &parts[i];
        }
    }
    return first;
}

void page_print(FILE *out, const char *nonce)
{
    const struct part parts[] = {
        {"@NONCE@", nonce, strlen(nonce)},
        {"@STYLE@", dashboard_css, dashboard_css_bytes},
        {"@SCRIPT@", dashboard_js, dashboard_js_bytes},
    };
    const char *from = dashboard_html;
    size_t left = dashboard_html_bytes;
    const struct part *part = NULL;
    const char *mark;

    while ((mark = find_mark(from, left, parts, sizeof(parts) / sizeof(parts[0]), &part)) != NULL) {
        size_t before = (size_t)(mark - from);
        fwrite(from, 1, before, out);
        fwrite(part->text, 1, part->bytes, out);
        from = mark + strlen(part->mark);
        left -= before + strlen(part->mark);
    }
    fwrite(from, 1, left, out);
}
