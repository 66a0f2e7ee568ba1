/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.c: takes DER elements off the front of a view without allocating. Called wherever ASN.1 from outside
 * is read: the vault's purpose checks, CSR extensions, OCSP and timestamp requests. An error leaves the
 * cursor where it was.
 */
#include "der/der.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length octets that follow the first one: 4 cover everything that a cap lets through (X.690 §8.1.3.5). */
#define LENGTH_OCTETS_MAX 4

/*
 * Parses identifier and length octets (X.690 §8.1.2, §8.1.3, §10.1). `header` receives how many octets they
 * take, `length` how many content octets follow; both lie inside `in`.
 */
static bool read_header(struct ch_view in, const char *what, size_t *header, size_t *length,
			struct ch_error *err)
{
	if (in.size < 2)
		return ch_fail(err, CH_INVALID, "%s: DER ends inside its tag or length", what);
	if ((in.data[0] & 0x1f) == 0x1f)
		return ch_fail(err, CH_INVALID, "%s: tag of more than one octet", what);

	size_t count = 0, value = in.data[1];
	if (value == 0x80)
		return ch_fail(err, CH_INVALID, "%s: indefinite length, not allowed in DER (X.690 10.1)",
			       what);
	if (value > 0x80) {
		count = value & 0x7f;
		if (count > LENGTH_OCTETS_MAX)
			return ch_fail(err, CH_INVALID, "%s: length of %zu octets", what, count);
		if (in.size < 2 + count)
			return ch_fail(err, CH_INVALID, "%s: DER ends inside its length", what);
		value = 0;
		for (size_t i = 0; i < count; i++)
			value = value << 8 | in.data[2 + i];
		if (value < 0x80 || in.data[2] == 0)
			return ch_fail(err, CH_INVALID, "%s: length is not in minimal form (X.690 10.1)",
				       what);
	}
	if (value > in.size - 2 - count)
		return ch_fail(err, CH_INVALID, "%s: length %zu goes beyond the %zu octets that are there",
			       what, value, in.size - 2 - count);
	*header = 2 + count;
	*length = value;
	return true;
}

bool ch_der_read_any(struct ch_view *in, const char *what, unsigned *tag, struct ch_view *content,
		     struct ch_view *whole, struct ch_error *err)
{
	size_t header = 0, length = 0;
	if (!read_header(*in, what, &header, &length, err))
		return false;
	if (tag)
		*tag = in->data[0];
	if (content)
		*content = ch_view(in->data + header, length);
	if (whole)
		*whole = ch_view(in->data, header + length);
	in->data += header + length;
	in->size -= header + length;
	return true;
}

bool ch_der_read(struct ch_view *in, unsigned tag, const char *what, struct ch_view *content,
		 struct ch_error *err)
{
	if (in->size == 0)
		return ch_fail(err, CH_INVALID, "%s: missing", what);
	if (in->data[0] != tag)
		return ch_fail(err, CH_INVALID, "%s: tag 0x%02x where 0x%02x is expected", what, in->data[0],
			       tag);
	return ch_der_read_any(in, what, NULL, content, NULL, err);
}

bool ch_der_next_is(const struct ch_view *in, unsigned tag)
{
	return in->size > 0 && in->data[0] == tag;
}

bool ch_der_read_optional(struct ch_view *in, unsigned tag, const char *what, bool *present,
			  struct ch_view *content, struct ch_error *err)
{
	*present = ch_der_next_is(in, tag);
	return !*present || ch_der_read(in, tag, what, content, err);
}

bool ch_der_end(const struct ch_view *in, const char *what, struct ch_error *err)
{
	if (in->size > 0)
		return ch_fail(err, CH_INVALID, "%s: %zu octets follow its end", what, in->size);
	return true;
}

/* X.690 §8.3: at least one octet; the first nine bits are neither all zero nor all one. */
static bool check_integer(struct ch_view octets, const char *what, struct ch_error *err)
{
	if (octets.size == 0)
		return ch_fail(err, CH_INVALID, "%s: INTEGER without content", what);
	if (octets.size > 1 && ((octets.data[0] == 0x00 && octets.data[1] < 0x80) ||
				(octets.data[0] == 0xff && octets.data[1] >= 0x80)))
		return ch_fail(err, CH_INVALID, "%s: INTEGER is not in minimal form (X.690 8.3.2)", what);
	return true;
}

