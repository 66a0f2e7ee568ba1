/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.c: appends DER elements to a growing buffer. ch_der_begin notes where an element's content begins
 * and ch_der_finish puts its length in front of it, so callers write structures in reading order.
 */
#include "der/der.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A programming error, not an input error: the daemon cannot know what it is about to sign. */
static void require(bool condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "ch_der_writer: %s\n", what);
		abort();
	}
}

/* Definite length, shortest form (X.690 §10.1). Returns how many octets of `out` are used. */
static size_t length_octets(size_t length, uint8_t out[9])
{
	if (length < 0x80) {
		out[0] = (uint8_t)length;
		return 1;
	}
	size_t count = 0;
	for (size_t rest = length; rest > 0; rest >>= 8)
		count++;
	out[0] = (uint8_t)(0x80 | count);
	for (size_t i = 0; i < count; i++)
		out[1 + i] = (uint8_t)(length >> (8 * (count - 1 - i)));
	return 1 + count;
}

static void add_octet(struct ch_der_writer *writer, unsigned octet)
{
	uint8_t value = (uint8_t)octet;
	ch_buffer_add(&writer->buffer, &value, 1);
}

static void add_header(struct ch_der_writer *writer, unsigned tag, size_t length)
{
	uint8_t octets[9];
	add_octet(writer, tag);
	ch_buffer_add(&writer->buffer, octets, length_octets(length, octets));
}

void ch_der_begin(struct ch_der_writer *writer, unsigned tag)
{
	require(writer->depth < CH_COUNT(writer->open), "nested too deeply");
	add_octet(writer, tag);
	writer->open[writer->depth++] = writer->buffer.used;
}

void ch_der_finish(struct ch_der_writer *writer)
{
	require(writer->depth > 0, "nothing is open");
	size_t start = writer->open[--writer->depth];
	size_t length = writer->buffer.used - start;
	uint8_t octets[9];
	size_t count = length_octets(length, octets);
	ch_buffer_reserve(&writer->buffer, count);
	if (length > 0)
		memmove(writer->buffer.data + start + count, writer->buffer.data + start, length);
	memcpy(writer->buffer.data + start, octets, count);
	writer->buffer.used += count;
}

void ch_der_put(struct ch_der_writer *writer, unsigned tag, struct ch_view content)
{
	add_header(writer, tag, content.size);
	ch_buffer_add_view(&writer->buffer, content);
}

void ch_der_put_raw(struct ch_der_writer *writer, struct ch_view encoded)
{
	ch_buffer_add_view(&writer->buffer, encoded);
}

/* A non-negative integer of `tag`: no superfluous leading zeros, one where the sign needs it (X.690 §8.3). */
static void put_unsigned(struct ch_der_writer *writer, unsigned tag, struct ch_view octets)
{
	while (octets.size > 0 && octets.data[0] == 0)
		octets = ch_view(octets.data + 1, octets.size - 1);
	bool zero_in_front = octets.size == 0 || octets.data[0] >= 0x80;
	add_header(writer, tag, octets.size + zero_in_front);
	if (zero_in_front)
		add_octet(writer, 0);
	ch_buffer_add_view(&writer->buffer, octets);
}

void ch_der_put_integer(struct ch_der_writer *writer, struct ch_view unsigned_octets)
{
	put_unsigned(writer, CH_DER_INTEGER, unsigned_octets);
}

void ch_der_put_uint64(struct ch_der_writer *writer, unsigned tag, uint64_t value)
{
	uint8_t octets[8];
	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(value >> (56 - 8 * i));
	put_unsigned(writer, tag, ch_view(octets, sizeof octets));
}

void ch_der_put_boolean(struct ch_der_writer *writer, bool value)
{
	uint8_t octet = value ? 0xff : 0x00;
	ch_der_put(writer, CH_DER_BOOLEAN, ch_view(&octet, 1));
}

void ch_der_put_null(struct ch_der_writer *writer)
{
	add_header(writer, CH_DER_NULL, 0);
}

/* Takes one decimal arc and the dot after it. Arcs of up to 63 bits, as the reader accepts. */
static bool take_arc(const char **text, uint64_t *arc)
{
	const char *at = *text;
	if (*at < '0' || *at > '9' || (at[0] == '0' && at[1] >= '0' && at[1] <= '9'))
		return false;
	for (*arc = 0; *at >= '0' && *at <= '9'; at++) {
		if (*arc > (UINT64_C(1) << 63) / 10 - 10)
			return false;
		*arc = *arc * 10 + (uint64_t)(*at - '0');
	}
	if (*at == '.' && at[1] == '\0')
		return false;
	if (*at != '.' && *at != '\0')
		return false;
	*text = *at == '.' ? at + 1 : at;
	return true;
}

