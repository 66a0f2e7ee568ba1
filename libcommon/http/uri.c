/* SPDX-License-Identifier: Apache-2.0 */
/* uri.c: percent-decoding, queries and UTF-8. Called by request.c for each request. */
#include "http/parse.h"

#include "text/text.h"

#include <stdlib.h>
#include <string.h>

bool http_utf8_valid(struct ch_view text)
{
	for (size_t i = 0; i < text.size;) {
		uint32_t point;
		size_t size = ch_text_take(ch_view(text.data + i, text.size - i), &point);

		if (!size)
			return false;
		i += size;
	}
	return true;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool http_percent_decode(const char *text, size_t size, bool plus, char **out, struct ch_error *err)
{
	CH_AUTO(ch_string) decoded = ch_alloc(size + 1);
	size_t used = 0;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%') {
			int high = i + 2 < size ? nibble(text[i + 1]) : -1;
			int low = high >= 0 ? nibble(text[i + 2]) : -1;

			if (low < 0)
				return ch_fail(err, CH_INVALID, "broken percent escape at octet %zu", i);
			c = (unsigned char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (c < 0x20 || c == 0x7f)
			return ch_fail(err, CH_INVALID, "control character 0x%02x at octet %zu", c, i);
		decoded[used++] = (char)c;
	}
	if (!http_utf8_valid(ch_view(decoded, used)))
		return ch_fail(err, CH_INVALID, "not UTF-8 after percent-decoding");
	*out = CH_STEAL(decoded);
	return true;
}

void http_pairs_free(struct http_pair *pairs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
}

static bool parse_pair(const char *text, size_t size, struct http_pair *pair, struct ch_error *err)
{
	const char *equals = memchr(text, '=', size);
	size_t name_size = equals ? (size_t)(equals - text) : size;
	const char *value = equals ? equals + 1 : text + size;

	if (!name_size)
		return ch_fail(err, CH_INVALID, "a query member has no name");
	return http_percent_decode(text, name_size, true, &pair->name, err) &&
	       http_percent_decode(value, (size_t)(text + size - value), true, &pair->value, err);
}

static bool parse_pairs(const char *text, struct http_pair *pairs, size_t *count, struct ch_error *err)
{
	while (*text) {
		size_t size = strcspn(text, "&");

		if (*count == HTTP_QUERY_MAX)
			return ch_fail(err, CH_INVALID, "more than %d query members", HTTP_QUERY_MAX);
		(*count)++;
		if (!parse_pair(text, size, &pairs[*count - 1], err))
			return ch_fail_in(err, "query member %zu", *count);
		for (size_t i = 0; i + 1 < *count; i++)
			if (strcmp(pairs[i].name, pairs[*count - 1].name) == 0)
				return ch_fail(err, CH_INVALID, "query member '%.64s' stands twice",
					       pairs[i].name);
		text += size;
		if (*text == '&' && *++text == 0)
			return ch_fail(err, CH_INVALID, "query ends with '&'");
	}
	return true;
}

bool http_query_parse(const char *text, struct http_pair **pairs, size_t *count, struct ch_error *err)
{
	*count = 0;
	*pairs = ch_alloc(HTTP_QUERY_MAX * sizeof(**pairs));
	if (parse_pairs(text, *pairs, count, err))
		return true;
	http_pairs_free(*pairs, *count);
	free(*pairs);
	*pairs = NULL;
	*count = 0;
	return false;
}

bool http_traceparent_read(const char *header, char trace_id[33])
{
	size_t zeros = 0;

	/* version "-" trace-id "-" parent-id "-" flags; "ff" is no version */
	if (strlen(header) < 55 || header[2] != '-' || header[35] != '-' || header[52] != '-' ||
	    strncmp(header, "ff", 2) == 0 || (header[55] && header[55] != '-'))
		return false;
	for (size_t i = 0; i < 55; i++) {
		if (i == 2 || i == 35 || i == 52)
			continue;
		if (nibble(header[i]) < 0 || (header[i] >= 'A' && header[i] <= 'F'))
			return false;
	}
	for (size_t i = 3; i < 35; i++)
		zeros += header[i] == '0';
	if (zeros == 32)
		return false;
	memcpy(trace_id, header + 3, 32);
	trace_id[32] = 0;
	return true;
}
