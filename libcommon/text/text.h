/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h: text that people read. What an officer sees must be what is signed, and what comes from outside
 * must not move the cursor of a terminal, turn the direction of a line, or hide in it. So names, labels and
 * documents are made of visible characters alone, and all else is escaped where text is shown.
 */
#ifndef CH_TEXT_H
#define CH_TEXT_H

#include "err/err.h"
#include "mem/mem.h"

#include <stdint.h>

/* Octets of the UTF-8 character at the front (RFC 3629 §4: shortest form, no surrogates, up to U+10FFFF); 0:
 * there is none, or it is malformed. */
size_t ch_text_take(struct ch_view text, uint32_t *point);

/*
 * Whether a character shows as what it is. Not: C0, DEL and C1 controls; line and paragraph separators;
 * what turns the direction of text (embeddings, overrides, isolates, marks: Unicode UAX #9); what takes no
 * width (joiners, fillers, variation selectors, the byte order mark); tags; what is no character at all.
 */
bool ch_text_visible(uint32_t point);

/* CH_INVALID names `what` and the first character or octet that is not visible. */
CH_MUST_USE bool ch_text_check(const char *what, struct ch_view text, struct ch_error *err);

/* In place: each character that is not visible, and each octet that is no UTF-8 (also of a text that was cut
 * off), becomes '?'. */
void ch_text_clean(char *text);

/* For a terminal: what is not visible as <U+202E>, octets that are no UTF-8 as <0x9B>. The caller frees it.
 */
char *ch_text_escape(struct ch_view text);
/* The same, but lines stay lines and tabs tabs. */
char *ch_text_escape_lines(struct ch_view text);

/*
 * For JSON (RFC 8259 §7): what is not visible as \u202e, octets that are no UTF-8 as \ufffd. `structure`: a
 * document that is JSON already, whose line feeds and tabs stand between values; else the content of a
 * string: quotes and backslashes are escaped too.
 */
void ch_text_add_json(struct ch_buffer *out, struct ch_view text, bool structure);

#endif
