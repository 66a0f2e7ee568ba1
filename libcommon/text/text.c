/* SPDX-License-Identifier: Apache-2.0 */
/* text.c: UTF-8 and which of its characters people see. Actions, names, labels, logs and the command line use
 * it. */
#include "text/text.h"

#include <string.h>

/* --- UTF-8 --- */

size_t ch_text_take(struct ch_view text, uint32_t *point)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t first;
	size_t length;

	if (!text.size)
		return 0;
	first = text.data[0];
	length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
	if (!length || length > text.size)
		return 0;
	*point = length == 1 ? first : first & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (text.data[i] & 0x3f);
	}
	return *point < least[length] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000) ? 0
												    : length;
}

/* --- what shows as what it is --- */

/* In order. Unicode 15, DerivedCoreProperties: Default_Ignorable_Code_Point, with controls, separators and
 * what is no character. */
static const struct range {
	uint32_t first, last;
} invisible[] = {
	{ 0x00, 0x1f },       /* C0 */
	{ 0x7f, 0x9f },       /* DEL, C1 */
	{ 0xad, 0xad },       /* soft hyphen */
	{ 0x34f, 0x34f },     /* combining grapheme joiner */
	{ 0x61c, 0x61c },     /* Arabic letter mark */
	{ 0x115f, 0x1160 },   /* Hangul fillers */
	{ 0x17b4, 0x17b5 },   /* Khmer inherent vowels */
	{ 0x180b, 0x180f },   /* Mongolian selectors and separator */
	{ 0x200b, 0x200f },   /* zero-width space and joiners, direction marks */
	{ 0x2028, 0x202e },   /* line and paragraph separators, embeddings, overrides */
	{ 0x2060, 0x206f },   /* word joiner, invisible operators, isolates, deprecated formats */
	{ 0x3164, 0x3164 },   /* Hangul filler */
	{ 0xfdd0, 0xfdef },   /* no characters */
	{ 0xfe00, 0xfe0f },   /* variation selectors */
	{ 0xfeff, 0xfeff },   /* byte order mark */
	{ 0xffa0, 0xffa0 },   /* half-width Hangul filler */
	{ 0xfff0, 0xfffb },   /* unassigned, interlinear annotation */
	{ 0x1bca0, 0x1bca3 }, /* shorthand formats */
	{ 0x1d173, 0x1d17a }, /* musical formats */
	{ 0xe0000, 0xe0fff }, /* tags, variation selectors */
};

bool ch_text_visible(uint32_t point)
{
	for (size_t i = 0; i < CH_COUNT(invisible) && point >= invisible[i].first; i++)
		if (point <= invisible[i].last)
			return false;
	return (point & 0xfffe) != 0xfffe; /* the last two of each plane are no characters */
}

bool ch_text_check(const char *what, struct ch_view text, struct ch_error *err)
{
	for (size_t at = 0, length; at < text.size; at += length) {
		uint32_t point;

		length = ch_text_take(ch_view(text.data + at, text.size - at), &point);
		if (!length)
			return ch_fail(err, CH_INVALID, "%s is not UTF-8: octet 0x%02X at %zu", what,
				       text.data[at], at);
		if (!ch_text_visible(point) && (point < 0x20 || (point >= 0x7f && point < 0xa0)))
			return ch_fail(err, CH_INVALID, "%s has the control character U+%04X at octet %zu",
				       what, (unsigned)point, at);
		if (!ch_text_visible(point))
			return ch_fail(err, CH_INVALID,
				       "%s has the character U+%04X at octet %zu, which does not show", what,
				       (unsigned)point, at);
	}
	return true;
}

/* --- showing --- */

static char *escape(struct ch_view text, const char *kept)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (size_t at = 0, length; at < text.size; at += length ? length : 1) {
		uint32_t point;

		length = ch_text_take(ch_view(text.data + at, text.size - at), &point);
		if (!length)
			ch_buffer_printf(&out, "<0x%02X>", text.data[at]);
		else if (ch_text_visible(point) || (point && point < 0x20 && strchr(kept, (int)point)))
			ch_buffer_add(&out, text.data + at, length);
		else
			ch_buffer_printf(&out, "<U+%04X>", (unsigned)point);
	}
	return ch_buffer_steal_text(&out);
}

void ch_text_clean(char *text)
{
	struct ch_view left = ch_view(text, strlen(text));
	char *out = text;

	while (left.size) {
		uint32_t point;
		size_t length = ch_text_take(left, &point);
		bool shows = length && ch_text_visible(point);

		length = length ? length : 1;
		memmove(out, shows ? (const char *)left.data : "?", shows ? length : 1);
		out += shows ? length : 1;
		left = ch_view(left.data + length, left.size - length);
	}
	*out = 0;
}

char *ch_text_escape(struct ch_view text)
{
	return escape(text, "");
}

char *ch_text_escape_lines(struct ch_view text)
{
	return escape(text, "\n\t");
}

static void add_unit(struct ch_buffer *out, uint32_t point)
{
	if (point >= 0x10000) /* as a surrogate pair */
		ch_buffer_printf(out, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((point - 0x10000) >> 10)),
				 (unsigned)(0xdc00 + ((point - 0x10000) & 0x3ff)));
	else
		ch_buffer_printf(out, "\\u%04x", (unsigned)point);
}

void ch_text_add_json(struct ch_buffer *out, struct ch_view text, bool structure)
{
	for (size_t at = 0, length; at < text.size; at += length ? length : 1) {
		uint32_t point;
		bool spacing;

		length = ch_text_take(ch_view(text.data + at, text.size - at), &point);
		spacing = length > 0 && structure && (point == '\n' || point == '\t');
		if (!length)
			ch_buffer_printf(out, "\\ufffd");
		else if (!structure && (point == '"' || point == '\\'))
			ch_buffer_printf(out, "\\%c", (char)point);
		else if (spacing || ch_text_visible(point))
			ch_buffer_add(out, text.data + at, length);
		else
			add_unit(out, point);
	}
}
