#include "cmd/exporter/page.h"

#include <stddef.h>
#include <string.h>

/* The files as they are; the Makefile says that this object depends on them. */
#define EMBED(name, path)                                                                                    \
    __asm__(".pushsection .rodata\n" #name ": .incbin \"" path "\"\n" #name "_end: .byte 0\n.popsection\n"); \
    extern const char name[];                                                                                \
    extern const char name##_end[]

EMBED(dashboard_html, "cmd/exporter/dashboard.html");
EMBED(dashboard_css, "cmd/exporter/dashboard.css");
EMBED(dashboard_js, "cmd/exporter/dashboard.js");

/* What stands for what in the page. */
struct part {
    const char *mark;
    const char *text, *end;
};

/* The first mark in the text; NULL where there is none. */
static const char *find_mark(const char *from, const char *end, const struct part *parts, size_t count,
                             const struct part **found)
{
    const char *first = NULL;

    for (size_t i = 0; i < count; i++) {
        const char *at = memmem(from, (size_t)(end - from), parts[i].mark, strlen(parts[i].mark));
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
        {"@NONCE@", nonce, nonce + strlen(nonce)},
        {"@STYLE@", dashboard_css, dashboard_css_end},
        {"@SCRIPT@", dashboard_js, dashboard_js_end},
    };
    const char *from = dashboard_html;
    const struct part *part = NULL;
    const char *mark;

    while ((mark = find_mark(from, dashboard_html_end, parts, sizeof(parts) / sizeof(parts[0]), &part)) !=
           NULL) {
        fwrite(from, 1, (size_t)(mark - from), out);
        fwrite(part->text, 1, (size_t)(part->end - part->text), out);
        from = mark + strlen(part->mark);
    }
    fwrite(from, 1, (size_t)(dashboard_html_end - from), out);
}