bool ch_der_read_integer(struct ch_view *in, const char *what, struct ch_view *octets, struct ch_error *err)
{
	struct ch_view rest = *in;
	if (!ch_der_read(&rest, CH_DER_INTEGER, what, octets, err) || !check_integer(*octets, what, err))
		return false;
	*in = rest;
	return true;
}

static bool integer_value(struct ch_view octets, const char *what, uint64_t *value, struct ch_error *err)
{
	if (!check_integer(octets, what, err))
		return false;
	if (octets.data[0] >= 0x80)
		return ch_fail(err, CH_INVALID, "%s: negative INTEGER", what);
	if (octets.size > 9 || (octets.size == 9 && octets.data[0] != 0))
		return ch_fail(err, CH_INVALID, "%s: INTEGER of %zu octets does not fit 64 bits", what,
			       octets.size);
	*value = 0;
	for (size_t i = 0; i < octets.size; i++)
		*value = *value << 8 | octets.data[i];
	return true;
}

bool ch_der_read_uint64(struct ch_view *in, const char *what, uint64_t *value, struct ch_error *err)
{
	struct ch_view octets = CH_NONE;
	struct ch_view rest = *in;
	if (!ch_der_read(&rest, CH_DER_INTEGER, what, &octets, err) ||
	    !integer_value(octets, what, value, err))
		return false;
	*in = rest;
	return true;
}

/* X.690 §11.1: TRUE is 0xff. */
static bool boolean_value(struct ch_view octets, const char *what, bool *value, struct ch_error *err)
{
	if (octets.size != 1 || (octets.data[0] != 0x00 && octets.data[0] != 0xff))
		return ch_fail(err, CH_INVALID, "%s: BOOLEAN is neither 00 nor ff (X.690 11.1)", what);
	*value = octets.data[0] == 0xff;
	return true;
}

bool ch_der_read_boolean(struct ch_view *in, const char *what, bool *value, struct ch_error *err)
{
	struct ch_view octets = CH_NONE;
	struct ch_view rest = *in;
	if (!ch_der_read(&rest, CH_DER_BOOLEAN, what, &octets, err) ||
	    !boolean_value(octets, what, value, err))
		return false;
	*in = rest;
	return true;
}

/* X.690 §8.19: the last octet of each subidentifier has bit 8 clear, the first is not 0x80; at most 64 bits
 * each. */
static bool valid_oid(struct ch_view oid)
{
	size_t length = 0;
	for (size_t i = 0; i < oid.size; i++) {
		if (length == 0 && oid.data[i] == 0x80)
			return false;
		if (++length > 9)
			return false;
		if (oid.data[i] < 0x80)
			length = 0;
	}
	return oid.size > 0 && length == 0;
}

static bool check_oid(struct ch_view oid, const char *what, struct ch_error *err)
{
	return valid_oid(oid) ||
	       ch_fail(err, CH_INVALID, "%s: malformed OBJECT IDENTIFIER (X.690 8.19)", what);
}

bool ch_der_read_oid(struct ch_view *in, const char *what, struct ch_view *oid_content, struct ch_error *err)
{
	struct ch_view rest = *in;
	if (!ch_der_read(&rest, CH_DER_OID, what, oid_content, err) || !check_oid(*oid_content, what, err))
		return false;
	*in = rest;
	return true;
}

bool ch_der_read_octet_string(struct ch_view *in, const char *what, struct ch_view *octets,
			      struct ch_error *err)
{
	return ch_der_read(in, CH_DER_OCTET_STRING, what, octets, err);
}

static bool whole_octets(struct ch_view content, const char *what, struct ch_error *err)
{
	if (content.size == 0)
		return ch_fail(err, CH_INVALID, "%s: BIT STRING without its count of unused bits", what);
	if (content.data[0] != 0)
		return ch_fail(err, CH_INVALID,
			       "%s: BIT STRING with %u unused bits where whole octets belong", what,
			       content.data[0]);
	return true;
}