static void add_arc(struct ch_buffer *content, uint64_t arc)
{
	uint8_t octets[10];
	size_t at = sizeof octets;
	octets[--at] = (uint8_t)(arc & 0x7f);
	while (arc >>= 7)
		octets[--at] = (uint8_t)(0x80 | (arc & 0x7f));
	ch_buffer_add(content, octets + at, sizeof octets - at);
}

bool ch_der_put_oid(struct ch_der_writer *writer, const char *dotted, struct ch_error *err)
{
	CH_AUTO(ch_buffer) content = CH_NONE;
	const char *text = dotted;
	uint64_t first, second, arc;
	if (!take_arc(&text, &first) || !take_arc(&text, &second) || first > 2 || (first < 2 && second > 39))
		return ch_fail(err, CH_INVALID, "'%.100s' is not an object identifier", dotted);
	add_arc(&content, first * 40 + second);
	while (*text) {
		if (!take_arc(&text, &arc))
			return ch_fail(err, CH_INVALID, "'%.100s' is not an object identifier", dotted);
		add_arc(&content, arc);
	}
	ch_der_put(writer, CH_DER_OID, ch_buffer_view(&content));
	return true;
}

void ch_der_put_octet_string(struct ch_der_writer *writer, struct ch_view octets)
{
	ch_der_put(writer, CH_DER_OCTET_STRING, octets);
}

void ch_der_put_bit_string(struct ch_der_writer *writer, struct ch_view octets)
{
	add_header(writer, CH_DER_BIT_STRING, octets.size + 1);
	add_octet(writer, 0);
	ch_buffer_add_view(&writer->buffer, octets);
}

/* Calendar fields of a time; the microseconds within its second go to *fraction. */
static struct tm calendar(int64_t time_us, int64_t *fraction)
{
	int64_t seconds = time_us / 1000000;
	*fraction = time_us % 1000000;
	if (*fraction < 0) {
		*fraction += 1000000;
		seconds--;
	}
	struct tm fields;
	time_t time = (time_t)seconds;
	require(gmtime_r(&time, &fields) && fields.tm_year + 1900 >= 0 && fields.tm_year + 1900 <= 9999,
		"time outside the years 0000 to 9999");
	return fields;
}

void ch_der_put_time(struct ch_der_writer *writer, int64_t time_us)
{
	int64_t fraction;
	struct tm fields = calendar(time_us, &fraction);
	if (fields.tm_year + 1900 < 1950 || fields.tm_year + 1900 >= 2050) { /* RFC 5280 §4.1.2.5 */
		ch_der_put_generalized_time(writer, time_us, false);
		return;
	}
	char text[16];
	size_t size = strftime(text, sizeof text, "%y%m%d%H%M%SZ", &fields);
	ch_der_put(writer, CH_DER_UTC_TIME, ch_view(text, size));
}

void ch_der_put_generalized_time(struct ch_der_writer *writer, int64_t time_us, bool fractions)
{
	int64_t fraction;
	struct tm fields = calendar(time_us, &fraction);
	char text[40];
	int size = snprintf(text, sizeof text, "%04d%02d%02d%02d%02d%02d", fields.tm_year + 1900,
			    fields.tm_mon + 1, fields.tm_mday, fields.tm_hour, fields.tm_min, fields.tm_sec);
	if (fractions && fraction != 0) { /* RFC 3161 §2.4.2: no trailing zeros */
		size += snprintf(text + size, sizeof text - (size_t)size, ".%06d", (int)fraction);
		while (text[size - 1] == '0')
			size--;
	}
	text[size++] = 'Z';
	ch_der_put(writer, CH_DER_GENERALIZED_TIME, ch_view(text, (size_t)size));
}

static int compare_encodings(const void *left, const void *right)
{
	const struct ch_view *a = left, *b = right;
	size_t size = a->size < b->size ? a->size : b->size;
	int order = size ? memcmp(a->data, b->data, size) : 0;
	return order ? order : (a->size > b->size) - (a->size < b->size);
}

void ch_der_put_set_of(struct ch_der_writer *writer, unsigned tag, struct ch_view *elements, size_t count)
{
	if (count > 1)
		qsort(elements, count, sizeof *elements, compare_encodings);
	ch_der_begin(writer, tag);
	for (size_t i = 0; i < count; i++)
		ch_der_put_raw(writer, elements[i]);
	ch_der_finish(writer);
}

struct ch_bytes ch_der_done(struct ch_der_writer *writer)
{
	require(writer->depth == 0, "an element is still open");
	return ch_buffer_steal(&writer->buffer);
}

void ch_der_writer_free(struct ch_der_writer *writer)
{
	if (!writer)
		return;
	ch_buffer_free(&writer->buffer);
	writer->depth = 0;
}
