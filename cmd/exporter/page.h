/*
 * The dashboard: one page with its style and script in it, made of dashboard.html, .css and .js when it is asked for.
 */
#ifndef PENSTOCK_CMD_EXPORTER_PAGE_H
#define PENSTOCK_CMD_EXPORTER_PAGE_H

#include <stdio.h>

/* `nonce` is what the page's policy calls its style and script by (Content Security Policy, 'nonce-...'). */
void page_print(FILE *out, const char *nonce);

#endif