bool ch_der_read_bit_string(struct ch_view *in, const char *what, struct ch_view *octets,
			    struct ch_error *err)
{
	struct ch_view content = CH_NONE;
	struct ch_view rest = *in;
	if (!ch_der_read(&rest, CH_DER_BIT_STRING, what, &content, err) || !whole_octets(content, what, err))
		return false;
	*in = rest;
	*octets = ch_view(content.data + 1, content.size - 1);
	return true;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (March-based years make the leap day the last one). */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return days[month - 1] + (month == 2 && leap);
}

/* Takes `count` decimal digits; -1 where there are none. */
static int take_digits(struct ch_view *text, size_t count)
{
	int value = 0;
	if (text->size < count)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (text->data[i] < '0' || text->data[i] > '9')
			return -1;
		value = value * 10 + (text->data[i] - '0');
	}
	*text = ch_view(text->data + count, text->size - count);
	return value;
}

/* RFC 3161 §2.4.2: ".", digits without a trailing zero. More than six digits are cut to microseconds. */
static bool take_fraction(struct ch_view *text, int64_t *microseconds)
{
	int64_t scale = 100000;
	size_t i = 1;
	for (; i < text->size && text->data[i] >= '0' && text->data[i] <= '9'; i++) {
		*microseconds += scale * (text->data[i] - '0');
		scale /= 10;
	}
	if (i == 1 || text->data[i - 1] == '0')
		return false;
	*text = ch_view(text->data + i, text->size - i);
	return true;
}

static bool time_value(unsigned tag, struct ch_view text, bool fractions, int64_t *time_us)
{
	int year = take_digits(&text, tag == CH_DER_UTC_TIME ? 2 : 4);
	if (tag == CH_DER_UTC_TIME && year >= 0)
		year += year < 50 ? 2000 : 1900; /* RFC 5280 §4.1.2.5.1 */
	int month = take_digits(&text, 2), day = take_digits(&text, 2);
	int hour = take_digits(&text, 2), minute = take_digits(&text, 2), second = take_digits(&text, 2);
	if (year < 0 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour < 0 ||
	    hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
		return false;

	int64_t microseconds = 0;
	if (text.size > 0 && text.data[0] == '.' &&
	    !(fractions && tag == CH_DER_GENERALIZED_TIME && take_fraction(&text, &microseconds)))
		return false;
	if (text.size != 1 || text.data[0] != 'Z')
		return false;
	int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
	*time_us = seconds * 1000000 + microseconds;
	return true;
}

bool ch_der_read_time(struct ch_view *in, const char *what, bool fractions, int64_t *time_us,
		      struct ch_error *err)
{
	struct ch_view rest = *in, content = CH_NONE;
	unsigned tag = 0;
	if (!ch_der_read_any(&rest, what, &tag, &content, NULL, err))
		return false;
	if (tag != CH_DER_UTC_TIME && tag != CH_DER_GENERALIZED_TIME)
		return ch_fail(err, CH_INVALID, "%s: tag 0x%02x where a time is expected", what, tag);
	if (!time_value(tag, content, fractions, time_us))
		return ch_fail(err, CH_INVALID, "%s: not a time of the RFC 5280 4.1.2.5 form", what);
	*in = rest;
	return true;
}

char *ch_der_oid_text(struct ch_view oid_content)
{
	if (!valid_oid(oid_content))
		return NULL;
	CH_AUTO(ch_buffer) text = CH_NONE;
	uint64_t value = 0;
	for (size_t i = 0; i < oid_content.size; i++) {
		value = value << 7 | (oid_content.data[i] & 0x7f);
		if (oid_content.data[i] & 0x80)
			continue;
		if (text.used > 0) {
			ch_buffer_printf(&text, ".%llu", (unsigned long long)value);
		} else { /* the first two arcs share a subidentifier (X.690 §8.19.4) */
			uint64_t first = value < 80 ? value / 40 : 2;
			ch_buffer_printf(&text, "%llu.%llu", (unsigned long long)first,
					 (unsigned long long)(value - first * 40));
		}
		value = 0;
	}
	return ch_buffer_steal_text(&text);
}
